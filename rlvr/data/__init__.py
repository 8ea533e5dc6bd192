"""Dataset rows -> Problem -> trainer columns: the lab, reasoning-gym, local files, datasets of the Hugging Face hub.

Every row must make a usable problem: a missing column, a row without a gold answer, an id given twice stop the run
with the place of the row. Nothing is skipped, but multiple-choice rows and bad golds (`drop_bad_golds`) on request.
Whether a gold answer can be *judged* is the verifier's `check_gold` (rlvr.judging.golds).
"""

from rlvr._moved import moved_names

__getattr__ = moved_names(__name__, {
    "load_problems": "rlvr.data.load", "jsonl_rows": "rlvr.data.sources",
    **dict.fromkeys(("check_overlap", "problem_rows", "problem_set_hash", "question"), "rlvr.data.problem_sets"),
    **dict.fromkeys(("LAB", "NEUTRAL_TEMPLATE", "DataSpec", "check_spec", "is_file", "on_disk_or_hub"),
                    "rlvr.config.data"),
})
