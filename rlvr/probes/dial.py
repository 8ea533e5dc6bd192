"""`rlvr dial`: measures models between a run's base and its trained model, and keeps one that keeps the boundary.

Every merge is written, measured on the road of `rlvr probe` and deleted again, so the disk holds one at a time. The
output directory is a run directory in which "step 50" is the merge at 50% of the way; step 0 is the base.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.config.probe_recipe import ProbeRequest, own_set
from rlvr.models.loading import adapter_of
from rlvr.models.merge import check_mergeable, copy_beside, merge
from rlvr.probes.offline import probe
from rlvr.probes.past import counts_of
from rlvr.probes.settings import named_plan
from rlvr.runs import dial_file
from rlvr.runs.files import CHECK, checksum
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
    and `merge` do, for models that do not fit each other before anything is written.
    """
    recipe = own_set(request.probes.recipe)
    assert recipe.model is not None
    _check_ks(recipe.probes.ks, request)
    _check_engine(recipe.probes.engine, request)
    check_mergeable(recipe.model.path, request.trained, revision=recipe.model.revision)
    home = output.resolve()  # of `-o .`, too
    folder = home.with_name(f".{home.name}-merges")
    models = {percent: str(folder / f"merge-{percent}") for percent in request.percents}
    mixed = dial_file.Mixed.of(request.trained, request.percents)
    run = RunDir.create(output, resume=resume, quiet=True, own=True)  # the merges of another process are left alone
    _take_up(run, mixed, list(models.values()))

    def begun(run: RunDir) -> Sequence[Any]:  # after recipe.json: a directory with dial.json alone would be no run
        mixed.write(run.path)
        return ()

    recipe = dataclasses.replace(recipe, probes=dataclasses.replace(recipe.probes, arms={}))
    shutil.rmtree(folder, ignore_errors=True)
    try:
        for path in models.values():  # tokenizers are read before the first merge is made
            copy_beside(request.trained[0], Path(path))
        probe(dataclasses.replace(request.probes, recipe=recipe, models=models), output, resume=resume,
              made=lambda path: _made(request, Path(path)), listeners=begun)
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
def _made(request: DialRequest, path: Path) -> Iterator[None]:
    """The merge at `path`, for as long as it is loaded."""
    _merge(request, int(path.name.rpartition('-')[2]) / 100, path)
    try:
        yield
    finally:
        shutil.rmtree(path)


def _check_ks(ks: Sequence[int], request: DialRequest) -> None:
    """Raises UserError for a k of the boundary that is not measured, and without pass@1, which chooses the merge."""
    measured = ', '.join(map(str, ks))
    if 1 not in ks:
        raise UserError(f"probes.ks: found {measured}, expected 1 among them, as the merge with the highest pass@1 is "
                        f"chosen; add 'probes.ks={json.dumps([1, *ks])}'")
    if request.k not in ks:
        raise UserError(f"--keep {request.k}: the probes of {request.run} estimate pass@k for k = {measured}; choose "
                        "one of these")


def _check_engine(engine: str, request: DialRequest) -> None:
    """Raises UserError for an engine that cannot draw from the merges: the base's probe does not show that."""
    if engine == "openai":
        raise UserError("probes.engine: found openai, whose server does not have the merges; add "
                        "probes.engine=transformers or vllm")
    if engine == "vllm" and adapter_of(str(request.trained[0])) is not None:
        raise UserError(f"{request.trained[0]}: holds adapters, which probes.engine=vllm does not load; add "
                        "probes.engine=transformers")


def _take_up(run: RunDir, mixed: dial_file.Mixed, models: Sequence[str]) -> None:
    """Let the dial in the directory go on, whose merges lie elsewhere than before if it was moved or named in another
    way. UserError if it is of other models. Without dial.json it was killed before its first merge."""
    if dial_file.is_dial(run.path):
        dial_file.read(run.path).check_same(mixed, run.path)
    elif not run.recipe.is_file():
        return
    start = run.read_recipe()
    stored = start["recipe"].get("probed") or []
    before = [stored] if isinstance(stored, str) else stored
    if before != list(models) and [Path(path).name for path in before] == [Path(path).name for path in models]:
        start["recipe"]["probed"] = models[0] if len(models) == 1 else list(models)
        run.write_json_atomic(run.recipe, {**start, CHECK: checksum(start)})


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
