"""Made-up keys for the environment of a run, and a look into every file that it wrote."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path

KEYS = {"WANDB_API_KEY": "5e" * 20, "HF_TOKEN": "hf_" + "Zq7" * 11, "OPENAI_API_KEY": "sk-" + "Zq7" * 15,
        "MLFLOW_TRACKING_TOKEN": "mlf" + "Zq7" * 9, "MLFLOW_TRACKING_PASSWORD": "pw-" + "Zq7" * 9,
        "AWS_SECRET_ACCESS_KEY": "aws" + "Zq7" * 12}


def keys_in_files(folder: Path) -> list[str]:
    """`NAME in PATH` for every key that stands in a file below `folder`, plain or in base64, gzip files unpacked."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        for name, key in KEYS.items():
            if key.encode() in content or base64.b64encode(key.encode()) in content:
                found.append(f"{name} in {path.relative_to(folder)}")
    return found
