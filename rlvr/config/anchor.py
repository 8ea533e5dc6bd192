"""The section `train.anchor`: weights that are pulled back while they train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rlvr.config.fields import AtLeastOne, PositiveShare, ShareBelowOne


@dataclass(frozen=True, slots=True)
class AnchorSpec:
    """Every few updates the weights move a share of the way back to an anchor (as in WARP, 2406.16768). The moments of
    the optimizer stay as they are: they estimate gradients, which a short move changes little."""

    share: PositiveShare
    """How far back, in (0, 1]; 1: all the way."""
    every: AtLeastOne = 1
    """Updates between the moves."""
    to: Literal["base", "average"] = "base"
    """`base`: the weights at the start of the training; with LoRA, the adapter is scaled by 1 - share. `average`: an
    exponential average of the weights after every update, which begins at the base; not with LoRA. Either is one more
    copy of the weights in float32, in memory and in each checkpoint (none with LoRA)."""
    decay: ShareBelowOne = 0.99
    """Of `average`: what it keeps of itself at each update, in [0, 1)."""
