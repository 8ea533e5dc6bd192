"""TRL's own loss, for the regression tests that compare it with ours: which algorithms it can express."""

from __future__ import annotations

from typing import Any

from rlvr.interfaces import Algorithm

TRL_LOSS_TYPE = {
    "token-mean": "dapo",
    "seq-mean-token-mean": "grpo",
    "seq-mean-token-sum-norm": "dr_grpo",
}


def check_trl_loss(algorithm: Algorithm[Any]) -> None:
    """Raises ValueError unless TRL's own loss is the one this algorithm asks for."""
    needs, spec = algorithm.needs, algorithm.loss
    own = [name for name, asked in (
        ("a critic", needs.values),
        ("a token_loss of its own", type(algorithm).token_loss is not Algorithm.token_loss),
        ("the KL in the reward", needs.ref_logps and not spec.kl_coef),
        ("a likelihood term", spec.nll_coef != 0),
        ("an entropy target", spec.entropy_target is not None),
        (f"KL {spec.kl_kind}", spec.kl_coef != 0 and spec.kl_kind != "k3"),
        (f"aggregation {spec.aggregation}", spec.aggregation not in TRL_LOSS_TYPE),
    ) if asked]
    if own:
        raise ValueError(f"TRL's loss has no {', '.join(own)}: {type(algorithm).__name__} needs loss='rlvr'")
