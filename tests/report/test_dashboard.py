"""The dashboard shows keys that the runs have, is what W&B's package accepts, and is sent only where there is a key."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from wandb_workspaces.workspaces.internal import View, WorkspaceViewspec

from rlvr.cli.main import main
from rlvr.report.dashboard_picture import RunLines, lines_of
from rlvr.runs.run_dir import RunDir
from tests.support.fake_run import FakeRun, write_fake_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two arms with one seed each, as W&B has tracked them."""
    folder, made = tmp_path_factory.mktemp("runs"), []
    for number, algorithm in enumerate(("grpo", "ppo")):
        fake = FakeRun(steps=(0, 10, 20), problems=24, strength=2.0, algorithm=algorithm, group=algorithm, seed=number,
                       base_seed=7, recipe_seed=0)
        made.append(write_fake_run(folder / f"{algorithm}-0", fake))
        (made[-1] / "wandb_id").write_text(f"id{number}")
        (made[-1] / f"wandb/offline-run-{number}").mkdir(parents=True)
    return made


@pytest.fixture(autouse=True)
def no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "NETRC", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)


def panels_of(definition: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {section["name"]: section["panels"]
            for section in definition["workspace"]["section"]["panelBankConfig"]["sections"]}


def test_without_a_key_the_definition_is_written_and_said_how_to_apply(
    runs: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["rlvr", "dashboard", *map(str, runs)])
    assert main(["dashboard", *map(str, runs)]) == 0
    out = capsys.readouterr().out
    path = runs[0].parent / "dashboard.json"
    assert out.startswith(f"dashboard: {path} (W&B has no key here, so it is only written; to make it: wandb login, "
                          f"wandb sync {runs[0]}/wandb/offline-run-0 {runs[1]}/wandb/offline-run-1, rlvr dashboard ")
    assert out.endswith("; to see it without W&B: --picture FILE.png)\n")
    definition = json.loads(path.read_text())
    assert (definition["entity"], definition["project"], definition["saved"]) == (None, "rlvr", {})
    spec = WorkspaceViewspec.model_validate(definition["workspace"])  # what W&B's own package reads
    again = json.loads(spec.model_dump_json(by_alias=True, exclude_none=True))
    assert panels_of({"workspace": again}) == panels_of(definition)
    (runset,) = definition["workspace"]["section"]["runSets"]
    (which,) = runset["filters"]["filters"]
    assert (which["key"]["name"], which["op"], which["value"]) == ("name", "IN", ["id0", "id1"])


def test_runs_that_share_an_arm_and_no_base_are_noted(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: two runs of GRPO on different models were drawn as one mean without a word."""
    other = tmp_path / "other"
    shutil.copytree(runs[0], other)
    file = RunDir(other).recipe
    tree = json.loads(file.read_text())
    assert main(["dashboard", str(runs[0]), str(other), "-o", str(tmp_path / "d.json")]) == 0
    assert "note:" not in capsys.readouterr().err
    tree["recipe"]["model"] = {"path": "another"}
    file.write_text(json.dumps(tree))
    assert main(["dashboard", str(runs[0]), str(other), "-o", str(tmp_path / "d.json")]) == 0
    assert "note: arm grpo holds runs of several models or probe sets" in capsys.readouterr().err


def test_the_overview_has_the_boundary_by_arm_and_with_its_interval(runs: list[Path], tmp_path: Path) -> None:
    assert main(["dashboard", *map(str, runs), "-o", str(tmp_path / "d.json")]) == 0
    found = panels_of(json.loads((tmp_path / "d.json").read_text()))
    assert list(found) == ["Overview", "Training", "Verdict reasons", "Beside the boundary", "Performance"]
    titles = {panel["config"].get("chartTitle"): panel["config"] for panel in found["Overview"]}
    for name in ("delta_se", "pass@1", "pass@256", "shrinkage@256"):
        by_arm, alone = titles[f"boundary/{name}"], titles[f"boundary/{name} with its 95% interval"]
        assert (by_arm["groupBy"], by_arm["groupAgg"], by_arm["groupArea"]) == ("group", "mean", "minmax")
        assert alone["metrics"] == [f"boundary/{name}", f"boundary/{name}/low", f"boundary/{name}/high"]
        assert alone["overrideMarks"][f"id1:boundary/{name}/high"] == "dotted"
    assert titles["probes, share of all generated tokens"]["metrics"] == ["boundary/token_share"]
    assert titles["boundary/verdict@256: 1 shrunk, 0 undecided, -1 not shrunk"]["metrics"] == ["boundary/verdict@256"]
    assert {panel["config"].get("xAxis", "step") for panels in found.values() for panel in panels} == {"step"}


class Stub:
    """Of `wandb.Api` what the package calls; `sent` has the variables of every mutation."""

    sent: list[dict[str, Any]]

    def __init__(self, **_: Any) -> None:
        self._service_api = self
        self.app_url, self.default_entity = "https://wandb.example", "me"

    def projects(self, entity: str) -> list[Any]:
        return [type("Project", (), {"name": "rlvr"})()]

    def execute_graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "upsertView" in query:
            self.sent.append(variables)
            view = {"id": f"VIEW{len(self.sent)}", "name": variables["name"], "displayName": variables["displayName"],
                    "spec": variables["spec"], "description": "", "project": {"name": "rlvr", "entityName": "me"}}
            return {"upsertView": {"view": view, "inserted": True}}
        if "allViews" in query:
            first = self.sent[0]
            node = {"id": "VIEW1", "displayName": first["displayName"], "spec": first["spec"]}
            return {"project": {"allViews": {"edges": [{"node": node}]}}}
        return {"project": {"internalId": "PROJECT", "id": "PROJECT"}}


def test_with_a_key_the_workspace_is_made_and_then_updated(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("wandb.Api", Stub)
    # Bug of the package: the address of a view whose name ends so was another view's.
    monkeypatch.setattr("wandb_workspaces.workspaces.internal._generate_view_name", lambda: "nw-fw8l6movinw-v")
    Stub.sent = []
    arguments = ["dashboard", *map(str, runs), "-o", str(tmp_path / "d.json")]
    (tmp_path / "compare.md").write_text("# grpo / ppo\n\n| arm | pass@1 |\n| --- | --- |\n")
    assert main([*arguments, "--report", str(tmp_path / "compare.md")]) == 0
    workspace, report = Stub.sent
    assert (workspace["entityName"], workspace["projectName"], workspace["type"]) == ("me", "rlvr", "project-view")
    assert report["type"] == "runs" and "| arm | pass@1 |" in report["spec"]
    assert "boundary/delta_se/high" in report["spec"] and "boundary/delta_se/high" in workspace["spec"]
    saved = json.loads((tmp_path / "d.json").read_text())["saved"]
    out = capsys.readouterr().out
    assert all(f"dashboard: {saved[what]}" in out for what in ("workspace", "report"))
    assert saved["workspace"].startswith("https://wandb.example/me/rlvr?nw=")
    assert main(arguments) == 0  # again: the same view, by its id
    assert Stub.sent[2]["id"] == "VIEW1" and Stub.sent[2]["name"] == workspace["name"]
    assert json.loads((tmp_path / "d.json").read_text())["saved"] == saved
    assert View(entity="me", project="rlvr", display_name="", name="", id="",
                spec=WorkspaceViewspec.model_validate_json(Stub.sent[2]["spec"]))


def test_what_w_and_b_refuses_is_one_line_and_the_definition_stays(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: Any) -> None:
        raise ValueError("permission denied\nmore")

    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("wandb.Api", refuse)
    assert main(["dashboard", *map(str, runs), "-o", str(tmp_path / "d.json")]) == 2
    assert capsys.readouterr().err == (f"error: W&B refused the dashboard: permission denied; its definition is in "
                                       f"{tmp_path}/d.json\n")
    assert panels_of(json.loads((tmp_path / "d.json").read_text()))


def test_a_comparison_makes_the_dashboard_of_its_runs(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(runs[0].parent), "-o", str(tmp_path / "compare.html")]) == 0
    assert f"dashboard: {tmp_path}/dashboard.json" in capsys.readouterr().out
    definition = json.loads((tmp_path / "dashboard.json").read_text())
    assert definition["report"]["text"] == (tmp_path / "compare.md").read_text()
    assert definition["name"] == "rlvr grpo / ppo" and sorted(definition["runs"]) == sorted(map(str, runs))
    (runs[0] / "wandb_id").rename(runs[0] / "kept")
    (runs[1] / "wandb_id").rename(runs[1] / "kept")
    assert main(["compare", str(runs[0].parent), "-o", str(tmp_path / "other.html")]) == 0
    assert "dashboard" not in capsys.readouterr().out  # not tracked with W&B
    for run in runs:
        (run / "kept").rename(run / "wandb_id")


def test_runs_of_several_projects_are_refused(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_fake_run(tmp_path / "other", FakeRun(steps=(0, 10), problems=16))
    stored = json.loads((other / "recipe.json").read_text())
    stored["recipe"]["tracking"] = {"project": "elsewhere"}
    (other / "recipe.json").write_text(json.dumps(stored))
    assert main(["dashboard", str(runs[0]), str(other)]) == 2
    assert "several projects (elsewhere, rlvr)" in capsys.readouterr().err


def test_every_probe_set_has_a_section(tmp_path: Path) -> None:
    """Keys of several sets hold their names: there is no `boundary/delta_se` to show in the overview."""
    run = write_fake_run(tmp_path / "run", FakeRun(steps=(0, 10), problems=8))
    write_fake_run(run / "sets" / "hard", FakeRun(steps=(0, 10), problems=8, seed=1))
    stored = json.loads((run / "recipe.json").read_text())
    stored["recipe"]["data"] = {"probe": {"test": {}, "hard": {}}}
    (run / "recipe.json").write_text(json.dumps(stored))
    assert main(["dashboard", str(run), "-o", str(tmp_path / "d.json")]) == 0
    found = panels_of(json.loads((tmp_path / "d.json").read_text()))
    assert list(found)[:3] == ["Probe set: hard", "Probe set: test", "Training"]
    for name in ("hard", "test"):
        titles = [panel["config"].get("chartTitle") for panel in found[f"Probe set: {name}"]]
        assert f"boundary/{name}/pass@256" in titles and f"boundary/{name}/delta_se with its 95% interval" in titles
        assert any(f"figures/{name}/pass@k" in json.dumps(panel) for panel in found[f"Probe set: {name}"])


def test_the_picture_has_the_lines_of_the_definition(runs: list[Path], tmp_path: Path) -> None:
    """By arm the mean and the range over runs, by hand; with its interval every run and the bounds of the files."""
    lines = {name: RunLines(RunDir(path)) for name, path in zip("ab", runs, strict=True)}
    by_step = [dict(line.of_key["boundary/delta_se"]) for line in lines.values()]
    ((label, low, mean, high),) = lines_of({"metrics": ["boundary/delta_se"], "groupBy": "recipe.value.model.path"},
                                           lines)
    assert label == "lab" and [x for x, _ in mean] == [0, 10, 20]
    for x, y in mean:
        values = sorted(of[x] for of in by_step)
        assert (dict(low)[x], dict(high)[x]) == tuple(values) and y == pytest.approx(sum(values) / 2)
    assert len(list(lines_of({"metrics": ["boundary/delta_se"], "groupBy": "group"}, lines))) == 2
    bounds = [f"boundary/delta_se{part}" for part in ("", "/low", "/high")]
    (_, low, line, high), _ = lines_of({"metrics": bounds}, lines)
    row = [json.loads(text) for text in (runs[0] / "boundary.jsonl").read_text().splitlines()][-1]
    estimate = row["estimates"]["boundary/delta_se"]
    assert (low[-1], line[-1], high[-1]) == tuple((20, estimate[part]) for part in ("low", "value", "high"))


def test_the_picture_has_a_row_of_panels_where_the_definition_says(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlvr.report.dashboard.MEDIA", ())
    monkeypatch.setattr("rlvr.report.dashboard.FIRST", ())
    monkeypatch.setattr("rlvr.report.dashboard.COLUMNS", 10)  # fewer axes are drawn faster
    picture, drawn = tmp_path / "dashboard.png", []

    def flat(axes: Any, *rest: Any) -> None:
        drawn.append(axes.yaxis.get_major_formatter().get_useOffset())

    monkeypatch.setattr("rlvr.report.dashboard_picture._panel", flat)
    assert main(["dashboard", *map(str, runs), "-o", str(tmp_path / "d.json"), "--picture", str(picture)]) == 0
    sections = len(panels_of(json.loads((tmp_path / "d.json").read_text())))
    assert drawn and not any(drawn)  # bug: an axis counted from a number above it, such as +5.88
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    assert width == 1540 and height == pytest.approx(110 * (0.42 * (1 + sections) + 2.1 * (1 + 1)), abs=2)
