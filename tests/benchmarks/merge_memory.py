"""Peak memory of a merge as a share of one model's size: random Qwen2 weights of 0.5 B parameters, bfloat16, sharded.

    python tests/benchmarks/merge_memory.py

Prints one JSON line: size of a model, peak resident memory of the process that merges (torch itself included), and
their ratio. Resident memory counts the pages of mapped files as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPE = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
         "num_key_value_heads": 2, "vocab_size": 151_936, "tie_word_embeddings": True}
"""Of Qwen2.5-0.5B."""
MERGE = """
import sys
from pathlib import Path
from rlvr.models.merge import merge
base, trained, output = sys.argv[1:]
merge(base, [trained], 0.5, Path(output))
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # getrusage counts the parent too
print(int(peak.split()[1]) * 1024)
"""


def main() -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("base", "trained", "merged")]
        for seed, path in enumerate(paths[:2]):
            torch.manual_seed(seed)
            torch.set_default_dtype(torch.bfloat16)
            Qwen2ForCausalLM(Qwen2Config(**SHAPE)).save_pretrained(path, max_shard_size="300MB")
        size = sum(file.stat().st_size for file in paths[0].glob("*.safetensors"))
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", MERGE, *map(str, paths)], check=True, capture_output=True,
                              text=True)
        seconds = time.perf_counter() - started
        peak = int(done.stdout)
        shards = [len(list(path.glob("*.safetensors"))) for path in paths]
        model = Qwen2ForCausalLM.from_pretrained(paths[2])
        assert model.dtype == torch.bfloat16 and shards[2] > 1
        print(json.dumps({"model_mb": round(size / 1e6), "peak_mb": round(peak / 1e6), "ratio": round(peak / size, 2),
                          "shards": shards, "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()
