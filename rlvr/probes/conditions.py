"""Conditions of a probe: the same models on the same problems under another decoding or prompt (`probes.arms`).

Whether base or trained model solves more depends on how they are sampled and asked (2504.13837, figures 16 and 17; its
base model's pass@1 on MATH500 is 34.5 or 61.4, by the prompt). A condition is probed like the run itself: it has a run
directory of its own, RUN/arms/NAME, with counts, samples and estimates, it resumes like a probe, and its base
measurement is shared through the baseline store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rlvr.config.probe_recipe import ProbeRecipe
from rlvr.config.probes import ConditionSpec
from rlvr.config.registry import resolve
from rlvr.data.load import load_problems
from rlvr.data.problem_sets import problem_rows
from rlvr.probes import past
from rlvr.probes.entropy_match import EntropyMatch, match_entropy, mean_entropy
from rlvr.probes.models import ProbedModel
from rlvr.probes.prober import Prober
from rlvr.probes.settings import ProbeSettings, probe_settings
from rlvr.runs.run_dir import RunDir
from rlvr.types import Decoding, Problem, UserError

LOWEST_TEMPERATURE = 0.05
"""Lower end of the search for an entropy: below it, sampling is as good as greedy."""
HIGHEST_TEMPERATURE = 3.0
"""Upper end of that search."""
ENTROPY_TOLERANCE = 0.01
"""Nats per token by which matched entropies may differ. With less, more temperatures are tried and noise decides."""
ENTROPY_SAMPLES = 4
"""Samples per problem at each temperature that is tried; there are five or so."""


@dataclass(frozen=True)
class Condition:
    """One entry of `probes.arms`, resolved."""

    name: str
    spec: ConditionSpec
    problems: list[Problem]
    """Those of the probe, with the prompts of this condition."""
    decoding: Decoding
    """With `match_entropy` the base's."""

    def settings(self, recipe: ProbeRecipe, **others: Any) -> ProbeSettings:
        """Those of the recipe's probes, with what this condition changes and the fields in `others`."""
        settings = probe_settings(recipe, self.problems, decoding=self.decoding, **others)
        plan = self.spec.plan or ("fixed" if self.spec.direct_answer else None)
        return settings if plan is None else dataclasses.replace(settings, plan=plan, base_plan=plan)


def conditions_of(recipe: ProbeRecipe, problems: Sequence[Problem]) -> list[Condition]:
    """The conditions of a recipe; `problems` are those of its probe, after bad golds were left out.

    Raises: UserError for direct answers to problems whose verifier judges a derivation or a program.
    """
    return [_resolved(recipe, problems, name, spec) for name, spec in recipe.probes.arms.items()]


def _resolved(recipe: ProbeRecipe, problems: Sequence[Problem], name: str, spec: ConditionSpec) -> Condition:
    where = f"probes.arms.{name}"
    asked = list(problems)
    if spec.prompt:
        rows = load_problems(dataclasses.replace(recipe.data.probe_set, **spec.prompt), where=where)
        by_id = {problem.id: problem for problem in rows}
        asked = [by_id[problem.id] for problem in problems]
    if spec.direct_answer:
        for verifier in dict.fromkeys(problem.verifier for problem in problems):
            if not resolve("verifiers", verifier).answer_alone:
                raise UserError(f"{where}.direct_answer: the verifier {verifier!r} judges the derivation or program "
                                "itself, so there is no answer to give without it; remove this arm")
    own = {key: getattr(spec, key) for key in ("temperature", "top_p", "max_new_tokens")}
    changed = {key: value for key, value in own.items() if value is not None}
    return Condition(name, spec, asked, dataclasses.replace(recipe.probe_decoding, **changed))


class ConditionProber(Prober):
    """A Prober of one condition. Its run directory is the condition's.

    With `direct_answer` it measures the base alone. With `match_entropy` it measures a trained model at the temperature
    of its `EntropyMatch`, which goes to entropy_match.jsonl, and not at all if there is no such temperature.
    """

    def __init__(self, condition: Condition, settings: ProbeSettings, **where: Any) -> None:
        super().__init__(condition.problems, settings, **where)
        self.condition = condition
        self._target: float | None = None

    def restore(self) -> list[int]:
        """As of any probe; steps at which no temperature matched are done as well."""
        done = super().restore()
        for row in past.finished(self.run_dir):
            if row["step"] == 0:
                self._aim(row)
        searched = self.run_dir.read_jsonl(self.run_dir.entropy_matches)
        return done + [row["step"] for row in searched if row["temperature"] is None]

    def measures(self, step: int) -> bool:
        return step == 0 or not self.condition.spec.direct_answer

    def measure(self, step: int, model: ProbedModel, *, decoding: Decoding | None = None) -> dict[str, Any] | None:
        if not self.measures(step):
            return None
        if step > 0 and self.condition.spec.match_entropy:
            match = self._match(model)
            if self.world().rank == 0:
                self.run_dir.append_jsonl(self.run_dir.entropy_matches, [{"step": step, **asdict(match)}])
            if match.temperature is None:
                return None
            decoding = dataclasses.replace(self.settings.decoding, temperature=match.temperature)
        row = super().measure(step, model, decoding=decoding)
        if step == 0 and row is not None:
            self._aim(row)
        return row

    def _aim(self, base_row: dict[str, Any]) -> None:
        """Take the base's entropy as the target for later models."""
        self._target = base_row["estimates"]["boundary/entropy"]["value"]
        if self._target is None and self.condition.spec.match_entropy:
            raise UserError(f"probes.arms.{self.condition.name}.match_entropy: the sampler does not know the entropies "
                            "of this base's completions (vLLM's of problems with pictures), so none can be matched; "
                            "remove this arm")

    def _match(self, model: ProbedModel) -> EntropyMatch:
        """Search for the temperature at which `model` has the base's entropy."""
        settings, target = self.settings, self._target
        assert target is not None  # step 0 comes first and has one

        def entropy_at(temperature: float) -> float:
            decoding = dataclasses.replace(settings.decoding, temperature=temperature)
            return mean_entropy(self.problems, model.sampler, decoding, samples=ENTROPY_SAMPLES,
                                seed=settings.seed, batch_size=settings.batch_size, world=self.world())

        start = settings.decoding.temperature
        return match_entropy(entropy_at, target, start=start, tolerance=ENTROPY_TOLERANCE,
                             lowest=min(LOWEST_TEMPERATURE, start), highest=max(HIGHEST_TEMPERATURE, start))


def open_conditions(run: RunDir, conditions: Sequence[Condition], tree: dict[str, Any], *, lab: bool) -> None:
    """Make the run directories of the conditions, or compare their recipes with those there. On one process."""
    for each in conditions:
        home = RunDir.create(run.arm(each.name).path, resume=True, quiet=True)  # the run itself was new, or is resumed
        of_arm = {**tree, "arm": {"name": each.name, **asdict(each.spec)}}
        home.write_start(of_arm, problem_rows(each.problems), lab=lab)
