"""A run whose probes keep to a budget: chosen once, recorded, the same after a kill and on every rank."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from transformers import TrainerState

from rlvr.cli.main import main
from rlvr.config.recipe import load_recipe
from rlvr.interfaces import SampleRequest
from rlvr.probes import prober as module
from rlvr.probes.baseline import newest_probe
from rlvr.probes.budget_checks import budget_lines, budget_of, check_budget
from rlvr.probes.callback import BoundaryProbeCallback
from rlvr.probes.prober import Prober
from rlvr.probes.world import all_processes
from rlvr.report.comparison.arms import load_arms
from rlvr.report.load import load_run
from rlvr.report.page import write_report
from rlvr.report.summary import summary_table
from rlvr.statistics.boundary_row import Measurement, boundary_row
from rlvr.statistics.plan import PLANS
from rlvr.statistics.schedule import Budget, choose, in_words, stratified
from rlvr.types import Completion, Counts, Decoding, Problem, UserError
from tests.probes.test_engine import FakeJudge, Threads
from tests.support.small_run import rows, write_recipe
from tests.support.tiny import tiny_model

STEPS = 8
PROBLEMS = [Problem(id=f"p{i:02d}", prompt="3 5", gold="1", verifier="fake") for i in range(80)]
NOTHING = cast(Any, None)
TOKENS = 10


class Sampler:
    """Solves problem i with chance (i + 1) / 160; once trained the ten hardest half as often, the others twice."""

    def sample(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> list[Completion]:
        found = []
        for request in requests:
            place = int(request.problem.id[1:])
            p = (place + 1) / 160 * (1.0 if stream == "base" else 0.5 if place < 10 else 2.0)
            drawn = Random(f"{seed}/{stream}/{request.problem.id}/{request.sample}").random()
            found.append(Completion(request.problem.id, request.sample, "1" if drawn < p else "0", TOKENS, False, 0.1))
        return found


class Tokenizer:
    eos_token_id = 1

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [len(text)]}


def run(folder: Path, budget: Budget | None, *, until: int = STEPS, start: int = 0, seed: int = 0,
        sampler: Any = Sampler, world: Any = all_processes, **settings: Any) -> Prober:
    """The events of a training of 8 steps that generates 100,000 tokens, from step `start` to `until`."""
    folder.mkdir(parents=True, exist_ok=True)
    now = [start]
    probes = BoundaryProbeCallback(
        PROBLEMS, judge=FakeJudge(), run_dir=folder, every=2, seed=seed, batch_size=512, sampler=sampler,
        baselines=folder.parent / "baselines", versions={"fake": "1"}, ks=(1, 16, 64, 256), budget=budget,
        generated_tokens=lambda: 12_500 * now[0], decoding=Decoding(1.0, 1.0, 20), **settings,
    )
    probes.prober.world = world
    state = TrainerState(max_steps=STEPS, global_step=start)
    live = {"model": tiny_model(), "processing_class": cast(Any, Tokenizer())}
    probes.on_train_begin(NOTHING, state, NOTHING, **live)
    for step in range(start + 1, until + 1):
        state.global_step = now[0] = step
        probes.on_step_end(NOTHING, state, NOTHING, **live)
    return probes.prober


def budget(share: float = 0.11, rollouts: int = 10_000) -> Budget:
    return Budget(share, STEPS, rollouts, 20)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run(folder, budget())
    yield folder


def base_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of the base's probe, as the store holds them."""
    stored = newest_probe(folder.parent / "baselines", "tiny", [p.id for p in PROBLEMS], verifiers={"fake": "1"})
    assert stored is not None
    return stored["problems"]


def test_the_schedule_is_chosen_from_the_base_and_recorded(whole: Path) -> None:
    boundary = rows(whole / "boundary.jsonl")
    chosen = choose(budget(), base_rows(whole), every=2, name="balanced", plan=PLANS["balanced"], largest_k=256)
    assert boundary[0]["schedule"] == {
        "budget": 0.11, "every": chosen.every, "plan": chosen.plan, "problems": chosen.problems, "of": 80,
        "cost": chosen.cost, "share": chosen.share, "most": chosen.most,
    }
    assert (chosen.every, chosen.plan, chosen.problems) == (8, "cheap", 40)  # the full ladder is walked down
    assert [row["step"] for row in boundary] == [0, 8]
    assert [row["problems"] for row in boundary] == [40, 40] and boundary[1]["plan"] == "cheap"
    assert boundary[1]["sequential"]["planned_looks"] == 1
    assert boundary[0]["samples"] == sum(row["n"] for row in base_rows(whole))  # what was drawn, for all problems


def test_every_number_is_of_the_subset_paired_with_its_base(whole: Path) -> None:
    kept = {step: [r for r in rows(whole / "probes.jsonl") if r["step"] == step] for step in (0, 8)}
    ids = [row["problem_id"] for row in kept[0]]
    assert ids == [row["problem_id"] for row in kept[8]] == stratified(
        [Counts(r["problem_id"], r["n"], r["c"]) for r in base_rows(whole)], 40, header(whole, 0)["problems"])
    by_id = {row["problem_id"]: row for row in base_rows(whole)}
    assert [{"step": 0, **by_id[i], "exact_p": None} for i in ids] == kept[0]
    base, now = (Measurement([Counts(r["problem_id"], r["n"], r["c"], r["c_first"]) for r in kept[step]], PLANS[plan])
                 for step, plan in ((0, "reference-512"), (8, "cheap")))
    alone = boundary_row(
        step=8, now=now, base=base, problem_rows=kept[8], ks=(1, 16, 64, 256), decoding=None, plan_name="cheap",
        verifier="", samples=1, tokens=1, seconds=0.0, token_share=None, planned_looks=1)
    written = rows(whole / "boundary.jsonl")[1]
    for part in ("estimates", "benchmark", "sequential", "lost", "gained", "ledger", "companions"):
        assert written[part] == alone[part], part
    solved = json.loads(json.dumps(written["companions"]["solvable"]))
    assert solved["both"] + solved["only_base"] + solved["only_run"] + solved["neither"] == pytest.approx(40)


def header(folder: Path, step: int) -> dict[str, Any]:
    import gzip

    with gzip.open(folder / "samples" / f"step-{step:06d}.jsonl.gz", "rt") as file:
        return json.loads(file.readline())["header"]


def test_shares_with_and_without_the_base(whole: Path) -> None:
    base, last = rows(whole / "boundary.jsonl")
    assert (base["token_share"], base["budget_share"]) == (1.0, 0.0)
    assert last["budget_share"] == pytest.approx(last["tokens"] / (last["tokens"] + 100_000), rel=1e-12)
    both = base["tokens"] + last["tokens"]
    assert last["token_share"] == pytest.approx(both / (both + 100_000), rel=1e-12)
    # Problems that got harder cost more than those that got easier save: that is what the reserve is for.
    assert base["schedule"]["share"] < last["budget_share"] < base["schedule"]["most"] < 0.11


@pytest.mark.parametrize(("share", "steps"), [(0.45, [0, 4, 8]), (0.11, [0, 8])])
def test_a_run_that_is_killed_goes_on_by_its_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, steps: list[int]
) -> None:
    run(tmp_path / "whole", budget(share))
    assert [row["step"] for row in rows(tmp_path / "whole" / "boundary.jsonl")] == steps
    shutil.copytree(tmp_path / "baselines", tmp_path / "again" / "baselines")
    run(tmp_path / "again" / "killed", budget(share), until=5)
    # What it would choose now must not matter: the run has begun.
    monkeypatch.setattr(module, "choose", None)
    resumed = run(tmp_path / "again" / "killed", budget(share), start=4)
    assert (resumed.every, resumed.planned_looks) == (steps[1], len(steps) - 1)
    for name in ("probes.jsonl", "boundary.jsonl"):
        a, b = (rows(folder / name) for folder in (tmp_path / "whole", tmp_path / "again" / "killed"))
        assert [r | {"seconds": 0} for r in a] == [r | {"seconds": 0} for r in b]


def test_runs_from_one_base_share_the_subset_whatever_their_seed(whole: Path) -> None:
    run(whole.parent / "seed1", budget(), seed=1)
    ours, others = (rows(folder / "probes.jsonl") for folder in (whole, whole.parent / "seed1"))
    assert [r["problem_id"] for r in ours] == [r["problem_id"] for r in others]
    assert [r for r in ours if r["step"] == 0] == [r for r in others if r["step"] == 0]
    assert [r for r in ours if r["step"] == 8] != [r for r in others if r["step"] == 8]


def test_another_kind_of_sampler_measures_its_own_base(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Engines round differently, so what vLLM drew is no base for what transformers draws."""
    class Engine(Sampler):
        pass

    for name, sampler in (("a", Sampler), ("b", Sampler), ("c", Engine)):
        run(tmp_path / name, None, until=0, sampler=sampler)
        assert len(list((tmp_path / "baselines").glob("*/probe.json"))) == (2 if name == "c" else 1)
        assert ("base probe: measured before" in caplog.text) == (name == "b")
        caplog.clear()


@pytest.mark.parametrize("share", [0.11, 0.02])
def test_all_ranks_keep_to_one_schedule(whole: Path, tmp_path: Path, share: float
                                        ) -> None:
    threads, mine = Threads(2), threading.local()

    def rank(number: int) -> Any:
        mine.world = threads.world(number)
        try:
            return run(tmp_path / "run", budget(share), world=lambda: mine.world)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(rank, range(2))
    if share == 0.02:  # refused on every rank, not on one while the others wait for it
        assert first == second and first.startswith("probes.budget: found 0.02, but a single probe of 32 problems")
        return
    assert first.schedule == second.schedule and first.problems == second.problems
    assert first.planned_looks == second.planned_looks == 1
    assert len(first._guess.rates) == 80  # wrong answers to all problems of the base tell how guessable an answer is
    assert (tmp_path / "run" / "probes.jsonl").read_bytes() == (whole / "probes.jsonl").read_bytes()


def test_without_a_budget_nothing_changes(tmp_path: Path) -> None:
    probes = run(tmp_path / "run", None, until=2)
    first, second = rows(tmp_path / "run" / "boundary.jsonl")
    assert first["schedule"] is None and "schedule" not in second and second["problems"] == 80
    assert (probes.every, probes.planned_looks) == (2, 4)


def add_recipe(folder: Path, seed: int = 0) -> Path:
    (folder / "recipe.json").write_text(json.dumps({"recipe": {
        "name": "x", "algorithm": {"name": "grpo"}, "model": {"path": "tiny"}, "seed": seed}}))
    (folder / "problems.jsonl").write_text("".join(
        json.dumps({"id": p.id, "prompt": p.prompt, "gold": p.gold}) + "\n" for p in PROBLEMS))
    return folder


def test_the_report_sets_the_truth_beside_the_forecast(whole: Path) -> None:
    add_recipe(whole)
    base, last = rows(whole / "boundary.jsonl")
    words = (f"took {100 * last['budget_share']:.1f}% of the tokens generated since (budget 11%, forecast "
             f"{100 * base['schedule']['share']:.1f} to {100 * base['schedule']['most']:.1f}%). With the base's probe, "
             "which all runs from this base share, it is "
             f"{100 * last['token_share']:.1f}%.")
    assert words in " ".join(summary_table(whole).split())
    page = write_report(whole).read_text()
    assert words in page.replace("&#39;", "'") and "every number of this page is of the 40" in page
    exported = (whole / "report.md").read_text()
    assert words in exported and "40 of 80 problems, spread over the base's accuracies (probes.budget)" in exported
    assert in_words(base["schedule"]) == (
        "probes within 11% of the generated tokens: every 8 steps, plan cheap, 40 of 80 problems (spread over the "
        f"base's accuracies); forecast {100 * base['schedule']['share']:.1f} to {base['schedule']['most']:.1%}, the "
        "base's probe left out")
    assert load_run(whole).rows[0].keys() == load_run(whole).rows[8].keys()


def test_runs_by_other_schedules_are_not_compared(whole: Path, tmp_path: Path) -> None:
    first = add_recipe(Path(shutil.copytree(whole, tmp_path / "first")))
    shutil.copytree(whole.parent / "baselines", tmp_path / "baselines")
    run(tmp_path / "same", budget(), seed=1)
    assert load_arms([first, add_recipe(tmp_path / "same", seed=1)]).last_step == 8
    for name, share, says in (("plan", 0.3, "another plan"), ("fewer", 0.09, "another number of problems")):
        run(tmp_path / name, budget(share), seed=1)
        with pytest.raises(UserError, match=f"probes.budget chose {says} .*the same budget and number of rollouts"):
            load_arms([first, add_recipe(tmp_path / name, seed=1)])
    run(tmp_path / "elsewhere" / "run", budget(), seed=1)  # its base is drawn with another seed into another store
    with pytest.raises(UserError, match="chose 40 other problems, because their base was measured twice"):
        load_arms([first, add_recipe(tmp_path / "elsewhere" / "run", seed=1)])


# ---------------------------------------------------------------- before the run


def recipe(tmp_path: Path, *overrides: str) -> Any:
    path, *others = write_recipe(tmp_path)
    return load_recipe(path, [*others, "data.probe.size=40", *overrides])


def store(tmp_path: Path, p: float) -> list[Problem]:
    """A stored base probe of the small recipe: half of the problems always solved, half with c/n = p."""
    from rlvr.data.load import load_problems
    from rlvr.models.loading import source

    problems = load_problems(recipe(tmp_path).data.probe, where="")
    entry = tmp_path / "baselines" / "entry"
    entry.mkdir(parents=True)
    plan = PLANS["reference-512"]
    (entry / "key.json").write_text(json.dumps({
        "weights": "w", "problems": "h", "verifiers": {"countdown": "1"}, "decoding": [1.0, 1.0, 18],
        "plan": [list(plan.checkpoints), list(plan.stop_at)]}))
    counts = [(16, 16) if i % 2 else (512, round(512 * p)) for i in range(40)]
    (entry / "probe.json").write_text(json.dumps({"model": source("lab"), "problems": [
        {"problem_id": problem.id, "n": n, "c": c, "tokens": 17 * n, "length": 17.0}
        for problem, (n, c) in zip(problems, counts, strict=True)]}))
    return problems


def test_check_foretells_by_the_stored_base(tmp_path: Path) -> None:
    problems = store(tmp_path, 0.5)
    known = recipe(tmp_path, "probes.budget=0.5", "train.steps=100")
    found = budget_of(known)
    assert found == Budget(0.5, 100, 6400, 18) and found is not None
    first, second = budget_lines(known, found, problems, 40)
    assert first == ("at most 50% of the generated tokens; not counted: the base's probe (plan reference-512), paid "
                     "once and shared by all runs from this base")
    # 13.5 samples of 17 tokens: 50 probes of 40 problems are 81% of the run, 13 probes 52%, 7 probes 37%.
    balanced = PLANS["balanced"]
    mean = (balanced.expected_samples(16.5 / 17) + balanced.expected_samples(256.5 / 513)) / 2
    cost = 7 * 40 * 17 * mean
    assert second == (f"by the stored probe of this base ({17 * 20 * 528:,} tokens, already paid): every 16 updates (7 "
                      f"in all), plan balanced, all 40 problems, about {cost:,.0f} tokens, "
                      f"{100 * cost / (cost + 6400 * 17):.1f} to {1.35 * cost / (1.35 * cost + 6400 * 17):.1%} of all")


def test_what_is_generated_but_not_trained_on_lowers_the_forecast(tmp_path: Path) -> None:
    """ReMax draws a greedy completion per 8 rollouts. Dynamic sampling trains on mixed groups: those of the unsure
    half of the problems, 1 - 2 / 2^8 of them, and few of the sure ones, so it takes two batches to fill one."""
    problems = store(tmp_path, 0.5)
    for name, times in (("remax", 1.125), ("dapo", 2.0)):
        known = recipe(tmp_path, "probes.budget=0.5", "train.steps=100", f"algorithm.name={name}")
        found = budget_of(known)
        assert found is not None
        line = budget_lines(known, found, problems, 40)[1]
        share = choose(found, cast(Any, json.loads((tmp_path / "baselines/entry/probe.json").read_text()))["problems"],
                       every=2, name="balanced", plan=PLANS["balanced"], largest_k=256).share
        low, high = (part * share / (part * share + times * (1 - share)) for part in (1, 1.35))
        assert line.endswith(f"{100 * low:.1f} to {high:.1%} if {times:.3g} times as much is generated as trained on")
        assert f" tokens, {100 * share:.1f} to " in line


def test_check_assumes_difficulties_without_a_stored_base(tmp_path: Path) -> None:
    known = recipe(tmp_path, "probes.budget=0.1")
    found = budget_of(known)
    assert found is not None
    lines = budget_lines(known, found, [], 40)
    assert "no stored probe of this base yet" in lines[1] and len(lines) == 5
    # 1.35 * 3,948 samples against 256 of the training.
    assert lines[4].endswith("nothing fits, one probe of 32 problems takes up to 95.4% of all")


def test_a_budget_that_cannot_do_is_refused_before_a_model_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, *others = write_recipe(tmp_path)
    arguments = [path, *others, "data.probe.size=40", "probes.budget=0.1"]
    for verb in ("check", "train"):
        assert main([verb, *arguments]) == 2
        # 8 samples of 32 problems against 4 * 64 rollouts.
        assert capsys.readouterr().err == (
            "error: probes.budget: found 0.1, but a single probe of 32 problems already takes up to 50.0% of what this "
            "run generates; raise it to 0.5, train for at least 36 steps, or switch the probes off "
            "(probes.enabled=false)\n")
    assert not (tmp_path / "run").exists()
    problems = store(tmp_path, 0.0)  # half of the problems take 256 samples
    with pytest.raises(UserError, match="a single probe of 32 problems already takes up to 9"):
        check_budget(recipe(tmp_path, "probes.budget=0.6"), problems)
    check_budget(recipe(tmp_path, "probes.budget=0.6"), [])  # nothing is known: nothing to refuse
    check_budget(recipe(tmp_path), problems)


def test_a_probe_without_training_has_no_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, *_ = write_recipe(tmp_path)
    assert main(["probe", "lab", path, "probes.budget=0.1", "-o", str(tmp_path / "out")]) == 2
    assert "`rlvr probe` trains nothing" in capsys.readouterr().err
