"""Probes that stand alone: models and runs without a training, and completions that were drawn elsewhere."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.cli.main import main
from rlvr.cli.probe_request import probe_request
from rlvr.config.recipe import load_recipe, resolved
from rlvr.data.completions import read_completions, read_texts
from rlvr.lab.countdown import derivations, problems
from rlvr.lab.model import load_lab_model
from rlvr.probes import engines
from rlvr.probes import offline as offline_probe
from rlvr.probes.callback import BoundaryProbeCallback
from rlvr.report.load import load_run
from rlvr.report.summary import summary_table
from rlvr.rewards.countdown import CountdownVerifier
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import Journal, read_samples
from rlvr.runs.step_names import step_of
from rlvr.training.progress_line import ProgressLine
from rlvr.types import Problem, UserError
from tests.cli.test_bad_input import failure
from tests.support.arm_runs import write_run
from tests.support.small_run import RECIPE, rows

FOREIGN = Path(__file__).parents[1] / "files/foreign"
LAB = ("--data", "lab", "data.probe.split=test", "data.probe.size=3")
IDS = [f"countdown/test/{i}" for i in range(3)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLVR_CACHE", str(tmp_path / "cache"))


# ---------------------------------------------------------------- completions drawn elsewhere


def completion(problem: int, sample: int, right: bool, **more: Any) -> dict[str, Any]:
    asked = problems("test", 3)[problem]
    text = derivations(asked.extra["numbers"], int(asked.gold), 99)[0] if right else "1 + 1 = 2"
    return {"problem_id": asked.id, "sample": sample, "text": text, **more}


def with_counts(counts: Sequence[int], n: int = 4, **more: Any) -> list[dict[str, Any]]:
    """n completions per problem, the first `counts[i]` of problem i right."""
    return [completion(i, j, j < c, **more) for i, c in enumerate(counts) for j in range(n)]


def write(path: Path, lines: Sequence[dict[str, Any] | str]) -> str:
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
    return str(path)


def boundary(folder: Path) -> list[dict[str, Any]]:
    return rows(RunDir(folder).boundary)


def test_completions_of_base_and_model_become_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = write(tmp_path / "c.jsonl", list(reversed(with_counts([1, 4, 0]))))  # in any order
    base = write(tmp_path / "b.jsonl", with_counts([2, 4, 1], tokens=7))
    assert main(["probe", "--from", samples, "--base", base, *LAB, "-o", str(tmp_path / "out")]) == 0
    before, after = boundary(tmp_path / "out")
    assert (before["step"], before["kind"], after["step"], after["kind"]) == (0, "base", 1, "probe")
    value = {k.removeprefix("boundary/"): v["value"] for k, v in after["estimates"].items()}
    # pass@1 = (1/4 + 1 + 0)/3; pass@2 of 1 in 4: 1 - C(3,2)/C(4,2) = 1/2; base pass@4 = 1
    assert value["pass@1"] == pytest.approx(1.25 / 3) and value["pass@2"] == pytest.approx(0.5)
    assert value["pass@4"] == pytest.approx(2 / 3) and "pass@8" not in value
    assert value["delta_se"] == pytest.approx(1 - 1.25 / 3) and value["shrinkage@4"] == pytest.approx(1 / 3)
    # Problem 2 was solved once in 4 tries and not in 4 more: as likely bad luck as not, so it is not called lost.
    assert after["ledger"]["unsolved_now"] == 1 and after["lost"] == [] == after["gained"]
    assert after["decoding"] is None and before["plan"] == "checkpoints=[4] stop_at=[]"
    assert (before["tokens"], after["tokens"]) == (84, None)  # 12 completions of 7 tokens; not counted
    assert value["length"] is None and before["estimates"]["boundary/length"]["value"] == 7
    assert not (tmp_path / "cache").exists()
    out = capsys.readouterr().out
    assert "From the base to c.jsonl pass@1" in out and (tmp_path / "out" / "report.html").is_file()


def test_the_samples_of_a_run_are_completions_as_well(tmp_path: Path) -> None:
    """Bug: two readers of one format, each of which knows half of its files."""
    journal, given = Journal(tmp_path / "step-000000.jsonl.gz", {}), with_counts([1, 4, 0])
    journal.append(given)
    problems = [Problem(name, "p", "1", "countdown") for name in IDS]
    (sampler,) = read_completions(journal.path, problems, default_step=0).values()
    assert sampler.size == 12 and sampler.fixed_plan().first_round == 4
    assert read_texts(journal.path) == [(row["problem_id"], row["text"]) for row in given]
    broken = tmp_path / "x.jsonl.gz"
    broken.write_bytes(b"no gzip")
    with pytest.raises(UserError, match="found no rows"):
        read_texts(broken)


def test_steps_in_one_file_truncation_and_decoding(tmp_path: Path) -> None:
    lines = [
        *with_counts([2, 2, 2], step=0), *with_counts([4, 4, 4], step=20), *with_counts([4, 4, 1], step=10),
    ]
    lines[12 + 3]["truncated"] = True  # a right answer of step 20 that was cut
    given = ["probes.temperature=0.8", "probes.top_p=1", "probes.max_new_tokens=99"]
    arguments = ["--from", write(tmp_path / "c.jsonl", lines), *LAB, *given, "-o", str(tmp_path / "out")]
    assert main(["probe", *arguments]) == 0
    assert [(r["step"], r["lost"]) for r in boundary(tmp_path / "out")] == [(0, []), (10, []), (20, [])]
    counts = {(r["step"], r["problem_id"]): r["c"] for r in rows(RunDir(tmp_path / "out").probes)}
    assert counts[10, IDS[2]] == 1 and counts[20, IDS[0]] == 3 and counts[20, IDS[1]] == 4
    assert boundary(tmp_path / "out")[0]["decoding"] == {"temperature": 0.8, "top_p": 1.0, "max_new_tokens": 99}
    assert [r["sequential"]["planned_looks"] for r in boundary(tmp_path / "out")[1:]] == [2, 2]
    first = RunDir(tmp_path / "out").boundary.read_bytes()
    assert main(["probe", *arguments, "--resume"]) == 0  # all done: nothing changes
    assert RunDir(tmp_path / "out").boundary.read_bytes() == first


def test_resuming_with_other_completions_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = write(tmp_path / "c.jsonl", with_counts([1, 4, 0]))
    arguments = ["--from", samples, *LAB, "-o", str(tmp_path / "out")]
    assert main(["probe", *arguments]) == 0
    write(tmp_path / "c.jsonl", with_counts([1, 4, 1]))
    capsys.readouterr()
    assert "completions.0: the run in" in failure(capsys, "probe", *arguments, "--resume")
    assert "--resume" in failure(capsys, "probe", *arguments)


def test_guesses_are_recognised_in_another_spelling(tmp_path: Path) -> None:
    """b answers 0.5 in 2 of 4 wrong samples, which would be right for a: g = 1/2, and b's own rate is 0."""
    data = write(tmp_path / "data.jsonl", [{"id": "a", "problem": "?", "answer": "1/2"},
                                           {"id": "b", "problem": "?", "answer": r"\frac{1}{4}"}])
    said = {"a": ["9"] * 4, "b": ["0.5", r"\dfrac{1}{2}", "3", "8"]}
    lines = [{"problem_id": i, "sample": j, "text": rf"\boxed{{{text}}}"}
             for i, texts in said.items() for j, text in enumerate(texts)]
    samples = write(tmp_path / "c.jsonl", lines)
    assert main(["probe", "--from", samples, "--data", data, "data.probe.id=id", "-o", str(tmp_path / "out")]) == 0
    (row,) = boundary(tmp_path / "out")
    assert row["guess"]["1"]["baseline"] == pytest.approx((0.5 + 0.0) / 2) and row["guess"]["2"]["guessable"] == 1


def test_a_sequential_plan_explains_unequal_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # cheap: 8, 16, 32 samples, each time stop at 2 right; then 64, 128, stop at 1; then 256
    lines = [completion(0, j, j < 2) for j in range(8)] + [completion(1, j, j in (0, 15)) for j in range(16)]
    lines += [completion(2, j, j == 9) for j in range(70)]
    samples = write(tmp_path / "c.jsonl", lines)
    assert main(["probe", "--from", samples, *LAB, "-o", str(tmp_path / "even")]) == 0  # the first 8 of each
    assert "'countdown/test/0' has 8 completions, 'countdown/test/2' has 70" in capsys.readouterr().err
    assert [(r["n"], r["c"]) for r in rows(RunDir(tmp_path / "even").probes)] == [(8, 2), (8, 1), (8, 0)]
    assert main(["probe", "--from", samples, *LAB, "--plan", "cheap", "-o", str(tmp_path / "out")]) == 0
    assert [(r["n"], r["c"]) for r in rows(RunDir(tmp_path / "out").probes)] == [(8, 2), (16, 2), (64, 1)]
    assert boundary(tmp_path / "out")[0]["plan"] == "cheap"
    assert "plan 'cheap' needs 88 of 94 completions" in capsys.readouterr().err
    line = failure(capsys, "probe", "--from", samples, *LAB, "--plan", "balanced", "-o", str(tmp_path / "other"))
    assert "c.jsonl" in line and "the plan asks for more" in line and not (tmp_path / "other").exists()


GOOD = with_counts([1, 4, 0])


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ([*GOOD, GOOD[1]], [":13:", "sample 1 of problem 'countdown/test/0' again", "c.jsonl:2"]),
        ([*GOOD, GOOD[0] | {"problem_id": "countdown/test/7"}], [":13:", "'countdown/test/7' is not in the data"]),
        ([*GOOD, {"problem_id": IDS[0], "sample": 4}], [":13:", "no field 'text'"]),
        ([*GOOD, "{broken"], [":13:", "not JSON"]),
        ([GOOD[0], "[1]"], [":2:", "expected one JSON object"]),
        ([GOOD[0] | {"sample": "0"}], [":1:", "sample is '0'", "whole number"]),
        ([GOOD[0] | {"text": None}], [":1:", "text is NoneType"]),
        ([GOOD[0] | {"truncated": 1}], [":1:", "truncated is 1", "true or false"]),
        ([GOOD[0] | {"tokens": -1}], [":1:", "tokens is -1"]),
        ([GOOD[0] | {"tokens": 10**400}], [":1:", "tokens is a number of more than 20 digits", "at most 1,000,000"]),
        ([GOOD[0] | {"truncted": True}], [":1:", "'truncted'", "'truncated'"]),
        ([GOOD[0], GOOD[1] | {"step": 3}], [":2:", "a step, unlike", "c.jsonl:1"]),
        (GOOD[:8], ["no completions of 1 of 3 problems", IDS[2]]),
        ([*GOOD[:2], *GOOD[3:]], [IDS[0], "sample 2 is not among them", "biases"]),
        ([row | {"step": 9} for row in GOOD], ["step 9", "--base"]),
        ([GOOD[0] | {"correct": 1}], [":1:", "correct is 1", "true, false or null"]),
        ([], ["no rows"]),
    ],
)
def test_mistakes_in_a_file_of_completions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[dict[str, Any] | str], parts: list[str]
) -> None:
    samples = write(tmp_path / "c.jsonl", lines)
    line = failure(capsys, "probe", "--from", samples, *LAB, "-o", str(tmp_path / "out"))
    for part in ["c.jsonl", *parts]:
        assert part in line, line
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["lab"], ["no recipe and no --data"]),
        ([*LAB], ["no model to probe"]),
        (["lab", *LAB, "--plan", "balance"], ["probes.plan", "'balance'", "'balanced'"]),
        (["lab", *LAB, "--verifier", "mats"], ["mats", "math"]),
        (["lab", *LAB, "train.steps=3"], ["train", "unknown key"]),
        (["lab", "--data", "lab"], ["data.probe.size", "not set"]),
        (["lab", "--data", "none.jsonl"], ["none.jsonl"]),
        (["lab", "./no_model", *LAB], ["./no_model"]),
        (["lab", "a/checkpoint-2", "b/checkpoint-2", *LAB], ["both step 2"]),
        (["lab", "a/checkpoint-2", "b/final", *LAB], ["b/final", "no training step"]),
        (["lab", "a/checkpoint-0", *LAB], ["step 0 is the base's"]),
        (["lab", "recipes/quickstart/lab_grpo.yaml", "--data", "lab"], ["lab_grpo.yaml", "--data lab", "remove one"]),
        (["lab", "--from", "c.jsonl", *LAB], ["'lab' beside --from"]),
        (["--from", "none.jsonl", *LAB], ["none.jsonl", "no such file"]),
        (["--from", str(FOREIGN / "trl_1.parquet"), str(FOREIGN / "trl_2.parquet"), *LAB],
         ["--from: found a second file, ", "trl_2.parquet", "the folder that holds them all"]),
    ],
)
def test_mistakes_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], parts: list[str]
) -> None:
    line = failure(capsys, "probe", *arguments, "-o", str(tmp_path / "out"))
    for part in parts:
        assert part in line, line
    assert not (tmp_path / "out").exists()


def test_steps_come_from_the_names_of_checkpoints() -> None:
    names = ["runs/a/checkpoints/checkpoint-60", "verl/global_step_60/actor/huggingface", "me/model-step60", "ckpt_60"]
    assert [step_of(name) for name in names] == [60] * 4
    assert [step_of(name) for name in ("lab", "Qwen/Qwen2.5-7B", "meta/Llama-3-8", "runs/60")] == [None] * 4
    request = probe_request(["base/model", "b/x", "a/y", *LAB[2:]], data="lab")
    assert request.recipe.model is not None and request.recipe.model.path == "base/model"
    assert request.models == {1: "b/x", 2: "a/y"}
    assert probe_request(["b/step-9", "a/step-7", "lab", *LAB[2:]], data="lab", base="lab").models == {
        7: "a/step-7", 9: "b/step-9"}


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run that saved checkpoints of steps 2 and 4: the base with a little noise; the one of step 6 is torn."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    run = RunDir(tmp_path / "run")
    settings = ["data.probe.size=3", "probes.plan=cheap", "probes.base_plan=cheap"]
    run.write_recipe(resolved(load_recipe(tmp_path / "recipe.yaml", settings)))
    for step in (2, 4, 6):
        model, tokenizer = load_lab_model("lab")
        with torch.no_grad():
            model.lm_head.weight += 0.02 * step * torch.randn(model.lm_head.weight.shape,
                                                             generator=torch.Generator().manual_seed(step))
        model.save_pretrained(run.checkpoint(step))
        tokenizer.save_pretrained(run.checkpoint(step))
        if step < 6:
            run.mark_complete(run.checkpoint(step))
    return run.path


def test_all_checkpoints_of_a_run_by_its_own_recipe(finished: Path, tmp_path: Path) -> None:
    assert main(["probe", str(finished), "-o", str(tmp_path / "out")]) == 0
    assert [(r["step"], r["kind"]) for r in boundary(tmp_path / "out")] == [(0, "base"), (2, "probe"), (4, "probe")]
    recipe = str(tmp_path / "recipe.yaml")
    one = ["probe", str(finished / "checkpoints" / "checkpoint-4"), recipe, "data.probe.size=3", "probes.plan=cheap",
           "probes.base_plan=cheap", "-o", str(tmp_path / "one")]
    assert main(one) == 0
    whole, alone = (
        [r for r in rows(RunDir(tmp_path / name).probes) if r["step"] != 2] for name in ("out", "one")
    )
    assert whole == alone and {r["step"] for r in alone} == {0, 4}
    assert load_run(tmp_path / "out").probed == load_run(tmp_path / "one").probed == one[1]
    assert boundary(tmp_path / "out")[2]["exact"] is not None
    # The verdicts hold over the checkpoints that were named: two, and one.
    planned = [[r["sequential"]["planned_looks"] for r in boundary(tmp_path / n)[1:]] for n in ("out", "one")]
    assert planned == [[2, 2], [1]]


def test_a_killed_probe_of_several_models_resumes(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["probe", str(finished), "-o", str(tmp_path / "whole")]) == 0
    real, loaded = engines.model_of, []

    def load(spec: Any, path: str) -> Any:
        loaded.append(Path(path).name)
        if loaded == ["lab", "checkpoint-2", "checkpoint-4"]:
            raise KeyboardInterrupt
        return real(spec, path)

    monkeypatch.setattr(engines, "model_of", load)
    assert main(["probe", str(finished), "-o", str(tmp_path / "out")]) == 130
    assert [r["step"] for r in boundary(tmp_path / "out")] == [0, 2]
    assert main(["probe", str(finished), "-o", str(tmp_path / "out"), "--resume"]) == 0
    assert loaded[3:] == ["checkpoint-4"]
    assert (tmp_path / "out" / "probes.jsonl").read_bytes() == (tmp_path / "whole" / "probes.jsonl").read_bytes()
    resumed, whole = ([r["estimates"] for r in boundary(tmp_path / name)] for name in ("out", "whole"))
    assert resumed == whole


def test_no_recipe_is_needed(tmp_path: Path) -> None:
    asked = problems("test", 3)
    data = write(tmp_path / "data.jsonl", [{"q": p.prompt, "a": p.gold, "name": p.id, **p.extra} for p in asked])
    settings = ["data.probe.prompt=q", "data.probe.gold=a", "data.probe.id=name", "probes.max_new_tokens=18",
                "data.probe.extra=[numbers, max_value]", "probes.temperature=1", "probes.top_p=1"]
    lab = ["probe", "lab", *LAB, "--plan", "cheap", *settings[3:4], *settings[5:]]
    assert main([*lab, "-o", str(tmp_path / "lab")]) == 0
    assert main(["probe", "lab", "--data", data, "--plan", "cheap", "--verifier", "countdown", *settings,
                 "-o", str(tmp_path / "file")]) == 0
    by_lab, by_file = (rows(RunDir(tmp_path / name).probes) for name in ("lab", "file"))
    assert [r | {"exact_p": None} for r in by_lab] == by_file and by_lab[0]["exact_p"] is not None
    (row,) = boundary(tmp_path / "file")
    assert row["plan"] == "cheap" and row["kind"] == "base"


def test_a_model_without_a_recipe_names_the_way_out() -> None:
    with pytest.raises(UserError, match=r"--data with a \.jsonl"):
        probe_request(["some/model"])


# ---------------------------------------------------------------- what a newcomer was told


def test_ks_that_were_asked_for_and_that_the_completions_do_not_reach_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: k = 128 of 64 completions was dropped without a word, and the headline compared pass@1 with itself."""
    samples = write(tmp_path / "c.jsonl", with_counts([1, 4, 0]))
    base = write(tmp_path / "b.jsonl", with_counts([1, 1, 1]))
    line = failure(capsys, "probe", "--from", samples, "--base", base, *LAB, "probes.ks=[1,8]", "-o",
                   str(tmp_path / "out"))
    assert "probes.ks: found k = 8, expected at most 4" in line and not (tmp_path / "out").exists()


def test_an_error_does_not_share_its_line_with_the_progress(capsys: pytest.CaptureFixture[str]) -> None:
    line = offline_probe.ProgressLine()
    show = line.of({0: "base"})
    with pytest.raises(UserError), line:
        show(0, 1, 3, 12)
        raise UserError("x")
    with line:
        pass
    assert capsys.readouterr().err == "\rbase: 1/3 problems, 12 samples\n"


def test_a_budget_that_does_not_apply_is_said(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)
    request = probe_request(["lab", str(tmp_path / "r.yaml")])
    recipe = dataclasses.replace(request.recipe, probes=dataclasses.replace(request.recipe.probes, budget=0.1))
    chosen = dataclasses.replace(request, recipe=recipe, schedule={"problems": 32, "plan": "cheap"})
    assert offline_probe._budget_note(chosen, 128) == (
        "probes.budget does not apply here: 128 problems, plan balanced; the run probed 32 by plan cheap\n")


@pytest.mark.parametrize(("model", "says"), [
    ("runs/nope", "runs/nope: no such path"),
    ("runs/a/checkpoints/checkpoint-99", "no such path; complete checkpoints in runs/a/checkpoints: checkpoint-5"),
    ("./nope", "no such path"),
])
def test_a_path_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, says: str
) -> None:
    """Bug: "found no recipe and no --data", and the hub's words about repo ids."""
    monkeypatch.chdir(tmp_path)
    run = RunDir.create("runs/a")
    run.write_recipe({"name": "a"})
    run.checkpoint(5).mkdir(parents=True)
    run.mark_complete(run.checkpoint(5))
    with pytest.raises(UserError) as caught:
        probe_request([model])
    assert says in str(caught.value)
    with pytest.raises(UserError, match="found no recipe and no --data"):
        probe_request(["someone/on-the-hub"])


def test_a_callback_names_the_graders_of_its_problems(tmp_path: Path) -> None:
    """Bug: runs of plain trainers had no grader in boundary.jsonl, and shared bases over versions of it."""
    asked = [*problems("test", 1), Problem("x", "?", "1", "of-my-own"), Problem("y", "?", "1", "")]
    nobody: Any = None
    callback = BoundaryProbeCallback(asked, judge=nobody, run_dir=tmp_path, every=1)
    assert callback.prober.versions == {"countdown": CountdownVerifier.version, "of-my-own": "unversioned"}
    assert BoundaryProbeCallback(asked, judge=nobody, run_dir=tmp_path, every=1, versions={}).prober.versions == {}


def test_the_terminal_shows_arms_and_how_was_measured(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "grpo", 0, {4: (2, 1, 0, 1)})
    alone = summary_table(tmp_path / "run")
    assert "Measured at temperature 1, top_p 1, at most 18 tokens; 4 problems;" in alone
    assert "16 samples (4 completions of each problem)" in " ".join(alone.split())
    assert "graded by countdown/1." in alone and "condition" not in alone
    write_run(tmp_path / "run" / "arms" / "hot", "grpo", 0, {4: (3, 1, 1, 1)}, arm={"name": "hot", "temperature": 1.2})
    head, _, probed, hot = summary_table(tmp_path / "run").rstrip().splitlines()[-4:]
    assert probed.startswith("as probed") and hot.startswith("hot") and "50.0 -> 50.0" in hot
    assert head.index("pass@4") == hot.rindex("50.0 -> 50.0")  # columns stay under their heads


def test_progress_names_the_arm() -> None:
    progress = ProgressLine()
    progress.on_probe_progress(0, 54, 64, 2048, what="arm hot")
    assert progress.shown["probe"] == "arm hot: 54/64 problems, 2,048 samples"
    progress.on_probe_progress(0, 1, 2, 8)
    assert progress.shown["probe"] == "1/2 problems, 8 samples"


def test_sampling_plans_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "balanced"]) == 0
    out = capsys.readouterr().out
    assert "after  12 samples: stops with at least 5 right" in out and "k is at most 256" in out
    assert main(["list", "fixed"]) == 0
    assert out.count("  48 ") and "  256  if problems are hard" in capsys.readouterr().out


def test_a_full_disk_is_one_line_and_the_probe_goes_on_when_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: a traceback of shutil."""
    words = ["lab", *LAB, "--plan", "cheap", "probes.max_new_tokens=18", "judge.workers=1", "-o", str(tmp_path / "out")]
    real = shutil.copyfile

    def copyfile(source: Any, to: Any, **_: Any) -> Any:
        real(source, to)
        os.truncate(to, 100)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source), None, str(to))

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", copyfile)
        assert main(["probe", *words]) == 2
    line = capsys.readouterr().err.splitlines()[-1]  # the first are the progress
    assert "step-000000.jsonl.gz: no space left on the device; nothing written before is lost: free some space" in line
    assert main(["probe", *words, "--resume"]) == 0
    (base,) = load_run(tmp_path / "out").probes
    assert base.samples == sum(1 for _ in read_samples(RunDir(tmp_path / "out").samples(0)))
