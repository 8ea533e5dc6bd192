"""Samples on disk: what any completion may hold, what a kill and a bad disk leave, and what reading costs."""

from __future__ import annotations

import logging
import os
import tracemalloc
from pathlib import Path

import pytest

from rlvr.runs.samples import Journal, read_samples
from rlvr.types import UserError

HEADER = {"weights": "w"}


def written(path: Path, batches: int = 4, text: str = "x") -> list[int]:
    """A journal of two samples per batch; returns the size of the file before each batch and at the end."""
    journal, sizes = Journal(path, HEADER), []
    for batch in range(batches):
        sizes.append(path.stat().st_size)
        journal.append([{"problem_id": f"p{batch}", "sample": sample, "text": f"{text} {batch}/{sample}"}
                        for sample in range(2)])
    return [*sizes, path.stat().st_size]


def test_a_batch_is_on_the_disk_when_it_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[str, int]] = []

    def fsync(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        flushed.append((Path(name).name, os.fstat(descriptor).st_size if name.endswith(".gz") else 0))

    monkeypatch.setattr(os, "fsync", fsync)
    _, *sizes = written(tmp_path / "samples.gz", 2)
    header = flushed[0]
    assert flushed == [header, (tmp_path.name, 0), *(("samples.gz", size) for size in sizes)] and header[1] > 0


def flip(path: Path, byte: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\r", "\r\n", "\n", "\udc80"])
def test_whatever_a_completion_holds_is_read_back(tmp_path: Path, mark: str) -> None:
    """Bug: the lines of a samples file ended at U+0085, U+2028 and U+2029 too, and the file was unreadable."""
    path = tmp_path / "samples.gz"
    written(path, text=f"a{mark}b")
    texts = [f"a{mark}b {batch}/{sample}" for batch in range(4) for sample in range(2)]
    assert [row["text"] for row in read_samples(path)] == texts
    assert [row["text"] for batch in Journal(path, HEADER).batches for row in batch] == texts


@pytest.mark.parametrize("lost", [1, 5, 20])
def test_what_a_kill_tears_is_cut_off_and_all_before_it_stays(
    tmp_path: Path, lost: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "samples.gz"
    *_, before, size = written(path)
    path.write_bytes(path.read_bytes()[:-lost])
    assert len(list(read_samples(path))) == 6
    assert len(Journal(path, HEADER).batches) == 3 and path.stat().st_size == before
    assert f"cut off the last {size - before - lost} bytes" in caplog.text
    assert list(tmp_path.iterdir()) == [path]


def test_blocks_that_were_never_written_are_a_torn_tail(tmp_path: Path) -> None:
    """After a power cut a file system may keep the length and lose the bytes."""
    path = tmp_path / "samples.gz"
    *_, before, size = written(path)
    path.write_bytes(path.read_bytes()[:before] + bytes(size - before))
    assert len(list(read_samples(path))) == 6 and len(Journal(path, HEADER).batches) == 3


def test_damage_in_the_middle_is_told_from_a_torn_tail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Bug: one flipped bit read as a torn tail and cut off all that followed, without a copy."""
    path = tmp_path / "samples.gz"
    sizes = written(path)
    flip(path, sizes[1] + 30)
    broken = path.read_bytes()
    with pytest.raises(UserError, match=f"samples.gz: damaged at byte {sizes[1]}: restore the file"):
        list(read_samples(path))
    with caplog.at_level(logging.ERROR):
        assert len(Journal(path, HEADER).batches) == 1
    assert "drawn again" in caplog.text and path.stat().st_size == sizes[1]
    assert (tmp_path / "samples.gz.damaged").read_bytes() == broken


def test_every_flipped_bit_of_a_batch_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "samples.gz"
    sizes = written(path)
    whole = path.read_bytes()
    for byte in range(sizes[1] + 10, sizes[2]):  # behind the gzip header, whose fields say nothing of the content
        flip(path, byte)
        with pytest.raises(UserError, match="damaged"):
            list(read_samples(path))
        path.write_bytes(whole)


def test_another_header_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "samples.gz"
    written(path)
    assert Journal(path, {"weights": "v"}).batches == [] and len(list(read_samples(path))) == 0
    assert len(list(read_samples(tmp_path / "samples.gz.stale"))) == 8


def test_reading_holds_a_batch_in_memory_not_the_file(tmp_path: Path) -> None:
    """Bug: all texts were held, and every batch copied the rest of the file, which took quadratic time."""
    peaks = []
    noise = "".join(chr(0x4E00 + i * 7919 % 20000) for i in range(10_000))  # hardly compresses
    for batches in (4, 40):
        path = tmp_path / f"{batches}.gz"
        written(path, batches, noise)
        tracemalloc.start()
        assert sum(1 for _ in read_samples(path)) == 2 * batches
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**20 + 2**18, peaks  # read in chunks of 1 MiB
