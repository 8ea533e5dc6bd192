"""Which sandbox tiers this machine can have, for the tests that run once per tier.

A tier that cannot be had is skipped with the reason; that at least one holds is a test of its own
(test_sandbox.test_a_tier_holds_on_this_machine), so a machine where nothing was proven is red, not silent.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

import pytest

from rlvr.rewards.programs import landlock
from rlvr.rewards.programs.sandbox import TIERS


@cache
def missing(tier: str) -> str:
    """Why the machine, not our code, cannot have the tier; "" if it can."""
    if tier == "landlock":
        have = landlock.version()
        return "" if have >= landlock.NEEDED_VERSION else f"landlock version {have} of the kernel is too old"
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "bubblewrap is not installed (apt-get install bubblewrap)"
    trial = subprocess.run([bwrap, "--unshare-user", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "true"],
                           capture_output=True, text=True)
    return "" if trial.returncode == 0 else f"namespaces are not allowed: {trial.stderr.strip()}"


each_tier = pytest.mark.parametrize("tier", [
    pytest.param(tier, marks=pytest.mark.skipif(bool(missing(tier)), reason=f"{tier}: {missing(tier)}"))
    for tier in TIERS
])
