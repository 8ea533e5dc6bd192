"""Damaged run directories: one line that names the file, and nothing half written."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rlvr.report.dashboard import logged
from rlvr.report.load import load_run
from rlvr.report.page import write_report
from rlvr.runs.run_dir import RunDir
from rlvr.types import UserError
from tests.support.fake_run import FakeRun, read_rows, write_fake_run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fake = FakeRun(steps=(0, 20, 40, 60), problems=96, strength=2.0)
    return write_fake_run(tmp_path_factory.mktemp("runs") / "shrunk", fake)


def test_the_last_row_of_a_step_counts(run_dir: Path, tmp_path: Path) -> None:
    path = shutil.copytree(run_dir, tmp_path / "run")
    rows = read_rows(path / "boundary.jsonl")
    again = json.loads(json.dumps(rows[1]))
    again["estimates"]["boundary/pass@1"]["value"] = 0.777
    with (path / "boundary.jsonl").open("a") as file:
        file.write(json.dumps(again) + "\n")
    run = load_run(path)
    assert [p.step for p in run.probes] == [0, 20, 40, 60] and run.probes[1].get("pass@1").value == 0.777


def spoil_boundary(path: Path) -> None:
    lines = (path / "boundary.jsonl").read_text().splitlines()
    (path / "boundary.jsonl").write_text("\n".join([lines[0], '{"step": ', *lines[1:]]) + "\n")


def spoil_field(path: Path) -> None:
    rows = read_rows(path / "boundary.jsonl")
    del rows[1]["estimates"]
    (path / "boundary.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def spoil_base(path: Path) -> None:
    lines = (path / "boundary.jsonl").read_text().splitlines()
    (path / "boundary.jsonl").write_text("\n".join(lines[1:]) + "\n")


def spoil_samples(path: Path, rest: bytes = b"\x1f\x8b torn and overwritten") -> None:
    samples = path / "samples" / "step-000060.jsonl.gz"
    whole = gzip.decompress(samples.read_bytes()).splitlines(keepends=True)
    samples.write_bytes(gzip.compress(b"".join(whole[:3])) + rest)


def spoil_stream(path: Path) -> None:
    """A good gzip header before bytes that are no deflate stream."""
    spoil_samples(path, b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"\xff" * 20)


def spoil_counts(path: Path) -> None:
    """n = 13 is no checkpoint of the plan."""
    text = (path / "probes.jsonl").read_text()
    (path / "probes.jsonl").write_text(re.sub(r'"n": \d+', '"n": 13', text, count=1))


def swap(path: Path, one: str, other: str) -> None:
    aside = (path / one).read_bytes()
    (path / other).replace(path / one)
    (path / other).write_bytes(aside)


@pytest.mark.parametrize(("spoil", "expected"), [
    (lambda path: swap(path, "samples/step-000000.jsonl.gz", "samples/step-000060.jsonl.gz"),
     r"step-0000\d0\.jsonl\.gz: holds the samples of something else"),
    (lambda path: swap(path, "rollouts/step-000001.jsonl.gz", "rollouts/step-000060.jsonl.gz"),
     r"rollouts/step-000001\.jsonl\.gz: damaged at its beginning, or not of step 1"),
    (lambda path: shutil.copy(path / "rollouts/step-000060.jsonl.gz", path / "samples/step-000060.jsonl.gz"),
     r"samples/step-000060\.jsonl\.gz: holds the samples of something else"),
    (lambda path: (path / "boundary.jsonl").unlink(), "interrupted before its first probe ended; continue it"),
    (spoil_boundary, r"boundary\.jsonl:2: not a JSON object"),
    (spoil_field, r"boundary\.jsonl, row 2: the field 'estimates' is missing"),
    (spoil_base, r"boundary\.jsonl: no base probe with pass@k"),
    (spoil_samples, r"step-000060\.jsonl\.gz:4: cannot be read"),
    (spoil_stream, r"step-000060\.jsonl\.gz:4: cannot be read"),
    (lambda path: spoil_samples(path, gzip.compress(b"5\n")), r"step-000060\.jsonl\.gz:4: cannot be read"),
    (lambda path: (path / "probes.jsonl").unlink(), r"probes\.jsonl: 0 problems of step 0, expected the 96"),
    *((lambda path, rest=rest: (path / "rollouts" / "step-000001.jsonl.gz").write_bytes(gzip.compress(rest)),
       r"rollouts/step-000001\.jsonl\.gz: damaged at its beginning") for rest in (b"", b'{"header": {}}\n', b"5\n")),
    (spoil_counts, r"probes\.jsonl, step 0: problem 'countdown/test/0': .*n=13"),
])
def test_damage_is_one_clear_line(
    run_dir: Path, tmp_path: Path, spoil: Callable[[Path], object], expected: str
) -> None:
    path = shutil.copytree(run_dir, tmp_path / "run")
    (path / "report.html").unlink(missing_ok=True)
    spoil(path)
    with pytest.raises(UserError, match=expected) as caught:
        write_report(path)
    assert "\n" not in str(caught.value)
    assert not list(path.glob("report.html*"))


def test_a_page_that_cannot_be_written_leaves_nothing_behind(run_dir: Path, tmp_path: Path) -> None:
    path = shutil.copytree(run_dir, tmp_path / "run", ignore=shutil.ignore_patterns("report.html"))
    (path / "report.html").mkdir()
    with pytest.raises(UserError, match=r"report\.html: cannot be written \(Is a directory\)"):
        write_report(path)
    assert [entry.name for entry in path.glob("report.html*")] == ["report.html"]


def test_an_id_of_a_wandb_run_that_can_be_none_is_said(run_dir: Path, tmp_path: Path) -> None:
    path = shutil.copytree(run_dir, tmp_path / "run")
    for text, expected in ((b"1f2e3d4c\n", "1f2e3d4c"), (b"1f2e\xb63d", None), (b"a/../b", None)):
        (path / "wandb_id").write_bytes(text)
        if expected:
            assert RunDir(path).wandb_id == expected
        else:
            with pytest.raises(UserError, match="holds no id of a W&B run"):
                logged(path)
