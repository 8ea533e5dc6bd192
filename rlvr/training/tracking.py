"""Where a training's numbers go: metrics.jsonl, a progress line, and the trackers of `tracking.to`.

The files are the record; trackers get the same rows. `rlvr.runs.metrics.GLOSSARY` defines every key that is logged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlvr.config.probe_recipe import data_of_sets, of_sets
from rlvr.runs.kept_checkpoints import delete_others
from rlvr.runs.metrics import metric_row
from rlvr.runs.rollouts import rollout_table
from rlvr.runs.run_dir import RunDir
from rlvr.training.progress_line import ProgressLine
from rlvr.training.trackers import Tracker, Trackers, scalar_tracker
from rlvr.training.wandb_run import WandbRun

if TYPE_CHECKING:
    from rlvr.config.recipe import Recipe


class MetricsCallback(TrainerCallback):
    """Writes metrics.jsonl on rank 0 and sends its rows to the trackers.

    A row holds the verdict reasons that have occurred in the run so far, also before a resume; 0 for one that has
    occurred and does not in this step.
    """

    def __init__(self, run_dir: RunDir, trackers: Tracker | None) -> None:
        self.run_dir = run_dir
        self.trackers = trackers
        self._seen: set[str] | None = None
        """Keys of all rows so far; read from the file when the first row is written."""

    def _without_unseen_reasons(self, row: dict[str, Any]) -> dict[str, Any]:
        if self._seen is None:
            self._seen = {key for before in self.run_dir.read_jsonl(self.run_dir.metrics) for key in before}
        self._seen |= {key for key, value in row.items() if value != 0 or not key.startswith("verdict/")}
        return {key: value for key, value in row.items() if key in self._seen}

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        row = self._without_unseen_reasons(metric_row(state.global_step, logs))
        self.run_dir.append_jsonl(self.run_dir.metrics, [row])
        if self.trackers is not None:
            self.trackers.log_metrics(row)


class RolloutTables(TrainerCallback):
    """Sends the trackers a table of the kept rollouts, at every checkpoint those since the one before: a resumed run
    goes on from the checkpoint, so none is sent twice or missing."""

    def __init__(self, run_dir: RunDir, trackers: Tracker) -> None:
        self.run_dir, self.trackers, self._sent = run_dir, trackers, 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._sent = state.global_step

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if rows := rollout_table(self.run_dir, after=self._sent, until=state.global_step):
            self.trackers.log_rollouts(state.global_step, rows)
        self._sent = state.global_step


class CheckpointMarker(TrainerCallback):
    """Writes the model card of every checkpoint, and marks the checkpoint once it is written completely, so that a
    resume never reads half of one. Then deletes the checkpoints that `rlvr.runs.kept_checkpoints` does not keep; with
    `newest` None they are left to the trainer."""

    def __init__(self, run_dir: RunDir, *, newest: int | None = None, rules: Sequence[str] = ()) -> None:
        self.run_dir = run_dir
        self.newest, self.rules = newest, rules

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            from rlvr.report.card import write_card

            checkpoint = self.run_dir.checkpoint(state.global_step)
            write_card(self.run_dir.path, checkpoint)
            self.run_dir.mark_complete(checkpoint)
            if self.newest is not None:
                delete_others(self.run_dir, newest=self.newest, rules=self.rules)


@contextmanager
def tracked(recipe: Recipe, run_dir: RunDir, *, main: bool = True) -> Iterator[tuple[ProgressLine, Trackers | None]]:
    """The progress line of a training and, on the main process, its trackers. Both end with the block; an exception
    marks the run there as failed."""
    tracking, trackers, why = recipe.tracking, None, None
    if main and (kinds := [kind for kind in tracking.to if kind != "wandb" or tracking.wandb != "disabled"]):
        trackers = Trackers([_tracker(kind, recipe, run_dir) for kind in kinds])
    progress = ProgressLine()
    try:
        yield progress, trackers
    except BaseException as error:
        why = error
        raise
    finally:
        progress.close()
        if trackers is not None:
            trackers.finish(why)


def _tracker(kind: str, recipe: Recipe, run_dir: RunDir) -> Tracker:
    tracking, config, name = recipe.tracking, run_dir.read_recipe(), recipe.run_path.name
    if kind != "wandb":
        return scalar_tracker(kind, run_dir, name=name, project=tracking.project, group=tracking.group, config=config)
    return WandbRun(
        run_dir, config=config, mode=tracking.wandb, name=name, project=tracking.project, entity=tracking.entity,
        group=tracking.group, tags=[recipe.algorithm_name, *tracking.tags],
        ks=sorted({k for one in of_sets(recipe).values() for k in one.probes.ks}),
        probe_sets=[name for name in data_of_sets(recipe) if name],
    )
