"""The `rlvr` command: one file per verb."""
