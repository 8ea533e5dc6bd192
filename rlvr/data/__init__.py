"""Dataset rows -> Problem -> trainer columns: the lab, reasoning-gym, local files, datasets of the Hugging Face hub.

Every row must make a usable problem: a missing column, a row without a gold answer, an id given twice stop the run
with the place of the row. Nothing is skipped, but multiple-choice rows and bad golds (`drop_bad_golds`) on request.
Whether a gold answer can be *judged* is the verifier's `check_gold` (rlvr.golds).
"""

from rlvr.data.load import load_problems
from rlvr.data.problem_sets import check_overlap, problem_rows, problem_set_hash, question, to_columns
from rlvr.data.sources import jsonl_rows
from rlvr.data.spec import LAB, NEUTRAL_TEMPLATE, DataSpec, check_spec, is_file, on_disk_or_hub

__all__ = ["LAB", "NEUTRAL_TEMPLATE", "DataSpec", "check_overlap", "check_spec", "is_file", "jsonl_rows",
           "load_problems", "on_disk_or_hub", "problem_rows", "problem_set_hash", "question", "to_columns"]
