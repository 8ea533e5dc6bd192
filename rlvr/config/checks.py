"""Which settings of a recipe contradict each other. Ranges of single fields are part of their types.

Checks take sections and not the recipe, so that the recipe can call them. Each raises UserError for the first setting
that does not fit: its path, what was found, what was expected and the way out.
"""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from rlvr.config.data import LAB, DataSection, DataSpec, ProbeData, by_name, check_spec, path_of
from rlvr.config.foreign_keys import TRL
from rlvr.config.mixture import most_per_step
from rlvr.config.probes import ConditionSpec, ProbeSection
from rlvr.config.registry import target_of
from rlvr.config.sections import ModelSpec, TrainSection
from rlvr.config.wording import describe, did_you_mean, short
from rlvr.types import UserError


def check_training(
    model: ModelSpec, algorithm: Mapping[str, Any], data: DataSection, train: TrainSection, probes: ProbeSection,
    run_dir: str,
) -> None:
    """What a training needs besides what `check_probes` checks."""
    name = algorithm.get("name")
    _expect(isinstance(name, str) and name != "", "algorithm.name", name, "a name, as in grpo; set it")
    _expect(train.warmup_steps <= train.steps, "train.warmup_steps", train.warmup_steps,
            f"0 to train.steps ({train.steps})")
    _check_model(model, train)
    _check_trl(train)
    _check_vllm(train, probes)
    _check_rewards(train)
    _expect(probes.engine == "transformers" or train.probe_elsewhere, "probes.engine", probes.engine,
            "transformers in a training, whose live model is probed (by vLLM with train.vllm); remove it, or set "
            "train.probe_elsewhere and probe the checkpoints with `rlvr probe --watch`")
    _expect(probes.budget is None or not train.probe_elsewhere, "probes.budget", probes.budget,
            "null with train.probe_elsewhere: a watcher does not know what the training generates; remove one of them")
    _expect(probes.budget is None or not probes.arms, "probes.budget", probes.budget,
            f"null beside probes.arms ({', '.join(probes.arms)}), which it does not cover; remove one of the two, and "
            "measure the arms afterwards with `rlvr probe RUN probes.arms.NAME...`")
    _check_name("algorithm.name", "algorithms", algorithm["name"])
    check_braces(run_dir, ("name", "algorithm", "seed"))
    for part, spec in by_name(data.train).items():
        _check_part("data.train", part)
        _check_data(spec, path_of("data.train", part))
    _check_steps(data, train, probes)
    _expect(train.choose_prompts is None or len(by_name(data.train)) == 1, "train.choose_prompts", "a section",
            "null with several sources in data.train, whose shares say which prompts are drawn; remove one of the two")
    _expect(train.rehearse is None or train.micro_batch_tokens is None, "train.rehearse", "a section",
            "null with train.micro_batch_tokens, whose budget does not know the stored answers; remove one of the two")
    _check_stop(train, probes)


def check_anchor(train: TrainSection, model: ModelSpec) -> None:
    """With adapters a pull scales their second factor: that moves the weights on a line for plain LoRA alone. And their
    reference is the model without them, which cannot be reset."""
    _expect(train.ref_sync is None or model.lora is None, "train.ref_sync", train.ref_sync,
            "null with model.lora, whose reference is the model below the adapters; or train all weights")
    if train.anchor is None or model.lora is None:
        return
    _expect(train.anchor.to == "base", "train.anchor.to", train.anchor.to,
            "base with model.lora, as an average of LoRA's factors is none of the weights; or train all weights")
    _expect(not model.lora.dora and not model.lora.modules_to_save, "train.anchor", "DoRA or modules_to_save",
            "plain LoRA, which a pull can scale; remove one of the two")


def check_probes(probes: ProbeSection, data: ProbeData, name: str = "") -> None:
    """What a probe of one set, the one called `name`, needs, with or without a training."""
    spec, where = data.probe_set, path_of("data.probe", name)
    _check_part("data.probe", name)
    _expect(bool(probes.ks) and list(probes.ks) == sorted(set(probes.ks)), "probes.ks", list(probes.ks),
            "whole numbers from 1 on, rising, as in [1, 16, 256]")
    for name, condition in probes.arms.items():
        _check_condition(f"probes.arms.{name}", name, condition, probes, spec)
    _check_data(spec, where)
    _check_plans(probes)
    _check_engine(probes)
    for name, condition in probes.arms.items():
        check_spec(dataclasses.replace(spec, **condition.prompt), f"probes.arms.{name}")


def _check_engine(probes: ProbeSection) -> None:
    urls = probes.endpoint.base_url
    _expect(probes.engine != "openai" or bool(urls), "probes.endpoint.base_url", list(urls),
            "the URL of the server for probes.engine=openai, as in http://localhost:8000/v1; give it (--base-url)")
    for url in urls:
        if "@" in url.partition("://")[2].partition("/")[0]:  # not in the message either
            raise UserError("probes.endpoint.base_url: found a name or password in it, which would be stored with the "
                            f"run; put the key into the environment variable {probes.endpoint.key_env}")
        _expect(_is_url(url), "probes.endpoint.base_url", url,
                "http://HOST:PORT/v1 or https://HOST/v1; write the whole URL")


def _is_url(text: str) -> bool:
    """Whether it names a server and a path there, and nothing more."""
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, or brackets that do not close
        return False
    return whole and not parts.query and not parts.fragment and text.isprintable() and " " not in text


def check_braces(run_dir: str, names: Sequence[str]) -> None:
    """A `run_dir` may hold these names in braces and nothing else in braces: Python would follow formats and
    attributes, as in {seed:>1000000000}."""
    _expect("\0" not in run_dir, "run_dir", run_dir, "a path, which holds no null character")
    try:
        parts = list(string.Formatter().parse(run_dir))
    except ValueError:
        parts = [("", run_dir, "", None)]
    for _, name, form, conversion in parts:
        if name is not None and (name not in names or form or conversion):
            known = [f"{{{one}}}" for one in names]
            raise UserError(f"found {short(run_dir)}, expected a path with no other braces than "
                            f"{', '.join(known[:-1])} and {known[-1]}", where="run_dir")


def _expect(good: bool, where: str, found: object, wanted: str) -> None:
    if not good:
        raise UserError(f"found {describe(found)}, expected {wanted}", where=where)


def _check_part(where: str, name: str) -> None:
    """Names of probe sets and sources become names of folders and metrics."""
    _expect(bool(re.fullmatch(r"[A-Za-z0-9_-]*", name)), path_of(where, name), name,
            "a name of letters, digits, '_' or '-'")


def _check_name(where: str, kind: str, name: str) -> None:
    """A name must be known; what it stands for is imported later, as that may take torch."""
    try:
        target_of(kind, name)
    except UserError as error:
        raise error.within(where) from None


def _check_data(spec: DataSpec, where: str) -> None:
    if spec.verifier is not None:
        _check_name(f"{where}.verifier", "verifiers", spec.verifier)
    check_spec(spec, where)


def _check_model(model: ModelSpec, train: TrainSection) -> None:
    if model.quantization is not None:
        _expect(model.lora is not None, "model.quantization", model.quantization,
                "null without model.lora: quantized weights cannot be trained, only adapters beside them")
    for key, value in (("quantization", model.quantization), ("config", model.config)):
        _expect(not value or train.vllm is None, f"model.{key}", value,
                "none with train.vllm, whose engine loads the model by itself and would sample from another one; "
                f"remove one of the two{', or change config.json of a local copy' * (key == 'config')}")


def _check_trl(train: TrainSection) -> None:
    """Fields that a recipe has keys for, and those that have no place here."""
    for name in train.trl:
        if name in TRL:
            here = TRL[name]
            way_out = f"; set {here.key}" if here.key is not None else ""
            raise UserError(f"rlvr decides this field itself{f' ({here.note})' if here.note else ''}{way_out}",
                            where=f"train.trl.{name}")


def _check_vllm(train: TrainSection, probes: ProbeSection) -> None:
    vllm, correction = train.vllm, train.rollout_correction
    _expect(vllm is None or train.rollout_batch_tokens is None, "train.rollout_batch_tokens",
            train.rollout_batch_tokens, "null with train.vllm, which decides by itself how many it generates at a time")
    if vllm is not None:
        _expect((vllm.mode == "server") == (vllm.server_base_url is not None), "train.vllm.server_base_url",
                vllm.server_base_url,
                f"{'a URL' if vllm.mode == 'server' else 'null'} with train.vllm.mode {vllm.mode!r}")
        longest = train.max_prompt_tokens + max(train.max_new_tokens, probes.max_new_tokens if probes.enabled else 0)
        _expect(vllm.max_model_length is None or vllm.max_model_length >= longest, "train.vllm.max_model_length",
                vllm.max_model_length,
                f"at least {longest}: train.max_prompt_tokens and the longer max_new_tokens of train and probes")
    if correction is not None:
        _expect(vllm is not None, "train.rollout_correction", correction.mode,
                "null without train.vllm, where the training model itself samples; remove it or set train.vllm")


def _check_stop(train: TrainSection, probes: ProbeSection) -> None:
    if train.stop_on is None:
        return
    from rlvr.statistics.boundary_row import shrinkage_ks

    _expect(probes.enabled, "train.stop_on", train.stop_on.shrunk, "null without probes, which it acts on")
    _expect(not train.probe_elsewhere, "train.stop_on", train.stop_on.shrunk,
            "null with train.probe_elsewhere, as a watcher's verdicts do not reach the training; remove one of the two")
    judged = shrinkage_ks(probes.ks)
    _expect(train.stop_on.shrunk in judged, "train.stop_on.shrunk", train.stop_on.shrunk,
            f"a k that has a verdict: {', '.join(map(str, judged))}")


def _check_rewards(train: TrainSection) -> None:
    terms = [getattr(train.rewards, field.name) for field in dataclasses.fields(train.rewards)]
    total = sum(term.weight for term in terms if term is not None)
    _expect(total < 1, "train.rewards", total, "weights that add up to less than 1: otherwise a wrong answer in good "
                                               "form may beat a correct one; lower them")
    length = train.rewards.length
    if length is not None:
        _expect(length.free < train.max_new_tokens, "train.rewards.length.free", length.free,
                f"less than train.max_new_tokens ({train.max_new_tokens}): no completion is longer than that, so the "
                "penalty would never act")
        _expect(length.worst > length.free, "train.rewards.length.worst", length.worst,
                f"more tokens than train.rewards.length.free ({length.free})")


def _check_steps(data: DataSection, train: TrainSection, probes: ProbeSection) -> None:
    updates, factors = train.updates_per_rollout * train.epochs_per_rollout, "train.updates_per_rollout"
    if train.epochs_per_rollout > 1:
        factors += " x train.epochs_per_rollout"
    _expect(not train.padding_free or train.micro_batch_tokens is not None, "train.padding_free", train.padding_free,
            "false without train.micro_batch_tokens, which says how many tokens are in a pass")
    for path, steps in (("train.steps", train.steps), ("train.save_every", train.save_every),
                        ("probes.every", probes.every)):
        if steps % updates:
            raise UserError(f"found {steps}, expected a multiple of {factors} ({updates}): a run stops, saves and "
                            "probes between rollout batches; change one of these", where=path)
    if train.group_size == 1 and train.prompts_per_step % 2:
        raise UserError(f"found {train.prompts_per_step}, expected an even number with train.group_size 1",
                        where="train.prompts_per_step")
    for part, need in most_per_step(data.train, train.prompts_per_step).items():
        size = by_name(data.train)[part].size
        if size is not None and size < need:
            whole = "train.prompts_per_step" if not part else "its share of train.prompts_per_step"
            raise UserError(f"found {size}, expected at least {whole} ({need}): otherwise one batch holds a problem "
                            "twice; raise the size or lower the other", where=f"{path_of('data.train', part)}.size")


def _check_condition(
    where: str, name: str, condition: ConditionSpec, probes: ProbeSection, data: DataSpec
) -> None:
    direct = condition.direct_answer
    _expect(bool(re.fullmatch(r"[A-Za-z0-9_-]+", name)), where, name, "a name of letters, digits, '_' or '-'")
    if not (condition.match_entropy or direct or _differs(condition, probes, data)):
        raise UserError("has the decoding, prompt and plans that the probe itself has, expected others; set "
                        "temperature, system, ... to another value, or remove the arm", where=where)
    _expect(not (condition.match_entropy and direct), f"{where}.match_entropy", True, "false with direct_answer: true")
    if data.source == LAB and (direct or condition.prompt):
        key = "direct_answer" if direct else next(iter(condition.prompt))
        why = ("its answers are derivations, so none can be given without the reasoning" if direct else
               "its model reads no prompts but its own, which are bare numbers")
        raise UserError(f"not possible with the lab: {why}; remove the arm, or probe a dataset of your own",
                        where=f"{where}.{key}")
    if direct:
        _expect(condition.template is not None or condition.system is not None, f"{where}.template",
                condition.template, "words that ask for the answer without reasoning, here or in system")
        _expect(condition.max_new_tokens is not None, f"{where}.max_new_tokens", condition.max_new_tokens,
                "a limit that leaves no room for reasoning, such as 32")


def _differs(condition: ConditionSpec, probes: ProbeSection, data: DataSpec) -> bool:
    """Whether a condition measures anything else than the probe does."""
    decoding = any(getattr(condition, key) not in (None, getattr(probes, key))
                   for key in ("temperature", "top_p", "max_new_tokens"))
    plan = condition.plan is not None and {condition.plan} != {probes.plan, probes.base_plan}
    return decoding or plan or any(value != getattr(data, key) for key, value in condition.prompt.items())


def _check_plans(probes: ProbeSection) -> None:
    from rlvr.statistics.plan import PLANS  # scipy: not at the import of the command line

    plans = {"probes.plan": probes.plan, "probes.base_plan": probes.base_plan}
    plans |= {f"probes.arms.{name}.plan": each.plan for name, each in probes.arms.items() if each.plan is not None}
    for where, name in plans.items():
        if name not in PLANS:
            raise UserError(f"unknown plan {name!r}{did_you_mean(name, list(PLANS))}", where=where)
        most = PLANS[name].max_samples
        if probes.ks[-1] > most:
            raise UserError(f"found k = {probes.ks[-1]}, expected at most {most}: {where} {name!r} draws no more "
                            "samples per problem; drop that k or choose a larger plan", where="probes.ks")
    for name, each in probes.arms.items():
        if each.direct_answer and each.plan is not None and len(PLANS[each.plan].checkpoints) > 1:
            raise UserError(f"found {each.plan!r}, which stops early and thereby biases accuracies; direct_answer "
                            "needs a plan of one round: remove the key, or set it to fixed",
                            where=f"probes.arms.{name}.plan")
