"""A check that the Configs of several algorithms share."""

from __future__ import annotations

from dataclasses import fields

from rlvr.interfaces import LossConfig
from rlvr.types import UserError


def refuse_unused(config: LossConfig, algorithm: str, *unused: str) -> None:
    """UserError if one of these fields was changed: the algorithm's own loss does not read it."""
    for knob in fields(config):
        value = getattr(config, knob.name)
        if knob.name in unused and value != knob.default:
            raise UserError(f"{algorithm}: {knob.name}={value} has no effect on this loss; remove it")
