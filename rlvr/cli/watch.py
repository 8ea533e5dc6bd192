"""`rlvr probe --watch DIR`: the probes of a training that goes on elsewhere, with its page and its W&B run."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rlvr.config.probe_recipe import ProbeRequest, data_of_sets, of_sets
from rlvr.config.sections import TrackingSection
from rlvr.config.strict import from_dict
from rlvr.probes.offline import probe
from rlvr.probes.world import launched
from rlvr.report.page import write_report
from rlvr.report.report import load_report
from rlvr.runs.run_dir import RunDir
from rlvr.training.wandb_run import WandbRun
from rlvr.types import UserError


def watch(
    request: ProbeRequest, folder: Path, output: Path, *, resume: bool, until: int | None, wandb: str | None
) -> None:
    """Probe the checkpoints in `folder` as they appear, into the run directory `output`; after each, its page is
    written and its numbers go to W&B.

    Of a run of rlvr its training metrics are copied beside the probes before each page, and it ends with the run's last
    step. Raises UserError for a folder that is the output, and with several processes.
    """
    if launched().size > 1:
        raise UserError("--watch: found several processes, expected one: it waits for hours, which they cannot do "
                        "together; start one, with probes.engine=vllm to use several GPUs")
    if output.resolve() == folder.resolve():
        raise UserError(f"--watch: {folder} is the output as well; choose another -o, as in -o {folder}-probed")
    run = RunDir(folder)
    stored = run.read_recipe()["recipe"] if run.recipe.is_file() else {}
    train = stored.get("train") or {}
    steps, every = train.get("steps"), train.get("save_every")
    tracking = from_dict(TrackingSection, stored.get("tracking") or {})
    mode: Any = wandb or (tracking.wandb if stored else "disabled")
    opened: list[WandbRun] = []

    def listeners(made: RunDir) -> Sequence[Callable[..., None]]:
        if mode != "disabled":
            opened.append(WandbRun(
                made, config=made.read_recipe(), mode=mode, name=made.path.name, project=tracking.project,
                entity=tracking.entity, group=tracking.group, tags=["watch", *tracking.tags],
                ks=sorted({k for one in of_sets(request.recipe).values() for k in one.probes.ks}),
                probe_sets=[name for name in data_of_sets(request.recipe) if name],
            ))

        def page(*_: Any, name: str) -> None:
            if name in made.sets:
                return  # the run's own set comes last, and is what makes the page
            if run.metrics.is_file():
                shutil.copyfile(run.metrics, made.metrics)
            write_report(load_report(made.path))

        return [page, *(one.log_probe for one in opened)]

    why: BaseException | None = None
    try:
        probe(request, output, resume=resume, watched=folder, until=steps if until is None else until,
              looks=math.ceil(steps / every) if steps and every else None, listeners=listeners)
    except BaseException as error:
        why = error
        raise
    finally:
        for one in opened:
            one.finish(why)
