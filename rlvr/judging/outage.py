"""Tell a verifier that is down from completions that take too long.

A verifier may ask a service (a reward model, a sandbox on another host). While that hangs, every verdict would be
`timeout`: wrong, with a reward of 0. When many verdicts of a batch time out, some gold answers are judged again. They
were correct before the run began; if they time out now, the verifier is down and the batch is not judged yet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from rlvr.judging.pool import Item
from rlvr.types import Reason, UserError

log = logging.getLogger("rlvr.judging.judge")

LEAST, SHARE = 8, 0.5
"""Timeouts in a batch, and their share of it, from which on the gold answers are asked."""
GOLDS = 3
"""Gold answers that are judged again."""
PAUSES = (15.0, 60.0, 300.0, 900.0)
"""Seconds between the attempts to judge the batch again, before the run stops."""


def wait_out(
    name: str, items: Sequence[Item], run: Callable[[list[Item]], None], sleep: Callable[[float], None],
    pauses: Sequence[float] = PAUSES,
) -> None:
    """Judge the items of one verifier that timed out again, once it answers, if they are many.

    `items` are those that were computed in this call; `run` sets their verdicts. Raises UserError when the verifier
    still does not answer after the last pause.
    """
    late = [item for item in items if item.verdict is not None and item.verdict.reason is Reason.TIMEOUT]
    if len(late) < max(LEAST, SHARE * len(items)):
        return
    for attempt, pause in enumerate(pauses, start=1):
        if not _golds_time_out(late, run):
            break
        log.error("verifier %s does not answer: %d of %d verdicts timed out, and so did the gold answers, which passed "
                  "before; these are not judged yet, trying again in %g s (%d of %d)", name, len(late), len(items),
                  pause, attempt, len(pauses))
        sleep(pause)
    else:
        if _golds_time_out(late, run):
            raise UserError(f"verifier {name!r} does not answer: {len(late)} of {len(items)} verdicts timed out, and "
                            f"so did the gold answers, {len(pauses) + 1} times in a row; restore the service it asks, "
                            "then continue the run with --resume")
    for item in late:
        item.verdict = None
    run(late)  # what times out once more while the gold answers do not is wrong


def _golds_time_out(late: Sequence[Item], run: Callable[[list[Item]], None]) -> bool:
    problems = {item.problem: item.label for item in late}
    golds = [Item(problem, label, None) for problem, label in list(problems.items())[:GOLDS]]
    run(golds)
    return all(gold.verdict is not None and gold.verdict.reason is Reason.TIMEOUT for gold in golds)
