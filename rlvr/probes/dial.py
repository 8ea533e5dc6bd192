"""`rlvr dial`: measures models between a run's base and its trained model, and keeps one that keeps the boundary.

Every merge is written, measured on the road of `rlvr probe` and deleted again, so the disk holds one at a time. The
output directory is a run directory in which "step 50" is the merge at 50% of the way; step 0 is the base.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.config.probe_recipe import ProbeRequest, own_set
from rlvr.models.merge import copy_beside, merge
from rlvr.probes.offline import probe
from rlvr.probes.past import counts_of
from rlvr.probes.settings import named_plan
from rlvr.runs.run_dir import RunDir
from rlvr.statistics.boundary_row import Measurement
from rlvr.statistics.dial import Choice, Target, choose
from rlvr.types import UserError


@dataclass(frozen=True)
class DialRequest:
    """What to merge, and what the choice shall keep."""

    probes: ProbeRequest
    """The recipe of the run that is dialled: base, problems, decoding, plans. Its models are not read."""
    run: Path
    trained: tuple[Path, ...]
    """Checkpoints of one base; of several, their mean is dialled."""
    percents: tuple[int, ...]
    """Whole percents of the way from the base, from 1 to 100, in rising order."""
    k: int
    tolerance: float
    """Largest shrinkage@k to accept, a fraction."""
    target: Target = "population"

    @property
    def sources(self) -> dict[str, Any]:
        """What decides the merges; a resumed dial must have the same."""
        return {"run": str(self.run), "trained": list(map(str, self.trained)), "percents": list(self.percents)}


@dataclass(frozen=True)
class Dial:
    """A dial that was measured."""

    request: DialRequest
    choice: Choice
    exact: Mapping[int, tuple[float, float]]
    """Percent of the way, 0 the base -> exact (pass@1, pass@k); empty outside the lab."""
    model: Path | None
    """Where the chosen merge is; None if none is within the tolerance."""


def dial(request: DialRequest, output: Path, *, resume: bool = False) -> Dial:
    """Merge, measure, choose, and write the chosen merge to `output`/model.

    With `resume`, finished merges are not measured again. Raises UserError for a k that is not measured and as `probe`
    and `merge` do.
    """
    recipe = own_set(request.probes.recipe)
    assert recipe.model is not None
    if request.k not in recipe.probes.ks:
        raise UserError(f"--keep {request.k}: the probes of {request.run} estimate pass@k for k = "
                        f"{', '.join(map(str, recipe.probes.ks))}; choose one of these")
    _check_same(output, request)
    recipe = dataclasses.replace(recipe, probes=dataclasses.replace(recipe.probes, arms={}))
    folder = output.with_name(f".{output.name}-merges")
    models = {percent: folder / f"merge-{percent}" for percent in request.percents}
    try:
        for path in models.values():  # tokenizers are read before the first merge is made
            copy_beside(request.trained[0], path)
        probe(dataclasses.replace(request.probes, recipe=recipe, models={at: str(p) for at, p in models.items()}),
              output, resume=resume, made=lambda path: _made(request, Path(path), output))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    base, merges, exact = _measured(RunDir(output), request)
    choice = choose(base, merges, k=request.k, tolerance=request.tolerance, target=request.target)
    model = output / "model"
    shutil.rmtree(model, ignore_errors=True)
    if choice.chosen is not None:
        _merge(request, choice.chosen.share, model)
    return Dial(request, choice, exact, None if choice.chosen is None else model)


def _merge(request: DialRequest, share: float, output: Path) -> None:
    model = request.probes.recipe.model
    assert model is not None
    merge(model.path, request.trained, share, output, revision=model.revision)


@contextmanager
def _made(request: DialRequest, path: Path, output: Path) -> Iterator[None]:
    """The merge at `path`, for as long as it is loaded."""
    RunDir.write_json_atomic(output / "dial.json", request.sources)
    _merge(request, int(path.name.rpartition('-')[2]) / 100, path)
    try:
        yield
    finally:
        shutil.rmtree(path)


def _check_same(output: Path, request: DialRequest) -> None:
    """Raises UserError if `output` holds the dial of other models."""
    file = output / "dial.json"
    if file.is_file() and (stored := json.loads(file.read_bytes())) != request.sources:
        key = next(key for key, value in request.sources.items() if stored.get(key) != value)
        raise UserError(f"{output}: its dial has {key} {stored.get(key)}, this one {request.sources[key]}; resume with "
                        "the same, or choose another -o")


def _measured(
    run: RunDir, request: DialRequest
) -> tuple[Measurement, dict[float, Measurement], dict[int, tuple[float, float]]]:
    """The base, share -> merge, and the exact values by percent, from the run directory."""
    rows: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in run.read_jsonl(run.probes):
        rows[row["step"]].append(row)
    probes = own_set(request.probes.recipe).probes

    def measurement(percent: int) -> Measurement:
        plan = named_plan(probes.plan if percent else probes.base_plan).plan
        return Measurement([counts_of(row) for row in rows[percent]], plan)

    exact: dict[int, tuple[float, float]] = {}
    for percent in (0, *request.percents):
        p_P = np.array([row["exact_p"] for row in rows[percent]], dtype=np.float64)  # None becomes NaN
        if not np.isnan(p_P).any():
            exact[percent] = (float(p_P.mean()), float(1 - ((1 - p_P) ** request.k).mean()))
    return measurement(0), {percent / 100: measurement(percent) for percent in request.percents}, exact
