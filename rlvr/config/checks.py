"""What a recipe's values must satisfy, alone and together, and how a rollout batch divides over processes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from rlvr.config.data import LAB, DataSection, DataSpec, ProbeData, check_spec
from rlvr.config.probes import ConditionSpec, ProbeSection
from rlvr.config.registry import target_of
from rlvr.config.sections import JudgeSection, ModelSpec, TrainSection
from rlvr.config.strict import describe, did_you_mean
from rlvr.types import UserError

Check = tuple[str, object, bool, str]
"""Dotted path, value found, whether it is good, what was expected (and the way out)."""

COUNT = "at least 1"


def check_training(
    algorithm: Mapping[str, Any], data: DataSection, train: TrainSection, probes: ProbeSection, run_dir: str
) -> None:
    """Raise UserError, with path, found, expected and the way out, for what a training cannot be made of."""
    _refuse(_algorithm(algorithm), _train(train, probes), _rewards(train), _arms_in_budget(probes))
    _known("algorithm.name", "algorithms", algorithm["name"])
    try:
        run_dir.format(name="", algorithm="", seed=0)
    except (LookupError, ValueError):
        raise UserError(f"run_dir: found {run_dir!r}, expected a path with no other braces than {{name}}, "
                        "{algorithm} and {seed}") from None
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


def check_run(name: str, seed: int, judge: JudgeSection, model: ModelSpec | None) -> None:
    """As `check_training`, for what every run has."""
    _refuse(_top(name, seed, judge), () if model is None else _model(model))


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


def _top(name: str, seed: int, judge: JudgeSection) -> Iterator[Check]:
    yield "name", name, bool(re.fullmatch(r"[A-Za-z0-9._-]+", name)), "letters, digits, '.', '_' or '-'"
    yield "seed", seed, 0 <= seed < 2**32, "0 <= seed < 2**32"
    yield "judge.workers", judge.workers, judge.workers >= 1, COUNT
    yield "judge.timeout", judge.timeout, judge.timeout > 0, "seconds above 0"


def _model(model: ModelSpec) -> Iterator[Check]:
    yield "model.path", model.path, model.path != "", "'lab', a hub id or a directory"
    if model.lora is not None:
        yield "model.lora.r", model.lora.r, model.lora.r >= 1, COUNT
        yield "model.lora.alpha", model.lora.alpha, model.lora.alpha > 0, "a number above 0"
        yield "model.lora.dropout", model.lora.dropout, 0 <= model.lora.dropout < 1, "a share in [0, 1)"


def _train(train: TrainSection, probes: ProbeSection) -> Iterator[Check]:
    for key in ("steps", "micro_batch_size", "max_new_tokens", "prompts_per_step", "group_size",
                "updates_per_rollout", "max_prompt_tokens", "save_every", "log_every"):
        yield f"train.{key}", getattr(train, key), getattr(train, key) >= 1, COUNT
    for key in ("learning_rate", "weight_decay", "max_grad_norm"):
        yield f"train.{key}", getattr(train, key), getattr(train, key) >= 0, "a number of at least 0"
    for key in ("adam_beta1", "adam_beta2"):
        yield f"train.{key}", getattr(train, key), 0 <= getattr(train, key) < 1, "a number in [0, 1)"
    yield ("train.warmup_steps", train.warmup_steps, 0 <= train.warmup_steps <= train.steps,
           f"0 to train.steps ({train.steps})")
    yield ("train.temperature", train.temperature, train.temperature > 0,
           "a number above 0: greedy rollouts of one prompt are all alike and teach nothing; 1.0 is usual")
    yield ("train.keep_checkpoints", train.keep_checkpoints, train.keep_checkpoints >= 2,
           "at least 2: a kill in the middle of a save must leave one complete checkpoint")
    vllm, correction = train.vllm, train.rollout_correction
    if vllm is not None:
        yield ("train.vllm.server_base_url", vllm.server_base_url,
               (vllm.mode == "server") == (vllm.server_base_url is not None),
               f"{'a URL' if vllm.mode == 'server' else 'null'} with train.vllm.mode {vllm.mode!r}")
        yield ("train.vllm.gpu_memory_utilization", vllm.gpu_memory_utilization,
               0 < vllm.gpu_memory_utilization <= 1, "a share in (0, 1]")
        yield "train.vllm.tensor_parallel_size", vllm.tensor_parallel_size, vllm.tensor_parallel_size >= 1, COUNT
        longest = train.max_prompt_tokens + max(train.max_new_tokens, probes.max_new_tokens if probes.enabled else 0)
        yield ("train.vllm.max_model_length", vllm.max_model_length,
               vllm.max_model_length is None or vllm.max_model_length >= longest,
               f"at least {longest}: train.max_prompt_tokens and the longer max_new_tokens of train and probes")
    if correction is not None:
        yield ("train.rollout_correction", correction.mode, vllm is not None,
               "null without train.vllm, where the training model itself samples; remove it or set train.vllm")
        yield "train.rollout_correction.cap", correction.cap, correction.cap > 1, "a number above 1"
        yield "train.rollout_correction.floor", correction.floor, 0 <= correction.floor < 1, "a number in [0, 1)"


def _rewards(train: TrainSection) -> Iterator[Check]:
    rewards = train.rewards
    terms = {field.name: getattr(rewards, field.name) for field in dataclasses.fields(rewards)}
    for name, term in terms.items():
        if term is not None:
            yield f"train.rewards.{name}.weight", term.weight, term.weight >= 0, "a number of at least 0"
    total = sum(term.weight for term in terms.values() if term is not None)
    yield ("train.rewards", total, total < 1,
           "weights that add up to less than 1: else a wrong answer in good form may beat a correct one; lower them")
    length = rewards.length
    if length is not None:
        yield "train.rewards.length.free", length.free, length.free >= 0, "at least 0 tokens"
        yield ("train.rewards.length.free", length.free, length.free < train.max_new_tokens,
               f"less than train.max_new_tokens ({train.max_new_tokens}): no completion is longer, it would never act")
        yield ("train.rewards.length.worst", length.worst, length.worst > length.free,
               f"more tokens than train.rewards.length.free ({length.free})")


def _probes(probes: ProbeSection) -> Iterator[Check]:
    for key in ("every", "max_new_tokens", "batch_size"):
        yield f"probes.{key}", getattr(probes, key), getattr(probes, key) >= 1, COUNT
    yield ("probes.ks", list(probes.ks), probes.ks[:1] >= (1,) and list(probes.ks) == sorted(set(probes.ks)),
           "whole numbers from 1 on, rising, as in [1, 16, 256]")
    yield ("probes.temperature", probes.temperature, probes.temperature > 0,
           "a number above 0: greedy samples are all alike, so pass@k would equal pass@1; 0.6 is usual")
    yield ("probes.budget", probes.budget, probes.budget is None or 0 < probes.budget < 1,
           "a share above 0 and below 1, as in 0.1, or null for no limit")
    yield "probes.top_p", probes.top_p, 0 < probes.top_p <= 1, "a number in (0, 1]; 1 keeps the whole distribution"


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
    temperature = probes.temperature if arm.temperature is None else arm.temperature
    yield f"{path}.temperature", arm.temperature, temperature > 0, "a number above 0"
    yield f"{path}.top_p", arm.top_p, arm.top_p is None or 0 < arm.top_p <= 1, "a number in (0, 1]"
    yield f"{path}.max_new_tokens", arm.max_new_tokens, arm.max_new_tokens is None or arm.max_new_tokens >= 1, COUNT
    if not (arm.match_entropy or arm.direct_answer or _differs(arm, probes, data)):
        raise UserError(f"{path}: asks for the decoding, prompt and plans that the probe itself has, expected others; "
                        "set temperature, system, ... to another value, or remove the arm")
    if arm.match_entropy:
        yield f"{path}.match_entropy", True, not arm.direct_answer, "false with direct_answer: true"
        yield f"{path}.entropy_tolerance", arm.entropy_tolerance, arm.entropy_tolerance > 0, "nats above 0"
        yield f"{path}.entropy_samples", arm.entropy_samples, arm.entropy_samples >= 1, COUNT
        yield (f"{path}.max_temperature", arm.max_temperature, arm.max_temperature >= temperature,
               f"at least the base's temperature, {temperature:g}")
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
        yield (f"{path}.guessable_below", arm.guessable_below, 0 < arm.guessable_below <= 1, "a share in (0, 1]")


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
            raise UserError(f"probes.{key}: unknown plan {name!r}; {did_you_mean(name, list(PLANS))}")
        most = PLANS[name].max_samples
        if probes.ks[-1] > most:
            raise UserError(f"probes.ks: found k = {probes.ks[-1]}, expected at most {most}: probes.{key} {name!r} "
                            "draws no more samples per problem; drop that k or choose a larger plan")
    for arm_name, arm in probes.arms.items():
        where, name = f"probes.arms.{arm_name}.plan", arm.plan
        if name is None:
            continue
        if name not in PLANS:
            raise UserError(f"{where}: unknown plan {name!r}; {did_you_mean(name, list(PLANS))}")
        if arm.direct_answer and len(PLANS[name].checkpoints) > 1:
            raise UserError(f"{where}: found {name!r}, which stops early and so bends accuracies; direct_answer "
                            "needs a plan of one round: remove it, or set it to fixed")
        if probes.ks[-1] > PLANS[name].max_samples:
            raise UserError(f"{where}: {name!r} draws {PLANS[name].max_samples} samples per problem, but probes.ks "
                            f"asks for k = {probes.ks[-1]}; choose a larger plan")
