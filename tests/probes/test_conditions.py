"""Conditions of a probe (`probes.arms`): decodings against the lab's exact truth, prompts and direct answers by script,
resuming, the report."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlvr.cli.forecast import check
from rlvr.cli.main import main
from rlvr.cli.probe_request import probe_request
from rlvr.config.recipe import load_recipe
from rlvr.data.load import load_problems
from rlvr.interfaces import SampleRequest
from rlvr.lab.countdown import problems
from rlvr.lab.exact import exact_pass_at_k, exact_success
from rlvr.lab.model import load_lab_model
from rlvr.models.sampler import TransformersSampler
from rlvr.probes import conditions, models
from rlvr.probes.conditions import ConditionProber
from rlvr.probes.prober import Prober
from rlvr.report.conditions import findings
from rlvr.report.report import load_report
from rlvr.runs.run_dir import RunDir
from rlvr.types import Completion, Decoding
from tests.cli.test_bad_input import failure
from tests.report.test_page import Page
from tests.support.small_run import file_hash, rows, write_recipe
from tests.support.wandb_offline import read_history

SIZE = 4
LAB = ("--data", "lab", "data.probe.split=test", f"data.probe.size={SIZE}", "probes.temperature=1", "probes.top_p=1",
       "probes.max_new_tokens=18", "probes.batch_size=512", "judge.workers=1", "--plan", "fixed")

ARMS = ("probes.arms.cool.temperature=0.7",
        "probes.arms.even.match_entropy=true")


@pytest.fixture(scope="module", autouse=True)
def fine_search() -> Iterator[None]:
    """There are few problems, so the search needs many samples of each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conditions, "ENTROPY_SAMPLES", 60)
        patch.setattr(conditions, "ENTROPY_TOLERANCE", 0.005)
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLVR_CACHE", str(tmp_path / "cache"))


def sharpened(folder: Path, factor: float) -> str:
    """The lab's base with all scores multiplied: at temperature `factor` it is the base at temperature 1."""
    model, tokenizer = load_lab_model("lab")
    with torch.no_grad():
        model.lm_head.weight *= factor
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def boundary(run: Path, arm: str | None = None) -> dict[int, dict[str, Any]]:
    return {row["step"]: row for row in rows((RunDir(run).arm(arm) if arm else RunDir(run)).boundary)}


def value(row: dict[str, Any], name: str, kind: str = "estimates") -> float:
    found = row[kind][f"boundary/{name}"]
    return found["value"] if kind == "estimates" else found


# ---------------------------------------------------------------- decodings


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base and the base with scores x 1.4, as probed at temperature 1, at 0.7, and at equal entropy."""
    folder = tmp_path_factory.mktemp("arms")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLVR_CACHE", str(folder / "cache"))
        model = sharpened(folder / "checkpoint-9", 1.4)
        assert main(["probe", "lab", model, *LAB, *ARMS, "-o", str(folder / "run")]) == 0
    return folder / "run"


def test_an_arm_is_measured_at_its_own_decoding(probed: Path) -> None:
    """Against the exact truth of both models at temperature 0.7, within four standard errors of 256 samples each."""
    asked = problems("test", SIZE)
    for step, model in ((0, "lab"), (9, probed.parent / "checkpoint-9")):
        p_P = exact_success(*load_lab_model(model), asked, Decoding(0.7, 1.0, 18))
        row = boundary(probed, "cool")[step]
        assert row["decoding"] == {"temperature": 0.7, "top_p": 1.0, "max_new_tokens": 18} and row["plan"] == "fixed"
        for k, exact in exact_pass_at_k(p_P, (1, 256)).items():
            assert value(row, f"pass@{k}", "exact") == pytest.approx(exact)
        error = np.sqrt(np.sum(p_P * (1 - p_P) / 256)) / SIZE
        assert abs(value(row, "pass@1") - p_P.mean()) < 4 * error
    assert boundary(probed)[0]["decoding"]["temperature"] == 1.0
    assert value(boundary(probed)[0], "pass@1", "exact") != value(boundary(probed, "cool")[0], "pass@1", "exact")


def test_equal_entropy_is_the_temperature_that_undoes_sharpening(probed: Path) -> None:
    """At temperature 1.4 the sharpened model is the base: the same entropy, and the same exact pass@k."""
    (match,) = rows(RunDir(probed).arm("even").entropy_matches)
    base, even = boundary(probed, "even")[0], boundary(probed, "even")[9]
    assert match["step"] == 9 and match["outcome"] == "matched" and match["target"] == value(base, "entropy")
    assert match["temperature"] == even["decoding"]["temperature"] == pytest.approx(1.4, abs=0.05)
    assert match["path"][0][0] == 1.0 and match["path"][-1] == [match["temperature"], match["entropy"]]
    assert abs(match["entropy"] - match["target"]) <= 0.005
    # The probe draws its own samples: the entropy that it measures is no artefact of the search.
    assert value(even, "entropy") == pytest.approx(value(base, "entropy"), abs=0.02)
    assert value(boundary(probed)[9], "entropy") < value(base, "entropy") - 0.05  # as probed it is not equal
    p_P = exact_success(*load_lab_model(probed.parent / "checkpoint-9"), problems("test", SIZE),
                        Decoding(match["temperature"], 1.0, 18))
    assert value(even, "pass@16", "exact") == pytest.approx(exact_pass_at_k(p_P, (16,))[16])
    assert value(even, "pass@1", "exact") == pytest.approx(value(base, "pass@1", "exact"), abs=0.01)


def test_the_base_is_drawn_once_for_all_arms_that_share_its_condition(probed: Path) -> None:
    own, even = RunDir(probed), RunDir(probed).arm("even")
    assert file_hash(own.samples(0)) == file_hash(even.samples(0))
    assert len(list((probed.parent / "cache" / "baselines").iterdir())) == 2  # temperature 1, temperature 0.7
    assert file_hash(own.samples(9)) != file_hash(even.samples(9))


def test_entropy_that_cannot_be_reached_is_a_result_and_not_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = sharpened(tmp_path / "checkpoint-9", 4.0)
    arguments = ["probe", "lab", model, *LAB, "data.probe.size=2", "probes.arms.even.match_entropy=true",
                 "-o", str(tmp_path / "run")]
    monkeypatch.setattr(conditions, "HIGHEST_TEMPERATURE", 1.5)
    assert main(arguments) == 0
    (match,) = rows(RunDir(tmp_path / "run").arm("even").entropy_matches)
    assert (match["outcome"], match["temperature"], match["path"][-1][0]) == ("too low", None, 1.5)
    assert list(boundary(tmp_path / "run", "even")) == [0]
    report = load_report(tmp_path / "run")
    assert any("even: no temperature gives the trained model the base's entropy of" in x and "up to temperature 1.5 it "
               "stays below" in x for x in findings(report.run, report.conditions))
    monkeypatch.setattr(ConditionProber, "measure", None)  # nothing is left to measure, nor to search
    monkeypatch.setattr(Prober, "measure", None)
    assert main([*arguments, "--resume"]) == 0


def test_a_sampler_without_entropies_is_refused_at_the_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TransformersSampler.sample

    def sample(self: Any, *arguments: Any, **how: Any) -> list[Completion]:
        return [dataclasses.replace(one, entropy=float("nan")) for one in real(self, *arguments, **how)]

    monkeypatch.setattr(TransformersSampler, "sample", sample)
    assert main(["probe", "lab", *LAB, "data.probe.size=1", "probes.arms.even.match_entropy=true", "-o",
                 str(tmp_path / "run")]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: probes.arms.even.match_entropy: the sampler does not know the entropies")


def test_a_kill_inside_an_arm_resumes_to_the_same_counts(
    probed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["probe", "lab", str(probed.parent / "checkpoint-9"), *LAB, *ARMS, "-o", str(tmp_path / "run")]
    real = ConditionProber._match

    def killed(self: ConditionProber, *rest: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(ConditionProber, "_match", killed)
    assert main(arguments) == 130
    assert list(boundary(tmp_path / "run", "cool")) == [0, 9] and list(boundary(tmp_path / "run", "even")) == [0]
    monkeypatch.setattr(ConditionProber, "_match", real)
    assert main([*arguments, "--resume"]) == 0
    for name in ("cool", "even"):
        killed_arm, whole = RunDir(tmp_path / "run").arm(name), RunDir(probed).arm(name)
        assert killed_arm.probes.read_bytes() == whole.probes.read_bytes(), name
    assert rows(killed_arm.entropy_matches) == rows(whole.entropy_matches)


def test_a_run_that_goes_back_takes_its_arms_along(tmp_path: Path) -> None:
    """A training killed after its last step's arms, before its checkpoint, will write them again."""
    arm = RunDir(tmp_path).arm("even")
    arm.write_recipe({})
    for file in (arm.boundary, arm.probes, arm.entropy_matches):
        arm.append_jsonl(file, [{"step": step, "temperature": None} for step in (0, 4)])
    RunDir(tmp_path).truncate_after(2)
    assert [[r["step"] for r in rows(f)] for f in (arm.boundary, arm.probes, arm.entropy_matches)] == [[0]] * 3


# ---------------------------------------------------------------- prompts and direct answers

GOLDS = ("11", "12", "13", "14")
DIRECT = (0, 3, 12, 13)
"""Right ones of 256 direct answers: guessable are those with 3 and 12, as 13 / 256 is 5.1%."""


class Script:
    """Answers by the words around the question: as probed 1 of 4 right and half in form, with `0` in front 1 of 2 and
    all in form, with `1` in front as `DIRECT` says. A trained model is always in form and right on 3 of 4 samples, but
    never on problem 1."""

    def __init__(self, trained: bool) -> None:
        self.trained = trained

    def sample(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> list[Completion]:
        return [Completion(r.problem.id, r.sample, self.text(r, decoding), 3, False, 0.5) for r in requests]

    def text(self, request: SampleRequest, decoding: Decoding) -> str:
        index, prompt = int(request.problem.id.split("/")[1]), str(request.problem.prompt)
        right, in_form = request.sample % 4 == 0, request.sample % 2 == 0
        if prompt.startswith("1 "):
            assert decoding.max_new_tokens == 4 and not self.trained
            right, in_form = request.sample < DIRECT[index], True
        elif self.trained:
            right, in_form = request.sample % 4 != 0 and index != 1, True
        elif prompt.startswith("0 "):
            right, in_form = request.sample % 2 == 0, True
        answer = request.problem.gold if right else "7"
        return rf"\boxed{{{answer}}}" if in_form else answer


def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arms: str) -> Path:
    (tmp_path / "data.jsonl").write_text("".join(
        json.dumps({"q": f"1{i} + 2 :", "a": gold}) + "\n" for i, gold in enumerate(GOLDS)))
    trained = sharpened(tmp_path / "checkpoint-5", 2.0)

    def sampler_of(model: Any, tokenizer: Any) -> Script:
        return Script(model.lm_head.weight.abs().sum().item() > 1.5 * plain)

    plain = load_lab_model("lab")[0].lm_head.weight.abs().sum().item()
    monkeypatch.setattr(models, "TransformersSampler", sampler_of)
    assert main(["probe", "lab", trained, "--data", str(tmp_path / "data.jsonl"), "data.probe.prompt=q",
                 "data.probe.gold=a", "probes.max_new_tokens=9", "--verifier", "exact_string", "--plan", "fixed",
                 "judge.workers=1", *arms, "-o", str(tmp_path / "run")]) == 0
    return tmp_path / "run"


def test_prompt_arms_say_how_much_of_the_gain_is_the_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scripted(tmp_path, monkeypatch, "probes.arms.better.template=0 {prompt}")
    before, better = boundary(path), boundary(path, "better")
    assert [(value(r, "pass@1"), value(r, "format_rate")) for r in (before[0], before[5], better[0])] == [
        (0.25, 0.5), (0.5625, 1.0), (0.5, 1.0)]
    assert [row["prompt"] for row in rows(RunDir(path).arm("better").problems)][1] == "0 11 + 2 :"
    report = load_report(path)
    said = " ".join(findings(report.run, report.conditions))
    assert "'better' gives the base its highest pass@1, 50.0%. Over that" in said
    assert "gains +6.2 points" in said and "over the base asked as probed, +31.2 points" in said
    page = Page(path / "report.html").visible
    assert "Does decoding or the prompt explain it?" in page and "50.0 → 100.0 25.0 → 56.2" in page
    conditions = (path / "report.md").read_text()
    assert "better: temperature 0.6, top_p 0.95, at most 9 tokens; template '0 {prompt}'" in conditions


def test_direct_answers_take_the_guessable_problems_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems 1 and 2 go; on 0 and 3 the base is right on 25%, the trained model on 75% (on all four: 56%)."""
    path = scripted(tmp_path, monkeypatch,
                    "probes.arms.direct={direct_answer: true, template: '1 {prompt}', max_new_tokens: 4}")
    row = boundary(path, "direct")
    assert list(row) == [0] and row[0]["plan"] == "fixed"  # the base alone
    assert [r["c"] for r in rows(RunDir(path).arm("direct").probes)] == list(DIRECT)
    page = Page(path / "report.html").visible
    assert "the base is right on 2 of 4 problems in more than 0 and fewer than 5% of 256 tries" in page
    assert "Left out: data/1, data/2." in page
    table = {(r["metric"], r["step"]): r for r in csv.DictReader((path / "boundary.csv").open())
             if r["arm"] == "direct"}
    assert [float(table["unguessable pass@1", step]["value"]) for step in ("0", "5")] == [0.25, 0.75]
    assert float(table["unguessable shrinkage@1", "5"]["value"]) == -0.5
    assert table["unguessable pass@1", "0"]["problems"] == "2"
    assert "direct: 2 of 4 problems are guessable" in (path / "report.md").read_text()


def test_a_system_message_and_a_template_reach_the_prompt(tmp_path: Path) -> None:
    data = tmp_path / "d.jsonl"
    data.write_text(json.dumps({"problem": "2 + 3?", "answer": "5"}) + "\n")
    words = ["lab", "data.probe.chat=true", "data.probe.system=Think.", "probes.arms.b.system=Box it.",
             "probes.arms.b.temperature=1.1", "probes.arms.c.template=Q: {prompt}"]
    recipe = probe_request(words, data=str(data)).recipe
    problems = load_problems(recipe.data.probe_set, where="")
    asked = {each.name: each for each in conditions.conditions_of(recipe, problems)}
    assert [dict(m) for m in asked["b"].problems[0].prompt] == [  # pyright: ignore[reportArgumentType, reportCallIssue]
        {"role": "system", "content": "Box it."}, {"role": "user", "content": "2 + 3?"}]
    assert dict(asked["c"].problems[0].prompt[-1])["content"] == "Q: 2 + 3?"  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert (asked["b"].decoding, asked["c"].decoding) == (Decoding(1.1, 0.95, 4096), Decoding(0.6, 0.95, 4096))
    assert asked["b"].problems[0].id == asked["c"].problems[0].id == "d/0"


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arms", "parts"),
    [
        (["probes.arms.hot.temperature=0"], ["probes.arms.hot.temperature", "at least 0.001"]),
        (["probes.arms.hot.temprature=1"], ["probes.arms.hot.temprature", "did you mean 'temperature'"]),
        (["probes.arms.hot={}"], ["probes.arms.hot", "that the probe itself has"]),
        (["probes.arms.hot={temperature: 1.0, plan: fixed, chat: false}"], ["probes.arms.hot", "itself has"]),
        (["probes.arms.hot.top_p=1.5"], ["probes.arms.hot.top_p", "(0, 1]"]),
        (["probes.arms.hot.plan=balance"], ["probes.arms.hot.plan", "'balanced'"]),
        (["probes.arms={../up: {temperature: 1}}"], ["probes.arms.../up", "letters, digits"]),
        (["probes.arms.m={match_entropy: true, direct_answer: true}"], ["m.match_entropy", "direct_answer"]),
        (["probes.arms.m={match_entropy: true, entropy_samples: 8}"], ["entropy_samples: unknown key"]),
        (["probes.arms.b.template=hi {prompt}"], ["probes.arms.b.template", "the lab", "your own"]),
        (["probes.arms.d={direct_answer: true, max_new_tokens: 4}"], ["probes.arms.d.direct_answer", "derivations"]),
    ],
)
def test_mistakes_in_arms_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arms: list[str], parts: list[str]
) -> None:
    line = failure(capsys, "probe", "lab", *LAB, *arms, "-o", str(tmp_path / "out"))
    for part in parts:
        assert part in line, line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arm", "verifier", "parts"),
    [
        ("{direct_answer: true, max_new_tokens: 4}", "math", ["probes.arms.d.template", "without reasoning"]),
        ("{direct_answer: true, template: '1 {prompt}'}", "math", ["max_new_tokens", "no room for reasoning"]),
        ("{direct_answer: true, template: '1 {prompt}', max_new_tokens: 4, plan: balanced}", "math",
         ["probes.arms.d.plan", "biases accuracies"]),
        ("{direct_answer: true, template: '1 {prompt}', max_new_tokens: 4, match_entropy: true}", "math",
         ["match_entropy", "false with direct_answer"]),
        ("{direct_answer: true, template: '1 {prompt}', max_new_tokens: 4}", "countdown",
         ["probes.arms.d.direct_answer", "'countdown'", "derivation"]),
        ("{system: Box it.}", "math", ["probes.arms.d.system", "chat: true"]),
    ],
)
def test_mistakes_in_prompts_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arm: str, verifier: str, parts: list[str]
) -> None:
    asked = problems("test", 1)[0]
    data = tmp_path / "d.jsonl"
    data.write_text(json.dumps({"problem": asked.prompt, "answer": asked.gold, **asked.extra}) + "\n")
    line = failure(capsys, "probe", "lab", "--data", str(data), "--verifier", verifier, "data.probe.extra=[numbers]",
                   f"probes.arms.d={arm}", "-o", str(tmp_path / "out"))
    for part in parts:
        assert part in line, line
    assert not (tmp_path / "out").exists()


def test_a_budget_does_not_cover_arms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_recipe(tmp_path)
    line = failure(capsys, "check", *arguments, "probes.budget=0.1", "probes.arms.hot.temperature=2")
    assert "probes.budget: found 0.1" in line and "null beside probes.arms (hot)" in line


def test_samples_drawn_elsewhere_have_no_arms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hot = "probes.arms.hot.temperature=2"
    drawn = tmp_path / "c.jsonl"
    drawn.write_text('{"problem_id": "1", "sample": 0, "text": "1"}\n')
    line = failure(capsys, "probe", "--from", str(drawn), *LAB, hot, "-o", str(tmp_path / "x"))
    assert "found hot beside --from" in line


# ---------------------------------------------------------------- in a training, and in the forecast


def test_a_training_measures_its_arms_at_both_ends_and_is_not_touched(tmp_path: Path) -> None:
    short = ["train.steps=2", "data.probe.size=2", "probes.plan=cheap", "probes.base_plan=cheap",
             "train.prompts_per_step=4", "train.group_size=4", "data.train.size=8"]
    plain = write_recipe(tmp_path / "plain")
    assert main(["train", *plain, *short, "probes.enabled=false", "tracking.wandb=disabled"]) == 0
    with_arms = write_recipe(tmp_path / "arms")
    assert main(["train", *with_arms, *short, "probes.arms.hot.temperature=1.5"]) == 0
    weights = [tmp_path / name / "run/checkpoints/checkpoint-2/model.safetensors" for name in ("plain", "arms")]
    assert file_hash(weights[0]) == file_hash(weights[1])
    path = tmp_path / "arms" / "run"
    hot = boundary(path, "hot")
    assert list(hot) == [0, 2] and {r["decoding"]["temperature"] for r in hot.values()} == {1.5}
    logged = {r["step"]: r for r in read_history(path) if "arms/hot/pass@1" in r}
    assert {s: r["arms/hot/pass@1"] for s, r in logged.items()} == {s: value(r, "pass@1") for s, r in hot.items()}
    media = next(path.glob("wandb/offline-run-*/files/media/plotly/figures"))
    drawn = {p.name.split("_")[0]: p.read_text() for p in media.iterdir()}
    assert "temperature 1.5, top_p 1, at most 18 tokens; 2 problems; base " in drawn["arm hot"]
    assert "as probed; hot" in drawn["arms change"]
    assert "hot" in Page(path / "report.html").visible
    assert main(["train", *with_arms, *short, "probes.arms.hot.temperature=1.5", "--resume"]) == 0
    assert boundary(path, "hot") == hot  # finished: nothing is measured again


def test_the_forecast_counts_the_arms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def samples(*arms: str) -> list[int]:
        check(load_recipe(*[(r := write_recipe(tmp_path / "r"))[0], [*r[1:], *arms]]))
        lines = capsys.readouterr().out.splitlines()
        assert not arms or any("1 other decodings or prompts (hot)" in line for line in lines)
        forecast = [line.split(": ")[1].split(" samples")[0] for line in lines if "if problems" in line]
        return [int(number.replace(",", "")) for number in forecast]

    # fixed draws 256 samples of each of 12 problems, of the base and at the end
    extra = np.subtract(samples("probes.arms.hot={temperature: 2, plan: fixed}"), samples())
    assert set(extra.tolist()) <= {12 * 512 - 1, 12 * 512, 12 * 512 + 1}
