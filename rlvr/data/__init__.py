"""Dataset rows -> Problem -> trainer columns: the lab, reasoning-gym, local files, datasets of the Hugging Face hub.

Every row must make a usable problem: a missing column, a row without a gold answer, an id given twice stop the run
with the place of the row. Nothing is skipped, but multiple-choice rows and bad golds (`drop_bad_golds`) on request.
Whether a gold answer can be *judged* is the verifier's `check_gold` (rlvr.judging.golds).
"""
