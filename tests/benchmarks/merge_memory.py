"""Peak memory of a merge as a share of one model's size: random Qwen2 weights of 0.5 B parameters, bfloat16, sharded.

    python tests/benchmarks/merge_memory.py

Prints one JSON line per share of the way: size of a model, peak resident memory of the process that merges, its part
that was there before the merge (Python and torch), and the peak as a ratio of the model, with that part and without.
Resident memory counts the pages of mapped files as well. At 0 and 1 the merge is compared with its inputs, bit for bit.
"""

from __future__ import annotations

import json
import shutil
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
def memory(name):  # getrusage counts the parent too
    return 1024 * int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])
base, trained, output, share = sys.argv[1:]
before = memory("VmRSS")
merge(base, [trained], float(share), Path(output))
print(before, memory("VmHWM"))
"""


def main() -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        ends = [Path(folder, name) for name in ("base", "trained")]
        for seed, path in enumerate(ends):
            torch.manual_seed(seed)
            torch.set_default_dtype(torch.bfloat16)
            Qwen2ForCausalLM(Qwen2Config(**SHAPE)).save_pretrained(path, max_shard_size="300MB")
        size = sum(file.stat().st_size for file in ends[0].glob("*.safetensors"))
        for share in (0.5, 0.0, 1.0):
            output = Path(folder, "merged")
            started = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", MERGE, *map(str, ends), str(output), str(share)], check=True,
                                  capture_output=True, text=True)
            before, peak = map(int, done.stdout.split())
            shards = len(list(output.glob("*.safetensors")))
            assert shards > 1
            found = {"share": share, "model_mb": round(size / 1e6), "peak_mb": round(peak / 1e6),
                     "before_mb": round(before / 1e6), "ratio": round(peak / size, 2),
                     "ratio_without_before": round((peak - before) / size, 2), "shards": shards,
                     "seconds": round(time.perf_counter() - started, 1)}
            if share in (0.0, 1.0):
                found["same_bits"] = same_bits(output, ends[int(share)])
            print(json.dumps(found), flush=True)
            shutil.rmtree(output)


def same_bits(one: Path, other: Path) -> bool:
    """Whether two sharded models hold the same tensors, whatever lies in which shard."""
    import torch
    from safetensors.torch import load_file

    def tensors(folder: Path) -> dict[str, torch.Tensor]:
        return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}

    a, b = tensors(one), tensors(other)
    return a.keys() == b.keys() and all(torch.equal(a[name].view(torch.int16), b[name].view(torch.int16)) for name in a)


if __name__ == "__main__":
    main()
