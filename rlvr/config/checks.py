"""What a recipe's values must satisfy, alone and together, and how a rollout batch divides over processes."""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from rlvr.config.data import LAB, DataSection, DataSpec, ProbeData, check_spec
from rlvr.config.probes import ConditionSpec, ProbeSection
from rlvr.config.registry import target_of
from rlvr.config.sections import TrainSection
from rlvr.config.wording import describe, did_you_mean, short
from rlvr.types import UserError

Check = tuple[str, object, bool, str]
"""Dotted path, value found, whether it is good, what was expected (and the way out)."""



def check_training(
    algorithm: Mapping[str, Any], data: DataSection, train: TrainSection, probes: ProbeSection, run_dir: str
) -> None:
    """Raise UserError, with path, found, expected and the way out, for what a training cannot be made of."""
    _refuse(_algorithm(algorithm), _train(train, probes), _rewards(train), _arms_in_budget(probes))
    _known("algorithm.name", "algorithms", algorithm["name"])
    check_braces(run_dir, ("name", "algorithm", "seed"))
    check_data(data.train, "data.train")
    _check_steps(data, train, probes)


def check_probes(probes: ProbeSection, data: ProbeData) -> None:
    """As `check_training`, for what a probe is made of."""
    _refuse(_probes(probes), *(_condition(f"probes.arms.{name}", name, condition, probes, data.probe)
                               for name, condition in probes.arms.items()))
    check_data(data.probe, "data.probe")
    _check_plans(probes)
    for name, condition in probes.arms.items():
        check_spec(dataclasses.replace(data.probe, **condition.prompt), f"probes.arms.{name}")


def check_braces(run_dir: str, names: Sequence[str]) -> None:
    """UserError for a `run_dir` with anything else in braces than these names: a format or an attribute, as in
    {seed:>1000000000}, would be followed."""
    try:
        parts = list(string.Formatter().parse(run_dir))
    except ValueError:
        parts = [("", run_dir, "", None)]
    for _, name, form, conversion in parts:
        if name is not None and (name not in names or form or conversion):
            known = [f"{{{one}}}" for one in names]
            raise UserError(f"found {short(run_dir)}, expected a path with no other braces than "
                            f"{', '.join(known[:-1])} and {known[-1]}", where="run_dir")


def check_data(spec: DataSpec, where: str) -> None:
    """As `check_training`, for one source of problems."""
    if spec.verifier is not None:
        _known(f"{where}.verifier", "verifiers", spec.verifier)
    check_spec(spec, where)


def _known(where: str, kind: str, name: str) -> None:
    """Raises UserError for a name that nothing has; what it stands for is imported later, with torch if need be."""
    try:
        target_of(kind, name)
    except UserError as error:
        raise error.within(where) from None


def _refuse(*groups: Iterable[Check]) -> None:
    for path, found, good, wanted in chain(*groups):
        if not good:
            raise UserError(f"{path}: found {describe(found)}, expected {wanted}")


def _algorithm(algorithm: Mapping[str, Any]) -> Iterator[Check]:
    name = algorithm.get("name")
    yield "algorithm.name", name, isinstance(name, str) and name != "", "a name, as in grpo; set it"


def _train(train: TrainSection, probes: ProbeSection) -> Iterator[Check]:
    yield ("train.warmup_steps", train.warmup_steps, train.warmup_steps <= train.steps,
           f"0 to train.steps ({train.steps})")
    vllm, correction = train.vllm, train.rollout_correction
    if vllm is not None:
        yield ("train.vllm.server_base_url", vllm.server_base_url,
               (vllm.mode == "server") == (vllm.server_base_url is not None),
               f"{'a URL' if vllm.mode == 'server' else 'null'} with train.vllm.mode {vllm.mode!r}")
        longest = train.max_prompt_tokens + max(train.max_new_tokens, probes.max_new_tokens if probes.enabled else 0)
        yield ("train.vllm.max_model_length", vllm.max_model_length,
               vllm.max_model_length is None or vllm.max_model_length >= longest,
               f"at least {longest}: train.max_prompt_tokens and the longer max_new_tokens of train and probes")
    if correction is not None:
        yield ("train.rollout_correction", correction.mode, vllm is not None,
               "null without train.vllm, where the training model itself samples; remove it or set train.vllm")


def _rewards(train: TrainSection) -> Iterator[Check]:
    rewards = train.rewards
    terms = {field.name: getattr(rewards, field.name) for field in dataclasses.fields(rewards)}
    total = sum(term.weight for term in terms.values() if term is not None)
    yield ("train.rewards", total, total < 1,
           "weights that add up to less than 1: else a wrong answer in good form may beat a correct one; lower them")
    length = rewards.length
    if length is not None:
        yield ("train.rewards.length.free", length.free, length.free < train.max_new_tokens,
               f"less than train.max_new_tokens ({train.max_new_tokens}): no completion is longer, it would never act")
        yield ("train.rewards.length.worst", length.worst, length.worst > length.free,
               f"more tokens than train.rewards.length.free ({length.free})")


def _probes(probes: ProbeSection) -> Iterator[Check]:
    yield ("probes.ks", list(probes.ks), bool(probes.ks) and list(probes.ks) == sorted(set(probes.ks)),
           "whole numbers from 1 on, rising, as in [1, 16, 256]")


def _arms_in_budget(probes: ProbeSection) -> Iterator[Check]:
    names = ", ".join(probes.arms)
    yield ("probes.budget", probes.budget, probes.budget is None or not probes.arms,
           f"null beside probes.arms ({names}), which it does not cover; remove one of the two, and measure the arms "
           "afterwards by `rlvr probe RUN probes.arms.NAME...`")


def _differs(arm: ConditionSpec, probes: ProbeSection, data: DataSpec) -> bool:
    """Whether an arm measures anything else than the probe does."""
    decoding = any(getattr(arm, key) not in (None, getattr(probes, key))
                   for key in ("temperature", "top_p", "max_new_tokens"))
    plan = arm.plan is not None and {arm.plan} != {probes.plan, probes.base_plan}
    return decoding or plan or any(value != getattr(data, key) for key, value in arm.prompt.items())


def _condition(path: str, name: str, arm: ConditionSpec, probes: ProbeSection, data: DataSpec) -> Iterator[Check]:
    yield path, name, bool(re.fullmatch(r"[A-Za-z0-9_-]+", name)), "a name of letters, digits, '_' or '-'"
    if not (arm.match_entropy or arm.direct_answer or _differs(arm, probes, data)):
        raise UserError(f"{path}: asks for the decoding, prompt and plans that the probe itself has, expected others; "
                        "set temperature, system, ... to another value, or remove the arm")
    yield (f"{path}.match_entropy", True, not (arm.match_entropy and arm.direct_answer),
           "false with direct_answer: true")
    if data.source == LAB and (arm.direct_answer or arm.prompt):
        asked = "direct_answer" if arm.direct_answer else next(iter(arm.prompt))
        why = ("its answers are derivations, so none can be given without the reasoning" if arm.direct_answer else
               "its prompts are bare numbers, the only ones its model reads")
        raise UserError(f"{path}.{asked}: not for the lab: {why}; remove the arm, or probe a dataset of your own")
    if arm.direct_answer:
        yield (f"{path}.template", arm.template, arm.template is not None or arm.system is not None,
               "words that ask for the answer without reasoning, here or in system")
        yield (f"{path}.max_new_tokens", arm.max_new_tokens, arm.max_new_tokens is not None,
               "a limit that leaves no room for reasoning, such as 32")


def _check_steps(data: DataSection, train: TrainSection, probes: ProbeSection) -> None:
    updates = train.updates_per_rollout
    for path, steps in (("train.steps", train.steps), ("train.save_every", train.save_every),
                        ("probes.every", probes.every)):
        if steps % updates:
            raise UserError(f"{path}: found {steps}, expected a multiple of train.updates_per_rollout ({updates}): a "
                            "run stops, saves and probes between rollout batches; change one of the two")
    if train.group_size == 1 and train.prompts_per_step % 2:
        raise UserError(f"train.prompts_per_step: found {train.prompts_per_step}, expected an even number with "
                        "train.group_size 1")
    size = data.train.size
    if size is not None and size < train.prompts_per_step:
        raise UserError(f"data.train.size: found {size}, expected at least train.prompts_per_step "
                        f"({train.prompts_per_step}): else one batch holds a problem twice; raise it or lower that")


def _check_plans(probes: ProbeSection) -> None:
    from rlvr.statistics.plan import PLANS

    for key, name in (("plan", probes.plan), ("base_plan", probes.base_plan)):
        if name not in PLANS:
            raise UserError(f"probes.{key}: unknown plan {name!r}{did_you_mean(name, list(PLANS))}")
        most = PLANS[name].max_samples
        if probes.ks[-1] > most:
            raise UserError(f"probes.ks: found k = {probes.ks[-1]}, expected at most {most}: probes.{key} {name!r} "
                            "draws no more samples per problem; drop that k or choose a larger plan")
    for arm_name, arm in probes.arms.items():
        where, name = f"probes.arms.{arm_name}.plan", arm.plan
        if name is None:
            continue
        if name not in PLANS:
            raise UserError(f"{where}: unknown plan {name!r}{did_you_mean(name, list(PLANS))}")
        if arm.direct_answer and len(PLANS[name].checkpoints) > 1:
            raise UserError(f"{where}: found {name!r}, which stops early and so bends accuracies; direct_answer "
                            "needs a plan of one round: remove it, or set it to fixed")
        if probes.ks[-1] > PLANS[name].max_samples:
            raise UserError(f"{where}: {name!r} draws {PLANS[name].max_samples} samples per problem, but probes.ks "
                            f"asks for k = {probes.ks[-1]}; choose a larger plan")
