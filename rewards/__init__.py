"""Verifiers: one small file each, named in `rlvr.config.registry` or by a plug-in's entry point."""

if __name__ != "rlvr.rewards":
    raise ImportError(f"this folder is the package rlvr.rewards: write `import rlvr.rewards`, not `import {__name__}`")
