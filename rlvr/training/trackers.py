"""Other places than W&B for a training's numbers: Trackio, TensorBoard, MLflow. Same keys, steps and config.

They get the scalars and the rollouts; the figures are W&B's and the report's. Each package is imported only when it is
used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any, Protocol

from rlvr.runs.metrics import flat_boundary
from rlvr.runs.run_dir import RunDir, flat
from rlvr.types import UserError

PACKAGES = {"trackio": "trackio", "tensorboard": "tensorboard", "mlflow": "mlflow"}
"""What `tracking.to` may name beside wandb -> the module that it needs; the extra of rlvr has the same name."""
ROLLOUTS = "train/rollouts"
"""Name of the table of rollouts."""
MLFLOW_VALUE = 6000
"""Characters of a parameter that MLflow stores."""


class Tracker(Protocol):
    """What a training tells a tracker."""

    def log_metrics(self, row: dict[str, Any]) -> None: ...

    def log_probe(self, row: dict[str, Any], problem_rows: list[dict[str, Any]], name: str = "") -> None: ...

    def log_arm(self, arm: str, row: dict[str, Any], problem_rows: list[dict[str, Any]]) -> None: ...

    def log_rollouts(self, step: int, rows: list[dict[str, Any]]) -> None: ...

    def finish(self, why: BaseException | None = None) -> None: ...


class Trackers:
    """Several trackers as one."""

    def __init__(self, trackers: Iterable[Tracker]) -> None:
        self.trackers = list(trackers)

    def log_metrics(self, row: dict[str, Any]) -> None:
        """A row of metrics.jsonl."""
        for tracker in self.trackers:
            tracker.log_metrics(row)

    def log_probe(self, row: dict[str, Any], problem_rows: list[dict[str, Any]], name: str = "") -> None:
        """A row of boundary.jsonl with its rows of probes.jsonl; `name` of the probe set, if there are several."""
        for tracker in self.trackers:
            tracker.log_probe(row, problem_rows, name)

    def log_arm(self, arm: str, row: dict[str, Any], problem_rows: list[dict[str, Any]]) -> None:
        """The same of another condition (`probes.arms`)."""
        for tracker in self.trackers:
            tracker.log_arm(arm, row, problem_rows)

    def log_rollouts(self, step: int, rows: list[dict[str, Any]]) -> None:
        """Kept rollouts up to `step` as a table: rows with the same keys."""
        for tracker in self.trackers:
            tracker.log_rollouts(step, rows)

    def finish(self, why: BaseException | None = None) -> None:
        """End all; `why` is the exception that ended the training early."""
        for tracker in self.trackers:
            tracker.finish(why)


class Scalars:
    """A tracker that takes numbers: `log` gets {key: value} and the step, `table` rows and the step, `close` whether
    the training failed."""

    def __init__(
        self, log: Callable[[dict[str, float], int], None], table: Callable[[list[dict[str, Any]], int], None],
        close: Callable[[bool], None],
    ) -> None:
        self._log, self._table, self._close = log, table, close

    def log_metrics(self, row: dict[str, Any]) -> None:
        self._log({key: value for key, value in row.items() if key != "step" and value is not None}, row["step"])

    def log_probe(self, row: dict[str, Any], problem_rows: list[dict[str, Any]], name: str = "") -> None:
        self._log(flat_boundary(row, name), row["step"])

    def log_arm(self, arm: str, row: dict[str, Any], problem_rows: list[dict[str, Any]]) -> None:
        values = flat_boundary(row).items()
        self._log({f"arms/{arm}/{key.removeprefix('boundary/')}": value for key, value in values}, row["step"])

    def log_rollouts(self, step: int, rows: list[dict[str, Any]]) -> None:
        self._table(rows, step)

    def finish(self, why: BaseException | None = None) -> None:
        self._close(why is not None)


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys as a Markdown table: what would end a cell or begin a format is escaped."""
    def line(values: Iterable[Any]) -> str:
        return f"| {' | '.join(_cell(value) for value in values)} |"

    return "\n".join([line(rows[0]), f"|{' --- |' * len(rows[0])}", *(line(row.values()) for row in rows)])


def _cell(value: Any) -> str:
    text = "" if value is None else re.sub(r"([\\`*_\[\]<>|$~#])", r"\\\1", str(value))
    return "<br>".join(text.splitlines())


def check_installed(names: Iterable[str]) -> None:
    """Raises UserError for a tracker of `tracking.to` whose package is missing. Imports none of them."""
    for name in names:
        if name in PACKAGES and find_spec(PACKAGES[name]) is None:
            raise UserError(f"tracking.to: {name} is not installed; pip install 'rlvr[{name}]', or take it out")


def scalar_tracker(
    kind: str, run_dir: RunDir, *, name: str, project: str, group: str | None, config: Mapping[str, Any]
) -> Scalars:
    """The tracker called `kind` for this run, new or resumed."""
    makers = {"trackio": _trackio, "tensorboard": _tensorboard, "mlflow": _mlflow}
    return makers[kind](run_dir, name, project, group, config)


def _trackio(run_dir: RunDir, name: str, project: str, group: str | None, config: Mapping[str, Any]) -> Scalars:
    import trackio  # pyright: ignore[reportMissingImports]

    trackio.init(project=project, name=name, group=group, config=dict(config), resume="allow", embed=False)

    def table(rows: list[dict[str, Any]], step: int) -> None:
        data = [list(row.values()) for row in rows]
        trackio.log({ROLLOUTS: trackio.Table(columns=list(rows[0]), data=data)}, step=step)

    return Scalars(lambda values, step: trackio.log(values, step=step), table, lambda failed: trackio.finish())


def _tensorboard(run_dir: RunDir, name: str, project: str, group: str | None, config: Mapping[str, Any]) -> Scalars:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(run_dir.path / "tensorboard"))
    writer.add_text("recipe", f"```json\n{json.dumps(config, indent=2)}\n```")

    def log(values: dict[str, float], step: int) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, step)
        writer.flush()

    def table(rows: list[dict[str, Any]], step: int) -> None:
        writer.add_text(ROLLOUTS, markdown_table(rows), step)
        writer.flush()

    return Scalars(log, table, lambda failed: writer.close())


def mlflow_key(key: str) -> str:
    """MLflow allows no @, and its file store no metric below another: pass@256/low is pass_at_256.low there."""
    return re.sub(r"/(low|high)$", r".\1", key.replace("@", "_at_"))


def _mlflow(run_dir: RunDir, name: str, project: str, group: str | None, config: Mapping[str, Any]) -> Scalars:
    import mlflow  # pyright: ignore[reportMissingImports]

    mlflow.set_experiment(project)
    id_file = run_dir.path / "mlflow_id"
    known = id_file.read_text().strip() if id_file.is_file() else None
    run = mlflow.start_run(run_id=known, run_name=None if known else name, tags={"group": group} if group else None)
    if known is None:
        id_file.write_text(run.info.run_id)
        mlflow.log_params({key: str(value)[:MLFLOW_VALUE] for key, value in flat(config).items()})
    return Scalars(
        lambda values, step: mlflow.log_metrics({mlflow_key(key): v for key, v in values.items()}, step=step),
        lambda rows, step: mlflow.log_table({key: [row[key] for row in rows] for key in rows[0]},
                                            f"rollouts/step-{step:06d}.json"),
        lambda failed: mlflow.end_run("FAILED" if failed else "FINISHED"),
    )
