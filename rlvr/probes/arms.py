"""Arms of a probe: the same models on the same problems under another decoding or another prompt (`probes.arms`).

Whether base or trained model solves more depends on how they are sampled and asked (2504.13837, figures 16 and 17; its
base model's pass@1 on MATH500 is 34.5 or 61.4, by the prompt). An arm is a probe like any other: it has a run directory
of its own, RUN/arms/NAME, with counts, samples and estimates, resumes like a probe, and its base measurement is shared
through the baseline store.
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
from rlvr.probes.callback import BoundaryProbeCallback, all_processes
from rlvr.probes.entropy_match import EntropyMatch, match_entropy, mean_entropy
from rlvr.runs.run_dir import RunDir
from rlvr.types import Decoding, Problem, UserError

LOWEST_TEMPERATURE = 0.05
"""Where the search for an entropy ends below; the models' own scores differ by less than one can sample there."""


@dataclass(frozen=True)
class Arm:
    """One entry of `probes.arms`, resolved."""

    name: str
    spec: ConditionSpec
    problems: list[Problem]
    """Those of the probe, asked in the arm's words."""
    decoding: Decoding
    """With `match_entropy` the base's."""

    @property
    def plans(self) -> dict[str, str]:
        """Arguments of the callback; what is not among them is the recipe's."""
        plan = self.spec.plan or ("fixed" if self.spec.direct_answer else None)
        return {} if plan is None else {"plan": plan, "base_plan": plan}


def arms_of(recipe: ProbeRecipe, problems: Sequence[Problem]) -> list[Arm]:
    """The arms of a recipe; `problems` are those of its probe, after bad golds were left out.

    Raises: UserError for a direct-answer arm of problems whose verifier judges a derivation or a program.
    """
    return [_resolved(recipe, problems, name, spec) for name, spec in recipe.probes.arms.items()]


def _resolved(recipe: ProbeRecipe, problems: Sequence[Problem], name: str, spec: ConditionSpec) -> Arm:
    where = f"probes.arms.{name}"
    asked = list(problems)
    if spec.prompt:
        rows = load_problems(dataclasses.replace(recipe.data.probe, **spec.prompt), where=where)
        by_id = {problem.id: problem for problem in rows}
        asked = [by_id[problem.id] for problem in problems]
    if spec.direct_answer:
        for verifier in dict.fromkeys(problem.verifier for problem in problems):
            if not resolve("verifiers", verifier).answer_alone:
                raise UserError(f"{where}.direct_answer: the verifier {verifier!r} judges the derivation or program "
                                "itself, so there is no answer to give without it; remove this arm")
    own = {key: getattr(spec, key) for key in ("temperature", "top_p", "max_new_tokens")}
    changed = {key: value for key, value in own.items() if value is not None}
    decoding = dataclasses.replace(recipe.probe_decoding, **changed)
    return Arm(name, spec, asked, decoding)


class ArmCallback(BoundaryProbeCallback):
    """The probes of one arm. Its run directory is the arm's.

    A `direct_answer` arm measures the base alone; a `match_entropy` arm measures a trained model at the temperature of
    its `EntropyMatch`, which goes to entropy_match.jsonl, and not at all where there is none.
    """

    def __init__(self, arm: Arm, **settings: Any) -> None:
        own: dict[str, Any] = settings | arm.plans | {"decoding": arm.decoding}
        super().__init__(arm.problems, **own)
        self.arm = arm
        self._target: float | None = None

    def restore(self) -> list[int]:
        """As of a probe; steps at which no temperature matched are done as well."""
        done = super().restore()
        for row in self._boundary_rows():
            if row["step"] == 0:
                self._aim(row)
        searched = self.run_dir.read_jsonl(self.run_dir.entropy_matches)
        return done + [row["step"] for row in searched if row["temperature"] is None]

    def measures(self, step: int) -> bool:
        return step == 0 or not self.arm.spec.direct_answer

    def measure(
        self, step: int, model: Any, tokenizer: Any, *, main: bool = True, decoding: Decoding | None = None
    ) -> dict[str, Any] | None:
        if not self.measures(step):
            return None
        if step > 0 and self.arm.spec.match_entropy:
            match = self._match(model, tokenizer)
            if main:
                self.run_dir.append_jsonl(self.run_dir.entropy_matches, [{"step": step, **asdict(match)}])
            if match.temperature is None:
                return None
            decoding = dataclasses.replace(self.decoding, temperature=match.temperature)
        row = super().measure(step, model, tokenizer, main=main, decoding=decoding)
        if step == 0 and row is not None:
            self._aim(row)
        return row

    def _aim(self, base_row: dict[str, Any]) -> None:
        """Take the base's entropy as what later models are brought to."""
        self._target = base_row["estimates"]["boundary/entropy"]["value"]
        if self._target is None and self.arm.spec.match_entropy:
            raise UserError(f"probes.arms.{self.arm.name}.match_entropy: the sampler does not know the entropies of "
                            "this base's completions (vLLM's of problems with pictures), so none can be matched; "
                            "remove this arm")

    def _match(self, model: Any, tokenizer: Any) -> EntropyMatch:
        spec, sampler, target = self.arm.spec, self.sampler_of(model, tokenizer), self._target
        assert target is not None  # step 0 comes first and has one

        def entropy_at(temperature: float) -> float:
            decoding = dataclasses.replace(self.decoding, temperature=temperature)
            return mean_entropy(self.problems, sampler, decoding, samples=spec.entropy_samples, seed=self.seed,
                                batch_size=self.batch_size, world=all_processes())

        start = self.decoding.temperature
        return match_entropy(entropy_at, target, start=start, tolerance=spec.entropy_tolerance,
                             lowest=min(LOWEST_TEMPERATURE, start), highest=spec.max_temperature)


def open_arms(run: RunDir, arms: Sequence[Arm], tree: dict[str, Any], *, lab: bool) -> None:
    """Make the run directories of the arms, or compare their recipes with those that are there. On one process."""
    for arm in arms:
        home = RunDir.create(run.arm(arm.name).path, resume=True, quiet=True)  # the run itself was new, or is resumed
        home.write_recipe({**tree, "arm": {"name": arm.name, **asdict(arm.spec)}}, lab=lab)
        home.write_problems(problem_rows(arm.problems))
