"""Old import paths keep working: `rlvr.judge` forwards to `rlvr.judging.judge` with a DeprecationWarning.

An import that nothing else can answer is looked up in `MOVED`. What it finds there is an empty module that fetches a
name from the new place when it is asked for, so an old path loads no more than the new one. Remove an entry, or this
file, when the old paths are no longer wanted.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "algorithm_checks": "algorithms.checks",
    "audit": "judging.audit",
    "catalog": "cli.catalog",
    "compare": "config.comparison cli.comparison_runs",
    "completions": "data.completions",
    "critic": "training.critic",
    "data.spec": "config.data",
    "forecast": "config.algorithm cli.forecast",
    "golds": "judging.golds",
    "judge": "judging.judge",
    "lab.distill": "training.distillation",
    "loading": "models.loading",
    "loss": "training.loss",
    "offline_probe": "probes.offline",
    "perplexity": "probes.perplexity",
    "perturb": "judging.wrong_answers",
    "presets": "config.presets",
    "probe_arms": "probes.conditions",
    "probe_budget": "probes.budget_checks statistics.schedule",
    "probe_recipe": "cli.probe_request config.data config.probe_recipe",
    "probe_settings": "probes.settings",
    "probes.answers": "statistics.answer_diversity",
    "probes.boundary": "statistics.boundary_row",
    "probes.budget": "statistics.schedule",
    "probes.companions": "statistics.companions",
    "probes.direct_answer": "statistics.direct_answer",
    "probes.false_positives": "statistics.false_positives",
    "probes.g_pass": "statistics.stability",
    "probes.guess": "statistics.guess",
    "probes.hierarchical": "statistics.seeds",
    "probes.journal": "runs.samples",
    "probes.ledger": "statistics.ledger",
    "probes.mixture": "statistics.accuracy_distribution",
    "probes.monitor": "statistics.verdicts",
    "probes.paired_tests": "statistics.paired_tests",
    "probes.pass_at_k": "statistics.pass_at_k",
    "probes.plan": "statistics.plan",
    "probes.prediction": "statistics.prediction",
    "probes.probe": "probes.engine probes.world",
    "probes.solvable": "statistics.solvable",
    "probes.statistics": "statistics.intervals",
    "probes.weights": "models.weights",
    "problem_checks": "models.prompts",
    "recipe": "config.recipe config.sections config.data config.rewards config.probes config.algorithm config.steps",
    "registry": "config.registry",
    "report.arms": "report.comparison.arms",
    "report.comparison_figures": "report.comparison.figures",
    "report.comparison_tables": "report.comparison.tables",
    "report.comparison_words": "report.comparison.words",
    "report.folded": "report.comparison.folded",
    "report.standings": "report.comparison.standings",
    "rewards._code_rows": "rewards.programs.code_rows",
    "rollouts": "training.prompt_stream training.dynamic_sampling",
    "run_dir": "runs.run_dir",
    "samplers": "models.sampler models.seeded models.prompts",
    "tracking": "training.tracking training.wandb_run runs.metrics training.progress_line",
    "trainer": "training.trainer training.trl_settings training.seams training.step",
    "training_arguments": "training.arguments",
}
"""Old module -> where its names are now, the likeliest place first; both without `rlvr.`"""


class _Forwarder(MetaPathFinder, Loader):
    """Finds the modules of `MOVED`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, old = fullname.partition(".")
        return ModuleSpec(fullname, self) if package == "rlvr" and old in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        places = MOVED[module.__name__.removeprefix("rlvr.")].split()
        module.__file__ = __file__
        module.__doc__ = f"Moved to {' and '.join(f'rlvr.{place}' for place in places)}."

        def fetch(name: str) -> Any:
            if not name.startswith("__"):
                for place in places:
                    found = import_module(f"rlvr.{place}")
                    if hasattr(found, name):
                        _warn(f"{module.__name__}.{name}", f"{found.__name__}.{name}")
                        return getattr(found, name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}. {module.__doc__}")

        vars(module)["__getattr__"] = fetch


def moved_names(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a package that used to hold names: `places` maps each name to the module it is in now."""

    def fetch(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        _warn(f"{package}.{name}", f"{places[name]}.{name}")
        return getattr(import_module(places[name]), name)

    return fetch


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is now {new}", DeprecationWarning, stacklevel=3)


def install() -> None:
    """Let the import system ask here last. Once per process."""
    if not any(isinstance(finder, _Forwarder) for finder in sys.meta_path):
        sys.meta_path.append(_Forwarder())
