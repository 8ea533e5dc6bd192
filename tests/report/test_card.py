"""Model cards say what was trained, and hold the boundary of their step; a push sends them and the samples."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import ModelCard

from rlvr.cli.main import main
from rlvr.report.card import write_card
from tests.support.fake_run import FakeRun, read_rows, write_fake_run
from tests.support.hub_stub import Hub, hub_stub

GSM8K = {"source": "openai/gsm8k", "config": "main", "split": "train"}
MATH500 = {"source": "HuggingFaceH4/MATH-500", "split": "test", "config": None, "revision": "abc"}


def write(path: Path, algorithm: str = "maxrl", model: str = "Qwen/Qwen2.5-7B", train: Any = None) -> Path:
    """A run that shrank, with the checkpoint of step 30, between the probes of step 20 and 40."""
    run = write_fake_run(path, FakeRun(steps=(0, 20, 40), problems=48, strength=2.0, algorithm=algorithm))
    stored = json.loads((run / "recipe.json").read_text())
    stored["recipe"] |= {"name": "mine", "model": {"path": model}, "data": {"train": train or GSM8K, "probe": MATH500},
                         "train": {"steps": 40}, "run_dir": "/home/me/secret", "tracking": {"entity": "my-team"}}
    (run / "recipe.json").write_text(json.dumps(stored))
    for step in (30, 40):
        checkpoint = run / f"checkpoints/checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        for name in ("model.safetensors", "config.json", "COMPLETE", "optimizer.pt", "rlvr_state.json",
                     "trainer_state.json", "training_args.bin", "critic.safetensors"):
            (checkpoint / name).write_text("{}")
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("card") / "mine")


def metrics_of(card: ModelCard) -> dict[str, dict[str, Any]]:
    (entry,) = card.data.to_dict()["model-index"][0]["results"]
    assert entry["dataset"] == {"type": MATH500["source"], "name": MATH500["source"], "split": "test",
                                "revision": "abc"}
    return {metric["type"]: metric for metric in entry["metrics"]}


def test_the_card_holds_the_boundary_of_its_step_with_intervals(run: Path) -> None:
    rows = {row["step"]: row for row in read_rows(run / "boundary.jsonl")}
    for step, probed in ((30, 20), (40, 40)):
        card = ModelCard.load(write_card(run, run / f"checkpoints/checkpoint-{step}"))
        metrics, row = metrics_of(card), rows[probed]
        assert set(metrics) == {"pass@1", "pass@256", "delta_se", "shrinkage@256"}
        for name in ("pass@1", "pass@256", "delta_se"):
            expected, found = row["estimates"][f"boundary/{name}"], metrics[name]
            assert found["value"] == pytest.approx(expected["value"], abs=1e-6)
            assert [found["args"][bound] for bound in ("low", "high")] == pytest.approx(
                [expected["low"], expected["high"]], abs=1e-6)
            assert (found["args"]["step"], found["args"]["problems"], found["args"]["level"]) == (probed, 48, 0.95)
        look = row["sequential"]["verdicts"]["boundary/shrinkage@256"]
        assert metrics["shrinkage@256"]["args"]["verdict"] == look["verdict"]
        assert metrics["shrinkage@256"]["args"]["low"] == pytest.approx(look["low"], abs=1e-6)
        assert ("The last probe before this checkpoint was at step 20" in card.text) == (step == 30)
        picture = (run / f"checkpoints/checkpoint-{step}/boundary.png").read_bytes()
        assert picture[:8] == b"\x89PNG\r\n\x1a\n" and picture[16:24] == (1600).to_bytes(4) + (600).to_bytes(4)


def test_the_card_names_algorithm_base_data_and_recipe(run: Path) -> None:
    card = ModelCard.load(write_card(run, run / "checkpoints/checkpoint-40"))
    facts: Any = card.data
    assert facts.base_model == "Qwen/Qwen2.5-7B" and facts.datasets == ["openai/gsm8k"]
    assert "maxrl" in (facts.tags or []) and "grpo" not in card.content.lower()
    recipe = yaml.safe_load(card.text.split("```yaml")[1].split("```")[0])
    assert recipe["algorithm"]["name"] == "maxrl" and recipe["data"]["train"] == GSM8K
    assert "secret" not in card.content and "my-team" not in card.content


def test_what_the_hub_does_not_know_is_no_metadata(tmp_path: Path) -> None:
    (tmp_path / "my_base").mkdir()
    local = {"source": str(tmp_path / "rows.jsonl"), "split": "train"}
    run = write(tmp_path / "run", "rloo", str(tmp_path / "my_base"), [local, GSM8K])
    (run / "boundary.jsonl").unlink()
    (run / "checkpoints/checkpoint-40/adapter_config.json").write_text("{}")
    card = ModelCard.load(write_card(run, run / "checkpoints/checkpoint-40"))
    facts: Any = card.data
    assert facts.base_model is None and facts.datasets == ["openai/gsm8k"] and not facts.eval_results
    assert facts.library_name == "peft" and "my_base after 40 steps of rloo on rows.jsonl (train), " in card.text
    assert "The boundary was not measured." in card.text and "boundary.png" not in card.text


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_stub() as hub:
        monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", hub.address, raising=False)
        yield hub


def test_a_push_sends_model_and_samples(run: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(run), "--model", "me/mine", "--samples", "me/mine-samples"]) == 0
    assert f"model: {hub.address}/me/mine" in capsys.readouterr().out
    assert [(each["name"], each["visibility"]) for each in hub.created] == [
        ("mine", "private"), ("mine-samples", "private")]
    model = {name.removeprefix("model/me/mine/") for name in hub.files if name.startswith("model/")}
    assert model == {"README.md", "boundary.png", "config.json", "model.safetensors"}
    assert "from_pretrained('me/mine')" in hub.files["model/me/mine/README.md"].decode()

    folder = "dataset/me/mine-samples/"
    header = yaml.safe_load(hub.files[f"{folder}README.md"].decode().split("---")[1])
    configs = {each["config_name"]: each["data_files"] for each in header["configs"]}
    assert [each["split"] for each in configs["samples"]] == ["step_0", "step_20", "step_40"]
    assert configs["boundary"] == "boundary.csv" and f"{folder}boundary.csv" in hub.files
    problems = {row["id"]: row for row in read_rows(run / "problems.jsonl")}
    for split in configs["samples"]:
        table = pq.read_table(io.BytesIO(hub.files[f"{folder}{split['path']}"])).to_pylist()
        step = int(split["split"].removeprefix("step_"))
        with gzip.open(run / f"samples/step-{step:06d}.jsonl.gz", "rt") as file:
            stored = [row for row in map(json.loads, file) if "problem_id" in row]
        assert [(r["text"], r["correct"], r["tokens"]) for r in table] == [
            (s["text"], s["correct"], s["tokens"]) for s in stored]
        assert all(r["step"] == step and r["prompt"] == problems[r["problem_id"]]["prompt"] for r in table)
    counts = pq.read_table(io.BytesIO(hub.files[f"{folder}problems.parquet"])).to_pylist()
    assert [(r["step"], r["problem_id"], r["n"], r["c"]) for r in counts] == [
        (r["step"], r["problem_id"], r["n"], r["c"]) for r in read_rows(run / "probes.jsonl")]


@pytest.mark.parametrize(("arguments", "says"), [
    ([], "nothing to push: give --model REPO, --samples REPO or both"),
    (["--model", "me/mine", "--checkpoint", "7"], "no complete checkpoint of step 7; it has 30, 40"),
    (["--model", "me/a/b"], "not the name of a repository"),
    (["--model", "taken/mine"], "the hub refused: "),
])
def test_a_push_that_cannot_be_says_why(
    run: Path, hub: Hub, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["push", str(run), *arguments]) == 2
    assert says in capsys.readouterr().err and not hub.files


def test_nothing_is_sent_offline_or_without_a_token(
    run: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert main(["push", str(run), "--model", "me/mine"]) == 2
    assert "found no token of the Hugging Face Hub" in capsys.readouterr().err
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["push", str(run), "--model", "me/mine"]) == 2
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err and not hub.created
