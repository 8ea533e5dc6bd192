"""A run in Weights & Biases: its metrics, the report's figures, tables of samples and of lost and gained problems."""

from __future__ import annotations

import math
import netrc
import os
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from rlvr.runs.metrics import GLOSSARY, flat_boundary, verdict_words
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples
from rlvr.training.alerts import Alerts, stopped_early
from rlvr.training.trackers import ROLLOUTS

if TYPE_CHECKING:
    from rlvr.report.load import Run


def telling_samples(samples: Iterable[dict[str, Any]], problems: int = 32) -> list[dict[str, Any]]:
    """The first right and the first wrong completion of each of the first `problems` problems."""
    chosen: dict[tuple[str, bool], dict[str, Any]] = {}
    shown: dict[str, None] = {}
    for sample in samples:
        if len(shown) < problems:
            shown.setdefault(sample["problem_id"])
        if sample["problem_id"] in shown:
            chosen.setdefault((sample["problem_id"], sample["correct"]), sample)
    return list(chosen.values())


def below(fig: Any, text: str) -> Any:
    """The Plotly figure with a line of small print under it."""
    fig.add_annotation(text=text, x=0, y=0, xref="paper", yref="paper", yshift=-62, xanchor="left", showarrow=False,
                       font={"size": 10})
    return fig.update_layout(margin_b=76, height=fig.to_dict()["layout"]["height"] + 32)


def has_wandb_key() -> bool:
    """Whether there is an API key, in the environment or in the netrc file that `wandb login` writes. Neither the
    network nor the user is asked."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    files = [os.environ["NETRC"]] if "NETRC" in os.environ else ["~/.netrc", "~/_netrc"]
    existing = [file for file in (Path(name).expanduser() for name in files) if file.is_file()]
    try:
        return bool(existing) and netrc.netrc(existing[0]).authenticators(host) is not None
    except (netrc.NetrcParseError, OSError):
        return False


def online() -> bool:
    """Whether W&B can be asked without asking the user: there is a key, and WANDB_MODE does not forbid it."""
    return has_wandb_key() and os.environ.get("WANDB_MODE", "online") == "online"


WandbMode = Literal["auto", "online", "offline", "disabled"]


class WandbRun:
    """One W&B run, online or offline. Mode `auto` is online if an API key is configured; it never asks for one."""

    def __init__(
        self,
        run_dir: RunDir,
        *,
        config: dict[str, Any],
        mode: WandbMode,
        name: str,
        project: str,
        entity: str | None,
        group: str | None,
        tags: Sequence[str],
        ks: Sequence[int],
        probe_sets: Sequence[str] = (),
    ) -> None:
        import wandb

        if mode == "auto":
            mode = "online" if online() else "offline"
        id_file = run_dir.path / "wandb_id"
        if not id_file.exists():
            id_file.write_text(uuid.uuid4().hex[:8])
        self._wandb = wandb
        self._run_dir = run_dir
        self._curves: dict[str, list[tuple[int, list[float]]]] = {}
        self._ledger: dict[str, list[list[Any]]] = {}
        self._step = 0
        self._alerts = Alerts(run_dir.read_jsonl(run_dir.boundary))
        self.run = wandb.init(
            mode=mode,
            dir=str(run_dir.path),
            id=run_dir.wandb_id,
            resume="allow" if mode == "online" else None,
            name=name,
            project=project,
            entity=entity,
            group=group,
            tags=list(tags),
            config=config,
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.run.define_metric("step", hidden=True)
        families = {f"boundary/pass@{k}": "higher" for k in ks}
        families |= {f"boundary/{name}@{k}": "lower" for k in ks for name in ("shrinkage", "verdict")}
        known = {k: v for k, (_, v) in GLOSSARY.items()} | families
        for name in probe_sets:
            known |= {key.replace("/", f"/{name}/", 1): v for key, v in known.items() if key.startswith("boundary/")
                      and key.count("/") == 1}
        for key, direction in known.items():
            summary = {"higher": "max,last", "lower": "min,last", "": "last"}[direction]
            self.run.define_metric(key, step_metric="step", summary=summary)
        for pattern in ("train/*", "perf/*", "verdict/*", "boundary/*", "exact/*", "arms/*", "figures/*"):
            self.run.define_metric(pattern, step_metric="step")

    def log_metrics(self, row: dict[str, Any]) -> None:
        """A row of metrics.jsonl."""
        self.run.log({k: v for k, v in row.items() if v is not None})
        self._step = row["step"]
        for alert in self._alerts.on_metrics(row):
            self.run.alert(*alert)

    def log_probe(self, row: dict[str, Any], problem_rows: list[dict[str, Any]], name: str = "") -> None:
        """A row of boundary.jsonl: scalars, the pass@k curves of the probes so far, ledger, the report's figures. Of
        several probe sets, `name` is part of each key; alerts are of the first, the run's own."""
        from rlvr.report.changes import change
        from rlvr.report.load import load_run

        home = self._run_dir.sets.get(name, self._run_dir)
        wandb, step, run, of_set = self._wandb, row["step"], load_run(home.path), f"{name}/" if name else ""
        curves, ledger = self._curves.setdefault(name, []), self._ledger.setdefault(name, [])
        ks = sorted(int(key.split("@")[1]) for key in row["estimates"] if key.startswith("boundary/pass@"))
        curves.append((step, [row["estimates"][f"boundary/pass@{k}"]["value"] for k in ks]))
        status = dict.fromkeys(row["lost"], "lost") | dict.fromkeys(row["gained"], "gained")
        ledger += [[step, r["problem_id"], r["n"], r["c"], status.get(r["problem_id"], "")] for r in problem_rows]
        columns: list[Any] = ["problem_id", "sample", "text", "correct", "reason", "extracted", "tokens"]
        # Under a budget the base's file holds more problems than the run keeps.
        kept = {r["problem_id"] for r in problem_rows}
        samples = (s for s in read_samples(home.samples(step)) if s["problem_id"] in kept)
        examples = [[s[c] for c in columns] for s in telling_samples(samples)]
        self.run.log(
            {
                "step": step,
                **flat_boundary(row, name),
                f"boundary/{of_set}pass@k curves": wandb.plot.line_series(
                    xs=[math.log2(k) for k in ks],
                    ys=[ys for _, ys in curves],
                    keys=[f"step {s}" for s, _ in curves],
                    title=f"pass@k by probe step{f', {name}' if name else ''}",
                    xname="log2 k",
                ),
                f"boundary/{of_set}ledger": wandb.Table(columns=["step", "problem", "n", "c", "vs base"], data=ledger),
                f"boundary/{of_set}samples": wandb.Table(columns=columns, data=examples),
                **{f"figures/{of_set}{what}": wandb.Plotly(fig) for what, fig in self._figures(run).items()},
            }
        )
        if row["sequential"]:
            self.run.summary[f"boundary/{of_set}verdict"] = verdict_words(row)
        if home is not self._run_dir:
            return
        for alert in self._alerts.on_probe(row, change(run, run.last, 1) if run.last else None):
            self.run.alert(*alert)

    def log_arm(self, arm: str, row: dict[str, Any], problem_rows: list[dict[str, Any]]) -> None:
        """A boundary row of an arm (`probes.arms`): scalars under arms/NAME and the report's figures of the arm."""
        from rlvr.report.condition_figures import changes_by_k, curves_of
        from rlvr.report.conditions import load_conditions, with_own
        from rlvr.report.load import load_run

        run = load_run(self._run_dir.path)
        found = with_own(run, load_conditions(run))
        said = {one.name: f"{one.decoding}; {one.measured}" for one in found}
        figures = {f"figures/arm {name}": below(fig, said[name])
                   for name, _, fig in curves_of(found) if name == arm}
        if run.last is not None and found:
            figures["figures/arms change"] = below(changes_by_k(found), "; ".join(said))
        scalars = {f"arms/{arm}/{key.removeprefix('boundary/')}": value for key, value in flat_boundary(row).items()}
        plots = {name: self._wandb.Plotly(fig) for name, fig in figures.items()}
        self.run.log({"step": row["step"], **scalars, **plots})

    def log_rollouts(self, step: int, rows: list[dict[str, Any]]) -> None:
        """Kept rollouts as a table."""
        table = self._wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
        self.run.log({"step": step, ROLLOUTS: table})

    def _figures(self, run: Run) -> dict[str, Any]:
        """The report's figures of the probes so far, each with how it was measured written below it."""
        from rlvr.report import figures
        from rlvr.report.export import how_measured
        from rlvr.report.panels import over_steps
        from rlvr.report.style import TRAINED

        over = {"delta_se": "delta_se", "pass@1": "pass@1", "pass@k_max": f"pass@{run.k_max}"}
        found = {"pass@k": figures.pass_at_k(run), "accuracies": figures.accuracy_histogram(run),
                 **{name: over_steps(run, {metric: (metric, TRAINED)}) for name, metric in over.items()}}
        if run.last is not None:
            found["change"] = figures.change_by_k(run)
        return {name: below(fig, how_measured(run)) for name, fig in found.items()}

    def finish(self, why: BaseException | None = None) -> None:
        """End the run; as failed, with an alert, if an exception ended the training."""
        if why is not None:
            self.run.alert(*stopped_early(self._step, why))
        self.run.finish(exit_code=int(why is not None))
