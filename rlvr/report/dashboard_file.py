"""A dashboard on disk, and from there in W&B. The JSON beside the runs is its definition and knows where it was saved.

W&B is asked only by `apply`. The second time it updates the workspace and the report that it made the first time.
"""

from __future__ import annotations

import contextlib
import io
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.report.dashboard import Logged, logged, report, workspace
from rlvr.runs.run_dir import write_json_atomic
from rlvr.types import UserError

NAME = "dashboard.json"
UNKNOWN = "your-entity"
"""Stands for the account's default entity until W&B is asked for it."""


class Dashboard:
    """The workspace of some runs and, with `text` (Markdown), a report that begins with it.

    `entity` and `project`: None stands for those of the runs. Raises UserError for runs of several projects and for a
    run without metrics.
    """

    def __init__(
        self, run_dirs: Sequence[Path], *, name: str, entity: str | None = None, project: str | None = None,
        text: str = "",
    ) -> None:
        self.run_dirs, self.name, self.text = list(run_dirs), name, text
        self.runs: list[Logged] = [logged(run_dir) for run_dir in run_dirs]
        projects = sorted({run.project for run in self.runs})
        if len(projects) > 1 and not project:
            raise UserError(f"the runs are in several projects ({', '.join(projects)}), and a workspace shows one; "
                            "give --project")
        self.project = project or projects[0]
        self.entity = entity or next((run.entity for run in self.runs if run.entity), None)

    def write(self, path: Path) -> None:
        """Write the definition without asking W&B: the workspace as the package `wandb-workspaces` would send it. A
        report has the panels of its first two sections, and can only be spelt out where W&B names the project."""
        write_json_atomic(path, {
            "name": self.name, "entity": self.entity, "project": self.project,
            "runs": [str(run_dir) for run_dir in self.run_dirs],
            "workspace": _spec(self._workspace(self.entity or UNKNOWN)),
            "report": {"title": self.name, "text": self.text} if self.text else None,
            "saved": _saved(path),
        })

    def apply(self, path: Path) -> list[str]:
        """Make or update workspace and report in W&B; returns their addresses and keeps them in the file.

        Raises UserError for what W&B refuses. Needs an API key: without one the wandb client would ask for it.
        """
        import wandb

        saved = _saved(path)
        self.write(path)  # also for the case that W&B refuses
        try:
            # The client prints an address of its own.
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                self.entity = self.entity or wandb.Api().default_entity
                made = {"workspace": self._save_workspace(str(self.entity), saved.get("workspace"))}
                if self.text:
                    made["report"] = self._save_report(str(self.entity), saved.get("report"))
        except (wandb.Error, ValueError, OSError) as error:
            raise UserError(f"W&B refused the dashboard: {str(error).splitlines()[0]}; its definition is in {path}"
                            ) from None
        self.write(path)
        write_json_atomic(path, json.loads(path.read_text()) | {"saved": saved | made})
        return list(made.values())

    def _workspace(self, entity: str) -> Any:
        return workspace(self.runs, name=self.name, entity=entity, project=self.project)

    def _report(self, entity: str) -> Any:
        return report(self.runs, name=self.name, entity=entity, project=self.project, text=self.text)

    def _save_workspace(self, entity: str, url: str | None) -> str:
        from wandb_workspaces.workspaces import Workspace

        made = self._workspace(entity)
        if url is None:
            # The package's own names are of letters, and for the address it takes each "nw-" out: an end in nw is lost.
            made._internal_name = f"nw-{secrets.token_hex(6)}-v"
        else:
            there = Workspace.from_url(url)
            there.name, there.sections = made.name, made.sections
            there.settings, there.runset_settings = made.settings, made.runset_settings
            made = there
        return str(made.save().url)

    def _save_report(self, entity: str, url: str | None) -> str:
        from wandb_workspaces.reports.v2.interface import Report

        made = self._report(entity)
        if url is not None:
            there: Any = Report.from_url(url)
            there.title, there.blocks = made.title, made.blocks
            made = there
        return str(made.save().url)


def _spec(made: Any) -> dict[str, Any]:
    """What a workspace is to W&B."""
    return json.loads(made._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))


def _saved(path: Path) -> dict[str, str]:
    """Addresses that the definition at `path` was saved under; {} without any."""
    return json.loads(path.read_text()).get("saved") or {} if path.is_file() else {}
