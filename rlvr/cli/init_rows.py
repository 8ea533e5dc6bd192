"""How many rows of one's own a recipe can use: those whose gold answer the verifier accepts."""

from __future__ import annotations

from typing import Any

from rlvr.config.data import DataSpec
from rlvr.config.strict import from_dict
from rlvr.data.load import load_problems
from rlvr.judging.judge import Judge
from rlvr.types import UserError

TRIED = 2000
"""Gold answers that are judged, of each section: enough for the batch, and a few seconds."""


def usable_rows(data: dict[str, Any]) -> tuple[int, list[str]]:
    """(problems to train on, notes for the recipe's header). Sets `drop_bad_golds` in a section that has rows without a
    gold answer that can be judged.

    Raises: UserError for rows that cannot be read, and for a section of which no row is left.
    """
    to_train, notes = 0, []
    with Judge(workers=1) as judge:
        for key in ("train", "probe"):
            without_gold: list[str] = []
            problems = load_problems(from_dict(DataSpec, data[key], f"data.{key}"), where=f"data.{key}",
                                     without_gold=without_gold)
            tried = problems[:TRIED]
            complaints = [complaint for complaint in judge.check_golds(tried) if complaint is not None]
            bad, rows = len(complaints) + len(without_gold), len(tried) + len(without_gold)
            if bad == rows:
                raise UserError(f"no row of {rows} in data.{key} has a gold answer that can be judged: "
                                f"{(complaints or without_gold)[0]}", where="--data")
            if bad:
                more = f" ({len(problems) - len(tried)} more were not tried)" if len(problems) > len(tried) else ""
                data[key]["drop_bad_golds"] = True
                notes.append(f"data.{key}: the gold answers of {bad} of {rows} rows cannot be judged{more}; "
                             "drop_bad_golds leaves them out (rlvr audit lists them).")
            to_train += (len(problems) - len(complaints)) * (key == "train")
    return to_train, notes
