"""rlvr: reinforcement learning with verifiable rewards, with the reasoning boundary measured while it runs.

The names below are what code outside this package needs. Each is imported when it is first used, so `import rlvr` is
instant and loads neither torch nor wandb. All else is imported from the module that defines it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rlvr import _moved

if TYPE_CHECKING:
    from rlvr.algorithms.checks import check_algorithm
    from rlvr.config.recipe import load_recipe
    from rlvr.interfaces import Algorithm, Sampler, Verifier
    from rlvr.judging.judge import Judge
    from rlvr.probes.callback import BoundaryProbeCallback
    from rlvr.statistics.pass_at_k import pass_at_k
    from rlvr.statistics.plan import SamplingPlan
    from rlvr.training.trainer import RLVRTrainer
    from rlvr.types import Completion, Counts, Decoding, Estimate, Problem, Reason, UserError, Verdict

__all__ = ["Algorithm", "BoundaryProbeCallback", "Completion", "Counts", "Decoding", "Estimate", "Judge", "Problem",
           "RLVRTrainer", "Reason", "Sampler", "SamplingPlan", "UserError", "Verdict", "Verifier", "check_algorithm",
           "load_recipe", "pass_at_k"]

_MODULES = {
    "rlvr.types": "Completion Counts Decoding Estimate Problem Reason UserError Verdict",
    "rlvr.interfaces": "Algorithm Sampler Verifier",
    "rlvr.algorithms.checks": "check_algorithm",
    "rlvr.config.recipe": "load_recipe",
    "rlvr.judging.judge": "Judge",
    "rlvr.statistics.pass_at_k": "pass_at_k",
    "rlvr.statistics.plan": "SamplingPlan",
    "rlvr.probes.callback": "BoundaryProbeCallback",
    "rlvr.training.trainer": "RLVRTrainer",
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names.split()}

_moved.install()


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'rlvr' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
