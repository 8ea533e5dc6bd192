"""Algorithms: one small file each, named in `rlvr.config.registry` or by a plug-in's entry point."""

if __name__ != "rlvr.algorithms":
    raise ImportError(
        f"this folder is the package rlvr.algorithms: write `import rlvr.algorithms`, not `import {__name__}`"
    )
