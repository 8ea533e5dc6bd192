"""Several runs on one page, arm by arm."""

from rlvr._moved import moved_names

__getattr__ = moved_names(__name__, dict.fromkeys(("write_comparison", "comparison_summary"),
                                                  "rlvr.report.comparison.page"))
