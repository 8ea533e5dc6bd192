"""BoundaryProbeCallback: measures the reasoning boundary at step 0, every N steps and at the end.

A `transformers.TrainerCallback`, so it works on RLVRTrainer and on any other Hugging Face or TRL trainer. It samples
from the live model with its own decoding, judges, writes the run directory and tells its listeners. Training is not
disturbed: random states are saved and restored, and a run with probes is bit-identical to the run without them.
"""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlvr.config.registry import resolve
from rlvr.interfaces import CompletionJudge, Sampler
from rlvr.models.prompts import eos_ids, prompt_fingerprint
from rlvr.models.sampler import TransformersSampler
from rlvr.models.weights import weights_hash
from rlvr.probes.baseline import Baseline, default_store
from rlvr.probes.engine import ProbeResult, run_probe
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import Journal, read_samples
from rlvr.statistics.boundary_row import Measurement, boundary_row
from rlvr.statistics.guess import GuessBaseline, baseline_of_samples
from rlvr.statistics.plan import PLANS, SamplingPlan
from rlvr.statistics.schedule import Budget, choose, stratified
from rlvr.types import DEFAULT_KS, Counts, Decoding, Problem, UserError

logger = logging.getLogger(__name__)

Truth = Callable[[Any, Any, Sequence[Problem], Decoding], np.ndarray]
"""(model, tokenizer, problems, decoding) -> exact success probability per problem; only the lab has one."""


class DistributedWorld:
    """All processes of the current `torch.distributed` group."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size

    def gather(self, items: list[Any]) -> list[Any]:
        return gather_object(items) if self.size > 1 else items


class BoundaryProbeCallback(TrainerCallback):
    """Probes the boundary during training.

    Args:
        problems: the probe set; fixed for the whole run.
        judge: gives the verdicts, `rlvr.judging.judge.Judge`.
        run_dir: where probes.jsonl, boundary.jsonl and samples/ are written.
        every: optimizer steps between probes; the first is at step 0 (the base), the last at the end.
        plan, base_plan: names in `rlvr.statistics.plan.PLANS`, or plans; base_plan measures step 0.
        decoding: temperature, top-p and token limit of the probes.
        ks: the k of pass@k; at most the plans' max_samples.
        seed: with step, problem id and sample index it determines every draw.
        batch_size: completions per generation batch over all ranks.
        baselines: folder of the base measurements shared between runs; None: `$RLVR_CACHE/baselines`.
        versions: verifier name -> version, part of the base measurement's key; None: those of the problems' verifiers.
        answer_keys: verifier name -> canonical form of an answer (`Verifier.answer_key`), for the guess rates; answers
            of verifiers that are missing are compared as stripped text.
        truth: exact success probabilities, where they are known (the lab).
        sampler: makes the sampler over the live model; None samples from the model the trainer passes in.
        unwrap: context manager yielding the model with all its weights gathered, for `truth`.
        generated_tokens: tokens the training has generated so far, for the probe's share of the run.
        listeners: called on rank 0 with each boundary row and its per-problem rows.
        progress: called on rank 0 during a probe with (step, problems finished, problems).
        planned_looks: probes after the base over which the verdicts `shrunk | not shrunk | undecided` must hold; None:
            from the trainer's steps and the interval, and outside of training unknown (the error is spent more
            slowly). A resumed run keeps the number it began with.
        budget: what the probes after the base may take. `every`, `plan` and `problems` are then upper bounds: once the
            base is measured, `rlvr.statistics.schedule.choose` makes them cheaper until they fit, and the run keeps to
            that schedule, which the base's row in boundary.jsonl records. Of the base, the run keeps the rows of the
            problems that are probed again (its samples file and the baseline store hold them all), so every number of
            the run is of one fixed set of problems.

    Raises: rlvr.types.UserError (from the plan) if a k exceeds what a plan can estimate; after the base's probe if no
        schedule fits the budget.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        *,
        judge: CompletionJudge,
        run_dir: str | Path,
        every: int,
        plan: str | SamplingPlan = "balanced",
        base_plan: str | SamplingPlan = "reference-512",
        decoding: Decoding | None = None,
        ks: Sequence[int] = DEFAULT_KS,
        seed: int = 0,
        batch_size: int = 256,
        baselines: str | Path | None = None,
        versions: dict[str, str] | None = None,
        answer_keys: Mapping[str, Callable[[str], str]] | None = None,
        truth: Truth | None = None,
        sampler: Callable[[], Sampler] | None = None,
        unwrap: Callable[[], AbstractContextManager[Any]] | None = None,
        generated_tokens: Callable[[], int] | None = None,
        listeners: Sequence[Callable[[dict[str, Any], list[dict[str, Any]]], None]] = (),
        progress: Callable[[int, int, int], None] | None = None,
        planned_looks: int | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.problems = list(problems)
        self._all_problems = tuple(problems)
        self.judge = judge
        self.run_dir = RunDir(Path(run_dir))
        self.every = every
        self.plan_name, self.plan = _named(plan)
        self.base_plan_name, self.base_plan = _named(base_plan)
        self.decoding = decoding or Decoding(temperature=0.6, top_p=0.95)
        self.ks = tuple(ks)
        for each in (self.plan, self.base_plan):
            each.unsolved_F(max(self.ks))
        self.seed = seed
        self.batch_size = batch_size
        self.store = Path(baselines) if baselines is not None else default_store()
        self.versions = _versions(problems) if versions is None else versions
        self.answer_keys = answer_keys or {}
        self.truth = truth
        self.sampler = sampler
        self.unwrap = unwrap
        self.generated_tokens = generated_tokens
        self.listeners = list(listeners)
        self.progress = progress
        self.planned_looks = planned_looks
        self.budget = budget
        self.schedule: dict[str, Any] | None = None
        self.base: Measurement | None = None
        self._last_probed = -1
        self._guess: GuessBaseline | None = None
        self._guess_read = False

    # ---------------------------------------------------------------- trainer events

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        done = self.restore()
        self._last_probed = max(done, default=-1)
        if 0 not in done:
            if state.global_step > 0:
                raise RuntimeError(f"{self.run_dir.path}: resuming at step {state.global_step} without a base probe")
            self._probe(0, state, **kwargs)
        if self.planned_looks is None:  # only now: a budget may have chosen another interval
            self.planned_looks = math.ceil(state.max_steps / self.every)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._probe(state.global_step, state, **kwargs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._probe(state.global_step, state, **kwargs)

    def restore(self) -> list[int]:
        """Steps that the run directory holds, whose base (if it has one) later steps are now compared with."""
        rows = self._boundary_rows()
        for row in rows:
            if row["step"] == 0:
                self.base = self._stored_base()
                if row.get("schedule"):
                    self._follow(row["schedule"], {counts.problem_id for counts in self.base.counts})
        return [row["step"] for row in rows]

    # ---------------------------------------------------------------- one probe

    def _probe(
        self, step: int, state: TrainerState, *, model: Any = None, processing_class: Any = None, **_: Any
    ) -> None:
        if step <= self._last_probed:
            return
        if processing_class is None:
            raise UserError("BoundaryProbeCallback: this trainer has no tokenizer; make it with processing_class=...")
        with rng_restored():
            self.measure(step, model, processing_class, main=state.is_world_process_zero)
        self._last_probed = step

    def measure(
        self, step: int, model: Any, tokenizer: Any, *, main: bool = True, decoding: Decoding | None = None
    ) -> dict[str, Any] | None:
        """Probe the model as it is now and write the rows of `step`; returns the boundary row.

        Step 0 is measured with the base plan and shared through the baseline store. `decoding` replaces that of the
        probe for this one measurement. A subclass returns None where it measures nothing.
        """
        decoding = decoding or self.decoding
        plan = self.base_plan if step == 0 else self.plan
        sampler = self.sampler_of(model, tokenizer)
        key = {
            "weights": weights_hash(model, all_processes().gather),
            "sampler": type(sampler).__name__,
            "problems": _problems_hash(model, tokenizer, self.problems),
            "verifiers": self.versions,
            "decoding": [decoding.temperature, decoding.top_p, decoding.max_new_tokens],
            "plan": [list(plan.checkpoints), list(plan.stop_at)],
        }
        world = all_processes()
        probe = self._sampled(step, sampler, key, world, main, decoding, base_name=_name(model))
        if step == 0 and self.budget is not None:
            schedule, chosen = self._choose(probe["problems"], key["problems"], world, main)
            self._follow(schedule, chosen)
            probe = probe | {"problems": [row for row in probe["problems"] if row["problem_id"] in chosen]}
        exact_p = None
        if self.truth is not None:
            with self.unwrap() if self.unwrap else nullcontext(model) as full_model:
                exact_p = self.truth(full_model, tokenizer, self.problems, decoding)
        return self._record(step, probe, decoding, exact_p, main)

    def measures(self, step: int) -> bool:
        """Whether there is anything to measure at `step`."""
        return True

    def sampler_of(self, model: Any, tokenizer: Any) -> Sampler:
        """What draws the samples of a probe."""
        return self.sampler() if self.sampler else TransformersSampler(model, tokenizer)

    def measure_samples(
        self, step: int, sampler: Sampler, identity: str, *, decoding: Decoding | None = None
    ) -> dict[str, Any]:
        """As `measure`, for samples that were drawn elsewhere and that `sampler` hands out, in this process alone.

        `identity` names their content, so that a killed measurement is never continued with other samples; `decoding`
        is how they were drawn, None if nobody knows. The baseline store has no part in it.
        """
        plan = self.base_plan if step == 0 else self.plan
        key = {"samples": identity, "verifiers": self.versions, "plan": [list(plan.checkpoints), list(plan.stop_at)]}
        probe = self._sampled(step, sampler, key, DistributedWorld(0, 1), True, self.decoding, shared=False)
        return self._record(step, probe, decoding, None, main=True)

    def _choose(
        self, rows: list[dict[str, Any]], problems_hash: str, world: DistributedWorld, main: bool
    ) -> tuple[dict[str, Any], set[str]]:
        """The schedule within the budget and the problems it probes, from all rows of the base's probe.

        Rank 0 chooses for all: a share at the edge of the budget must not be rounded apart. The subset depends on the
        base's probe and the problem set, not on the run's seed: runs from one base share it.
        """
        assert self.budget is not None
        found: list[Any] = []
        if main:
            try:
                schedule = choose(self.budget, rows, every=self.every, name=self.plan_name, plan=self.plan,
                                  largest_k=max(self.ks))
                ids = stratified([_counts(row) for row in rows], schedule.problems, problems_hash)
                found = [({"budget": self.budget.share, **asdict(schedule), "of": len(rows)}, set(ids))]
            except UserError as error:
                found = [str(error)]
        (outcome,) = world.gather(found)
        if isinstance(outcome, str):
            raise UserError(outcome)
        return outcome

    def _follow(self, schedule: dict[str, Any], chosen: set[str]) -> None:
        """From now on probe as the schedule says."""
        self.schedule = schedule
        self.every = schedule["every"]
        if schedule["plan"] != self.plan_name:
            self.plan_name, self.plan = _named(schedule["plan"])
        self.problems = [problem for problem in self.problems if problem.id in chosen]

    def _sampled(
        self, step: int, sampler: Sampler, key: dict[str, Any], world: DistributedWorld, main: bool,
        decoding: Decoding, *, shared: bool = True, base_name: str = "",
    ) -> dict[str, Any]:
        """What the plan draws from `sampler`, judged and counted; step 0 through the baseline store if `shared`."""
        plan = self.base_plan if step == 0 else self.plan
        journal_header = {**key, "step": step, "seed": self.seed, "batch_size": self.batch_size}
        samples = self.run_dir.samples(step)
        progress = partial(self.progress, step) if self.progress and main else None

        def run(stream: str, journal_path: Path) -> ProbeResult:
            journal = Journal(journal_path, journal_header) if main else None
            return run_probe(
                self.problems, plan, decoding, sampler, self.judge, seed=self.seed, stream=stream,
                batch_size=self.batch_size, journal=journal, world=world,
                progress=progress,
            )

        if step == 0 and shared:
            return self._base_probe(Baseline(self.store, key), run, samples, main, world, base_name)
        return _stored_form(run(f"probe/{step}", samples))

    def _record(
        self, step: int, probe: dict[str, Any], decoding: Decoding | None, exact_p: np.ndarray | None, main: bool
    ) -> dict[str, Any]:
        """Compare with the base, write the rows of `step` and tell the listeners; returns the boundary row."""
        plan = self.base_plan if step == 0 else self.plan
        now = Measurement(counts=[_counts(row) for row in probe["problems"]], plan=plan, exact_p=exact_p)
        if step == 0:
            self.base = now
        assert self.base is not None
        rows = [
            {"step": step, **row, "exact_p": None if exact_p is None else float(exact_p[i])}
            for i, row in enumerate(probe["problems"])
        ]
        summary = boundary_row(
            step=step, now=now, base=self.base, problem_rows=rows, ks=self.ks, decoding=decoding,
            plan_name=self.base_plan_name if step == 0 else self.plan_name,
            verifier=", ".join(f"{k}/{v}" for k, v in sorted(self.versions.items())),
            samples=probe["samples"], tokens=probe["tokens"], seconds=probe["seconds"],
            token_share=self._token_share(step, probe["tokens"], with_base=True),
            budget_share=self._token_share(step, probe["tokens"], with_base=False),
            earlier=self._earlier(step),
            planned_looks=self._looks_of_the_run(),
            guess=self._guess_baseline() if main else None,
        )
        if step == 0:
            summary["schedule"] = self.schedule
        if main:
            # boundary.jsonl last: its row says that everything else of this probe is on disk.
            self.run_dir.append_jsonl(self.run_dir.probes, rows)
            self.run_dir.append_jsonl(self.run_dir.boundary, [summary])
            for listener in self.listeners:
                listener(summary, rows)
        return summary

    def _base_probe(
        self, entry: Baseline, run: Callable[[str, Path], ProbeResult], samples: Path, main: bool, world: Any, name: str
    ) -> dict[str, Any]:
        """Step 0 from the baseline store, measured now if this base was never measured this way."""
        with entry.locked() if main else nullcontext():
            (stored,) = world.gather([entry.load()] if main else [])
            if stored is None:
                stored = _stored_form(run("base", entry.samples)) | {"model": name}
                if main:
                    entry.save(stored)
            elif main:
                logger.warning("base probe: measured before, taken from %s", entry.folder)
            if main:
                entry.copy_samples(samples)
        return stored

    def _token_share(self, step: int, tokens: int, *, with_base: bool) -> float | None:
        """Probe tokens up to this probe over all tokens generated; None where the training's are not known."""
        if self.generated_tokens is None:
            return None
        now = [{"step": step, "tokens": tokens}]
        probed = sum(row["tokens"] for row in [*self._boundary_rows(), *now] if with_base or row["step"] > 0)
        generated = probed + self.generated_tokens()
        return probed / generated if generated else 0.0

    def _boundary_rows(self) -> list[dict[str, Any]]:
        return self.run_dir.read_jsonl(self.run_dir.boundary)

    def _stored_base(self) -> Measurement:
        rows = [row for row in self.run_dir.read_jsonl(self.run_dir.probes) if row["step"] == 0]
        exact = [row["exact_p"] for row in rows]
        return Measurement(
            counts=[_counts(row) for row in rows],
            plan=self.base_plan,
            exact_p=None if None in exact else np.array(exact),
        )

    def _earlier(self, step: int) -> dict[int, Measurement]:
        """Finished probes between the base and `step`, oldest first. Read from disk: a resumed run has them too."""
        steps = sorted({row["step"] for row in self._boundary_rows() if 0 < row["step"] < step})
        counts: dict[int, list[Counts]] = {each: [] for each in steps}
        for row in self.run_dir.read_jsonl(self.run_dir.probes) if steps else ():
            if row["step"] in counts:
                counts[row["step"]].append(_counts(row))
        return {each: Measurement(counts[each], self.plan) for each in steps}

    def _guess_baseline(self) -> GuessBaseline | None:
        """From the base's samples, which only the main process keeps; read once per process."""
        if not self._guess_read:
            # Of all problems of the base, also where a subset of them is probed: more donors of wrong answers.
            self._guess = baseline_of_samples(
                read_samples(self.run_dir.samples(0)), {p.id: p.gold for p in self._all_problems},
                {p.id: self.answer_keys[p.verifier] for p in self._all_problems if p.verifier in self.answer_keys},
            )
            self._guess_read = True
        return self._guess

    def _looks_of_the_run(self) -> int | None:
        """What the first verdict of this run was planned with: to change it later would change the error spent."""
        for row in self._boundary_rows():
            if row.get("sequential"):  # rows of runs that began before verdicts were kept have none
                return row["sequential"]["planned_looks"]
        return self.planned_looks


@contextmanager
def rng_restored() -> Iterator[None]:
    """Leaves every global random state as it was found."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def _versions(problems: Sequence[Problem]) -> dict[str, str]:
    """Version of every verifier that the problems name. A judge of the caller's own may know names that the registry
    does not: they are named as they are, "unversioned"."""
    found = {}
    for name in sorted({problem.verifier for problem in problems} - {""}):
        try:
            found[name] = resolve("verifiers", name).version
        except UserError:
            found[name] = "unversioned"
    return found


def _name(model: Any) -> str:
    """Where the model was loaded from, as far as it says."""
    return str(getattr(getattr(model, "config", None), "_name_or_path", ""))


def all_processes() -> DistributedWorld:
    """Those of `torch.distributed`, or this one alone."""
    if not torch.distributed.is_initialized():
        return DistributedWorld(0, 1)
    return DistributedWorld(torch.distributed.get_rank(), torch.distributed.get_world_size())


def _problems_hash(model: Any, tokenizer: Any, problems: Sequence[Problem]) -> str:
    """Of what the model reads (prompt token ids, pictures, stop ids) and what the verifier reads."""
    parts = [
        [p.id, prompt_fingerprint(tokenizer, p), p.gold, p.verifier,
         json.dumps(dict(p.extra), sort_keys=True, default=str)]
        for p in problems
    ]
    return sha256(json.dumps([eos_ids(model, tokenizer), parts]).encode()).hexdigest()


def _stored_form(result: ProbeResult) -> dict[str, Any]:
    return {"samples": result.samples, "tokens": result.tokens, "seconds": result.seconds,
            "problems": [r.row() for r in result.problems]}


def _counts(row: dict[str, Any]) -> Counts:
    return Counts(problem_id=row["problem_id"], n=row["n"], c=row["c"], c_first=row["c_first"])


def _named(plan: str | SamplingPlan) -> tuple[str, SamplingPlan]:
    if isinstance(plan, str):
        return plan, PLANS[plan]
    for name, known in PLANS.items():
        if plan == known:
            return name, plan
    return f"checkpoints={list(plan.checkpoints)} stop_at={list(plan.stop_at)}", plan
