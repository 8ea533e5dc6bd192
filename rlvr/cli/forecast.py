"""What a recipe will do and cost, before any weights load: steps, rollouts, tokens, and the price of the probes."""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rlvr.config.algorithm import algorithm_config, build_algorithm, critic_note
from rlvr.config.data import by_name, is_file, on_disk_or_hub
from rlvr.config.mixture import shares
from rlvr.config.probe_recipe import data_of_sets, of_sets
from rlvr.config.probes import ConditionSpec, ProbeSection
from rlvr.config.recipe import Recipe
from rlvr.config.registry import resolve
from rlvr.config.sections import TrainSection
from rlvr.config.steps import StepPlan, plan_of_steps
from rlvr.config.strict import to_tree
from rlvr.judging.problems import ProblemSets, load_problem_sets, with_short_prompts, with_usable_golds
from rlvr.models.declared import check_model
from rlvr.models.loading import adapter_of, check_trainable
from rlvr.models.prompts import decoded_prompt
from rlvr.probes.budget_checks import budget_lines, budget_of, check_budget, generated_per_used, parts_of_budget
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.statistics.schedule import DIFFICULTIES, mixed_of_beta
from rlvr.training.arguments import check_names
from rlvr.types import Problem, UserError


@dataclass(frozen=True, slots=True)
class Resolved:
    """A recipe with its data, before the model loads."""

    steps: StepPlan
    probe: Mapping[str, list[Problem]]
    """Name of each probe set -> its problems; empty if they were not looked up."""
    problems: str
    """How many problems there are, as text."""
    model: str
    """The base model, as text."""
    example: list[str]
    """A prompt as the model reads it with the stop tokens, and a gold answer as it is judged."""


def resolve_all(recipe: Recipe, *, world_size: int = 1, offline: bool = False) -> Resolved:
    """Resolve everything but the model and judge every gold answer.

    `offline`: data of the hub and files that are not there yet are named and left out, with what depends on them.

    Raises: UserError for whatever training would refuse before it loads the model.
    """
    from rlvr.judging.judge import Judge

    build_algorithm(recipe)
    if recipe.train.trl or recipe.train.optim != _default(TrainSection, "optim"):
        check_names(recipe.train)  # takes seconds: it loads TRL
    steps = plan_of_steps(recipe.train, world_size)
    absent = _absent(recipe) if offline else []
    problems = ProblemSets() if absent else load_problem_sets(recipe)
    model, example, problems = _check_model(recipe, problems)
    if recipe.train.vllm is not None and not offline and find_spec("vllm") is None:
        raise UserError("the package vllm is not installed: pip install 'rlvr[vllm]'", where="train.vllm")
    if not offline:
        check_trainable(recipe.model)
    with Judge(**recipe.judge.options()) as judge:
        problems = with_usable_golds(recipe, problems, judge)
    words = (f"{_counted(problems.sources)} train, {_counted(problems.sets)} probe, {problems.shared} in both; every "
             "gold passes its verifier")
    if absent:
        words = f"not looked up: {', '.join(absent)}"
    elif problems.rejected:
        words += f" ({problems.rejected} whose gold does not are left out)"
    if problems.too_long:
        words += f"; {problems.too_long:,} with longer prompts than train.max_prompt_tokens are left out"
    recipes = of_sets(recipe)
    parts = parts_of_budget({name: len(found) for name, found in problems.sets.items()})
    for name, found in problems.sets.items():
        check_budget(recipes[name], found, parts[name])
    return Resolved(steps, problems.sets, words, model, [*example, *map(_gold_example, problems.train[:1])])


def check(
    recipe: Recipe, *, world_size: int = 1, offline: bool = False, further: Sequence[tuple[str, str]] = ()
) -> None:
    """Print what `resolve_all` finds and the forecast to stdout, then `further` lines. Errors are the same."""
    resolved = resolve_all(recipe, world_size=world_size, offline=offline)
    steps, model = resolved.steps, resolved.model
    lines = [
        ("recipe", f"{recipe.name}, seed {recipe.seed}, run directory {recipe.run_path}"),
        ("model", model + ("" if recipe.model.lora is None else f", LoRA rank {recipe.model.lora.r}")),
        *_algorithm_lines(recipe),
        ("problems", resolved.problems),
        *_data_lines(recipe),
        *(("example" if number == 0 else "", line) for number, line in enumerate(resolved.example)),
        ("training", f"{recipe.train.steps:,} updates, {steps.rollout_batches:,} rollout batches of {steps.rollouts:,} "
                     f"({recipe.train.prompts_per_step} prompts x {recipe.train.group_size})"),
        ("rollouts", f"{steps.total_rollouts:,} to train on, at most {steps.max_tokens:,} tokens"
                     f"{_generated_too(recipe)}"),
        ("per process", f"{world_size} process(es): {steps.rollouts_per_process:,} rollouts, "
                        f"{_micro_batches(recipe.train, steps)}"),
    ]
    lines += [*_lines_of_sets(recipe, resolved), *further]
    width = max(len(name) for name, _ in lines)
    sys.stdout.write("".join(f"{name:<{width}}  {text}\n" for name, text in lines))


def _counted(problems: Mapping[str, list[Problem]]) -> str:
    """`7,973 (math 7,500, gsm8k 473)`"""
    named = ", ".join(f"{name} {len(found):,}" for name, found in problems.items() if name)
    return f"{sum(map(len, problems.values())):,}{f' ({named})' * bool(named)}"


def _lines_of_sets(recipe: Recipe, resolved: Resolved) -> list[tuple[str, str]]:
    """The forecast of the probes, set by set."""
    lines: list[str] = []
    recipes = of_sets(recipe) if recipe.probes.enabled else {}
    sizes = {name: len(resolved.probe.get(name, ())) or one.data.probe_set.size for name, one in recipes.items()}
    for name, part in parts_of_budget(sizes).items():
        one, budget = recipes[name], budget_of(recipes[name], part)
        lines += [f"on {name}:"] if name else []
        lines += (budget_lines(one, budget, resolved.probe.get(name, ()), sizes[name]) if budget is not None else
                  _probe_lines(one, sizes[name], resolved.steps.total_rollouts))
    return [("probes" if number == 0 else "", line) for number, line in enumerate(lines)]


def _data_lines(recipe: Recipe) -> list[tuple[str, str]]:
    """Sources and verifiers, how completions are drawn, and what shapes their reward."""
    train, probes, lines = recipe.train, recipe.probes, []
    drawn = f"temperature {train.temperature:g}, at most {train.max_new_tokens:,} tokens"
    parts = shares(recipe.data.train)
    sections = [(f"train {source}, {float(parts[source]):.1%} of the prompts" if source else "train", spec, drawn)
                for source, spec in by_name(recipe.data.train).items()]
    for name, one in of_sets(recipe).items() if probes.enabled else ():
        drawn = (f"temperature {one.probes.temperature:g}, top_p {one.probes.top_p:g}, at most "
                 f"{one.probes.max_new_tokens:,} tokens")
        sections.append((f"probe {name}".strip(), one.data.probe_set, drawn))
    for name, spec, drawn in sections:
        split = None if is_file(spec.source) else spec.split
        source = " ".join(part for part in (spec.source, spec.config, split) if part)
        lines.append(("", f"{name}: {source}, verifier {spec.judged_by}; {drawn}"))
    terms = {field.name: getattr(train.rewards, field.name) for field in dataclasses.fields(train.rewards)}
    words = [f"{name} {json.dumps(to_tree(term))}".replace('"', "") for name, term in terms.items() if term is not None]
    return lines + [("rewards", f"accuracy, and {'; '.join(words)}")] * bool(words)


def _check_model(recipe: Recipe, problems: ProblemSets) -> tuple[str, list[str], ProblemSets]:
    """Check a local model's files, without its weights, and every prompt. Returns the model and an example of what it
    reads, as text, and the problems without those whose prompts are dropped. A hub id is checked by the training, as it
    may need a download.
    """
    path = recipe.model.path
    if (adapter := adapter_of(path)) is not None and adapter.base != "lab" and not Path(adapter.base).is_dir():
        check_trainable(recipe.model)
        return f"{path}, adapters of {adapter.base} (hub id: not looked up here)", [], problems
    if path != "lab" and not Path(path).is_dir():
        if path.startswith((".", "/", "~")):
            raise UserError(f"model.path: no directory {path!r}; expected `lab`, a hub id or the directory of a model")
        return f"{path} (hub id: not looked up here)", [], problems
    processing, stops, short = check_model(recipe, problems.train, problems.probe)
    problems = with_short_prompts(recipe, problems, short)
    every = [*problems.train, *problems.probe]
    shown = [f"prompt: {_shortened(decoded_prompt(processing, problem))}" for problem in every[:1]]
    ends = f"a completion ends with: {stops.tokens}{f'; note: {stops.note}' if stops.note else ''}"
    path += "" if adapter is None else f", adapters of {adapter.base}"
    return f"{path}; its tokenizer reads every prompt", [*shown, ends], problems


def _default(section: type, name: str) -> Any:
    return next(field.default for field in dataclasses.fields(section) if field.name == name)


def _gold_example(problem: Problem) -> str:
    """How the gold answer of a problem that passed its check is judged."""
    verifier = resolve("verifiers", problem.verifier)()
    return f"gold: {_shortened(problem.gold)}; judged correct: {_shortened(verifier.gold_completion(problem))}"


def _shortened(text: str, most: int = 240) -> str:
    return repr(text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}")


def _algorithm_lines(recipe: Recipe) -> list[tuple[str, str]]:
    """The algorithm's settings, those of the recipe before the defaults, and a warning about its critic."""
    algorithm = build_algorithm(recipe)
    settings = to_tree(algorithm_config(recipe))
    words = {key: f"{key}={json.dumps(value)}".replace('"', "") for key, value in settings.items()}
    own = [word for key, word in words.items() if key in recipe.algorithm]
    rest = [word for key, word in words.items() if key not in recipe.algorithm]
    texts = [recipe.algorithm_name, *(f"{how}: {', '.join(some)}" for how, some in (("set", own), ("default", rest))
                                      if some)]
    texts += [note] if (note := critic_note(algorithm, recipe.train.learning_rate)) else []
    lines = [line for text in texts for line in textwrap.wrap(text, 100, subsequent_indent="  ")]
    return [("algorithm" if line is lines[0] else "", line) for line in lines]


def _micro_batches(train: TrainSection, steps: StepPlan) -> str:
    if train.micro_batch_tokens is None:
        return f"{steps.gradient_accumulation} micro-batches of {train.micro_batch_size} per update"
    return f"micro-batches of at most {train.micro_batch_tokens:,} tokens and {train.micro_batch_size:,} rollouts"


def _generated_too(recipe: Recipe) -> str:
    """Text on what the algorithm generates beyond the rollouts it trains on."""
    algorithm, words, rehearse = build_algorithm(recipe), "", recipe.train.rehearse
    if rehearse is not None:
        of = f"{rehearse.problems:,}" if rehearse.problems else "all"
        words += f"; before the first update {rehearse.samples} answers to each of {of} training problems"
    if algorithm.needs.greedy_baseline:
        words += f"; a greedy completion per prompt on top (1 per {recipe.train.group_size} rollouts)"
    if algorithm.needs.group_filter:
        limit = algorithm.group_filter.max_batches
        words += f"; dynamic sampling generates {f'up to {limit} times' if limit else 'without limit'} as many"
    return words


def _absent(recipe: Recipe) -> list[str]:
    """Sources that would have to be downloaded: neither made here nor a file, which is missing if it is not there."""
    probed = data_of_sets(recipe) if recipe.probes.enabled else {}
    sources = dict.fromkeys(spec.source for spec in (*by_name(recipe.data.train).values(), *probed.values()))
    return [source for source in sources if on_disk_or_hub(source) and not is_file(source)]


def _arm_plans(arm: ConditionSpec, probes: ProbeSection) -> list[SamplingPlan]:
    """The plans that an arm of `probes.arms` walks through; the search for an entropy comes on top."""
    if arm.direct_answer:
        return [PLANS[arm.plan or "fixed"]]
    return [PLANS[arm.plan or probes.base_plan], PLANS[arm.plan or probes.plan]]


def _probe_lines(recipe: Recipe, problems: int | None, rollouts: int) -> list[str]:
    """Forecast of the probes' samples; per rollout a probe sample is taken to cost what a training one costs."""
    algorithm = build_algorithm(recipe)
    probes = recipe.probes
    if problems is None:
        return [f"as many problems as the source has: set its size for a forecast (plan {probes.plan} every "
                f"{probes.every} updates)"]
    times = recipe.train.steps // probes.every + (recipe.train.steps % probes.every != 0)
    plan, base = PLANS[probes.plan], PLANS[probes.base_plan]
    lines = [f"step 0 with plan {probes.base_plan}, then {times} with plan {probes.plan} "
             f"(at most {problems * plan.max_samples:,} samples each)"]
    arms = [_arm_plans(arm, probes) for arm in probes.arms.values()]
    if arms:
        lines.append(f"and under {len(arms)} other decodings or prompts ({', '.join(probes.arms)}) at step 0 and "
                     "at the end")
    for name, (a, b) in DIFFICULTIES.items():
        once, each = (problems * p.expected_samples_beta(a, b) for p in (base, plan))
        samples = once + times * each + problems * sum(p.expected_samples_beta(a, b) for plans in arms for p in plans)
        group = recipe.train.group_size
        times_used = generated_per_used(algorithm, group, mixed_of_beta(a, b, group))
        share = samples / (samples + rollouts * times_used)
        more = f" (training generates {times_used:.3g} completions per rollout it uses)" if times_used != 1 else ""
        words = f"{samples:,.0f} samples, {share:.0%} of all that is generated{more}"
        lines.append(f"if problems are {name}: {words}")
    return lines
