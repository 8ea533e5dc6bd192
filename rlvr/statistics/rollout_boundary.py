"""pass@k of the training prompts, from the rollouts of a step: free, as every group is drawn anyway.

These are training problems, at the training's temperature and by a model that learns from them: another number than a
probe's. A group of G rollouts gives unbiased pass@k up to k = G; beyond that there is only a prediction, of a Beta
fitted to the counts of the step (rlvr.statistics.prediction), with an interval that assumes this shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlvr.statistics.pass_at_k import pass_at_k
from rlvr.statistics.prediction import Prediction, fit_beta, predict_pass_at_k
from rlvr.types import Counts

PREDICTED_K = 256


def rollout_pass_at_k(correct_P: Sequence[int], group_size: int) -> dict[int, float]:
    """k -> mean unbiased pass@k over the prompts of a step, for k = 2, 4, 8, ... and the group size.

    Args:
        correct_P: right rollouts of each prompt, all of whose `group_size` rollouts were judged.

    Returns: {} without prompts, and for groups of one.
    """
    if not len(correct_P):
        return {}
    ks = {2**i for i in range(1, group_size.bit_length())} | ({group_size} if group_size > 1 else set())
    correct = np.asarray(correct_P, dtype=np.int64)
    return {k: float(pass_at_k(group_size, correct, k).mean()) for k in sorted(ks)}


def predicted_pass_at_k(correct_P: Sequence[int], group_size: int, k: int = PREDICTED_K) -> Prediction | None:
    """Mean pass@k of such prompts, predicted from the rollouts of a step.

    None: the counts determine no Beta (none or all are right, or prompts differ no more than by chance), or k can be
    measured.
    """
    if k <= group_size or not len(correct_P):
        return None
    fit = fit_beta([Counts(str(i), group_size, int(c)) for i, c in enumerate(correct_P)])
    return None if fit is None else predict_pass_at_k(fit, k, group_size)
