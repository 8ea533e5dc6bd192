"""Prober: measures how far a model's reasoning reaches, one model at one step at a time.

A probe in the order in which it happens: problems -> samples -> verdicts -> counts -> numbers -> run directory ->
listeners. No trainer has a part in it: rlvr.probes.callback asks a Prober at the right steps of a training, and
rlvr.probes.offline asks one for saved models and for samples that were drawn elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rlvr.interfaces import CompletionJudge
from rlvr.probes import past
from rlvr.probes.baseline import Baseline, default_store
from rlvr.probes.engine import run_probe
from rlvr.probes.models import ProbedModel
from rlvr.probes.settings import NamedPlan, ProbeSettings, named_plan, verifier_versions
from rlvr.probes.world import World, all_processes
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import Journal, read_samples
from rlvr.statistics.boundary_row import Measurement, boundary_row
from rlvr.statistics.guess import GuessBaseline, baseline_of_samples
from rlvr.statistics.schedule import choose, stratified
from rlvr.types import Decoding, Problem

logger = logging.getLogger(__name__)

Listener = Callable[[dict[str, Any], list[dict[str, Any]]], None]
"""Called with the row of boundary.jsonl and the rows of probes.jsonl."""


class Prober:
    """Measures models on one set of problems, by one set of settings, into one run directory.

    Every process of a distributed run makes one and makes the same calls.

    Args:
        problems: the same at every probe of a run.
        settings: how they are sampled and compared.
        judge: gives the verdicts, `rlvr.judging.judge.Judge`.
        run_dir: where probes.jsonl, boundary.jsonl and samples/ are written.
        listeners: called on rank 0 when the rows of a probe are on disk.
        progress: called on rank 0 during a probe with (step, problems finished, problems, samples judged).
        generated_tokens: tokens that the training has generated so far, for the probes' share of them.
        beside: run directories of further probe sets in the same run, whose tokens count in those shares too.
        world: the processes that share a probe, asked for at each probe.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        settings: ProbeSettings,
        *,
        judge: CompletionJudge,
        run_dir: str | Path,
        listeners: Sequence[Listener] = (),
        progress: Callable[[int, int, int, int], None] | None = None,
        generated_tokens: Callable[[], int] | None = None,
        beside: Sequence[RunDir] = (),
        world: Callable[[], World] = all_processes,
    ) -> None:
        self.settings = settings
        self.judge = judge
        self.run_dir = RunDir(run_dir)
        self.listeners = list(listeners)
        self.progress = progress
        self.generated_tokens = generated_tokens
        self.beside = list(beside)
        self.world = world
        self.versions = verifier_versions(problems) if settings.versions is None else settings.versions
        self.base_plan = named_plan(settings.base_plan)
        self.base: Measurement | None = None
        """The measurement of step 0, which later ones are compared with."""
        # What a budget may make cheaper than the settings say, once the base is measured.
        self.schedule: dict[str, Any] | None = None
        self.problems = list(problems)
        self.plan = named_plan(settings.plan)
        self.every = settings.every
        self.planned_looks = settings.planned_looks
        self._all_problems = tuple(problems)
        self._guess: GuessBaseline | None = None
        self._guess_known = False

    def measures(self, step: int) -> bool:
        """Whether there is anything to measure at `step`; a `ConditionProber` leaves some steps out."""
        return True

    def restore(self) -> list[int]:
        """Steps that the run directory holds. The base among them becomes what later steps are compared with."""
        rows = past.finished(self.run_dir)
        for row in rows:
            if row["step"] == 0:
                self.base = past.base_of(self.run_dir, self.base_plan.plan)
                self._keep({counts.problem_id for counts in self.base.counts})
                if row.get("schedule"):
                    self._follow(row["schedule"])
        return [row["step"] for row in rows]

    def measure(self, step: int, model: ProbedModel, *, decoding: Decoding | None = None) -> dict[str, Any] | None:
        """Probe a model and write the rows of `step`; returns the boundary row (None: nothing is measured at `step`).

        Step 0 is the base. It is drawn with the base plan and comes from the baseline store if it was measured before.
        `decoding` replaces that of the settings for this one probe.
        """
        world = self.world()
        decoding = decoding or self.settings.decoding
        name, plan = self.plan_of(step)
        identity = {
            **model.identity(self.problems, decoding, world),
            "verifiers": dict(self.versions),
            "plan": [list(plan.checkpoints), list(plan.stop_at)],
            **({"model_config": dict(self.settings.model_config)} if self.settings.model_config else {}),
        }
        counted = self._counted(step, model, decoding, identity, world)
        if step == 0 and self.settings.budget is not None:
            counted = self._within_budget(counted, identity["problems"], world)
        if step == 0:
            self._keep({row["problem_id"] for row in counted["problems"]})
        judged = {row["problem_id"] for row in counted["problems"]}
        exact_p = model.exact_p([problem for problem in self.problems if problem.id in judged], decoding)
        now = Measurement([past.counts_of(row) for row in counted["problems"]], plan, exact_p)
        if step == 0:
            self.base = now
        rows = [
            {"step": step, **row, "exact_p": None if exact_p is None else float(exact_p[i])}
            for i, row in enumerate(counted["problems"])
        ]
        world.first(self._read_guesses)
        row = self._numbers(step, now, name, rows, counted, model.drawn_with(decoding), world)
        if unjudged := counted.get("unjudged"):
            row["unjudged"] = unjudged
        if model.promises is not None:
            errors = [each.get("entropy_error", 0.0) for each in counted["problems"] if each["entropy"] is not None]
            row["sampled"] = asdict(model.promises) | (
                {"entropy_within": sum(errors) / len(errors)} if errors else {})
        world.first(partial(self._write, step, row, rows))
        return row

    def _write(self, step: int, row: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        if unjudged := row.get("unjudged"):
            logger.warning("step %d: %d of %d problems are left out, as an answer could not be judged: %s", step,
                           len(unjudged), len(rows) + len(unjudged),
                           "; ".join(f"{problem_id!r}, {what}" for problem_id, what in unjudged.items()))
        # boundary.jsonl last: its row says that everything else of this probe is on disk.
        self.run_dir.append_jsonl(self.run_dir.probes, rows)
        self.run_dir.append_jsonl(self.run_dir.boundary, [row])
        for listener in self.listeners:
            listener(row, rows)

    def plan_of(self, step: int) -> NamedPlan:
        """The plan that `step` is measured with."""
        return self.base_plan if step == 0 else self.plan

    # ---------------------------------------------------------------- samples -> verdicts -> counts

    def _counted(
        self, step: int, model: ProbedModel, decoding: Decoding, identity: Mapping[str, Any], world: World
    ) -> dict[str, Any]:
        """Rows of probes.jsonl (without the step) and what they cost."""
        samples = self.run_dir.samples(step)
        main = world.rank == 0

        def draw(stream: str, file: Path) -> dict[str, Any]:
            header = {**identity, "step": step, "seed": self.settings.seed, "batch_size": self.settings.batch_size}
            return run_probe(
                self.problems, self.plan_of(step).plan, decoding, model.sampler, self.judge, seed=self.settings.seed,
                stream=stream, batch_size=self.settings.batch_size, journal=Journal(file, header) if main else None,
                world=world, progress=partial(self.progress, step) if self.progress and main else None,
            ).as_json()

        if step > 0 or not model.shares_base:
            return draw(f"probe/{step}", samples)
        entry = Baseline(default_store() if self.settings.baselines is None else Path(self.settings.baselines),
                         dict(identity))
        with entry.locked() if main else nullcontext():
            (counted,) = world.gather([entry.load()] if main else [])
            if counted is None:
                counted = draw("base", entry.samples) | {"model": model.name}
                if main:
                    entry.save(counted)
            elif main:
                logger.warning("base probe: measured before, taken from %s", entry.folder)
            if main:
                entry.copy_samples(samples)
        return counted

    # ---------------------------------------------------------------- a budget

    def _within_budget(self, counted: dict[str, Any], problems_hash: str, world: World) -> dict[str, Any]:
        """Choose the schedule from all rows of the base's probe; returns the rows of the problems that it keeps.

        Rank 0 chooses for all: a share at the edge of the budget must not be rounded differently on another rank. The
        subset depends on the base's probe and the problem set, not on the seed: runs from one base share it.
        """
        budget, rows = self.settings.budget, counted["problems"]
        assert budget is not None

        def chosen_schedule() -> tuple[dict[str, Any], set[str]]:
            schedule = choose(budget, rows, every=self.every, name=self.plan.name, plan=self.plan.plan,
                              largest_k=max(self.settings.ks))
            ids = stratified([past.counts_of(row) for row in rows], schedule.problems, problems_hash)
            whole = {} if budget.of_all_sets is None else {"budget_of_all_sets": budget.of_all_sets}
            return {"budget": budget.share, **whole, **asdict(schedule), "of": len(rows)}, set(ids)

        schedule, chosen = world.first(chosen_schedule)
        self._follow(schedule)
        return counted | {"problems": [row for row in rows if row["problem_id"] in chosen]}

    def _follow(self, schedule: dict[str, Any]) -> None:
        """From now on probe as the schedule says."""
        self.schedule = schedule
        self.every = schedule["every"]
        if schedule["plan"] != self.plan.name:
            self.plan = named_plan(schedule["plan"])

    def _keep(self, ids: set[str]) -> None:
        """From now on probe these problems alone: those that the base's probe holds."""
        self.problems = [problem for problem in self.problems if problem.id in ids]

    # ---------------------------------------------------------------- counts -> numbers

    def _numbers(
        self, step: int, now: Measurement, plan_name: str, rows: list[dict[str, Any]], counted: Mapping[str, Any],
        decoding: Decoding | None, world: World,
    ) -> dict[str, Any]:
        """The row of boundary.jsonl: this probe, compared with the base and the probes between."""
        assert self.base is not None
        row = boundary_row(
            step=step, now=now, base=self.base, problem_rows=rows, ks=self.settings.ks, decoding=decoding,
            plan_name=plan_name,
            verifier=", ".join(f"{name}/{version}" for name, version in sorted(self.versions.items())),
            samples=counted["samples"], tokens=counted["tokens"], seconds=counted["seconds"],
            token_share=self._share_of_tokens(step, counted["tokens"], with_base=True),
            budget_share=self._share_of_tokens(step, counted["tokens"], with_base=False),
            earlier=past.between_base_and(step, self.run_dir, self.plan.plan),
            planned_looks=past.planned_looks(self.run_dir, self.planned_looks),
            guess=self._guess,
        )
        return row | {"schedule": self.schedule} if step == 0 else row

    def _share_of_tokens(self, step: int, tokens: int, *, with_base: bool) -> float | None:
        """Tokens of the probes up to this one over all that were generated; None where the training's are not known."""
        if self.generated_tokens is None:
            return None
        before = sum(past.tokens_probed(run, with_base=with_base) for run in (self.run_dir, *self.beside))
        probed = before + tokens * (with_base or step > 0)
        generated = probed + self.generated_tokens()
        return probed / generated if generated else 0.0

    def _read_guesses(self) -> None:
        """The guess rates, from the base's samples; rank 0 alone has them. Read once per process."""
        if not self._guess_known:
            # Of all problems of the base, also where a subset is probed: more wrong answers to compare with.
            keys = self.settings.answer_keys
            judged = (row for row in read_samples(self.run_dir.samples(0)) if row["correct"] is not None)
            self._guess = baseline_of_samples(
                judged, {p.id: p.gold for p in self._all_problems},
                {p.id: keys[p.verifier] for p in self._all_problems if p.verifier in keys},
            )
            self._guess_known = True
