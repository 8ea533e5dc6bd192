"""Run by test_distributed.py in its own process and under `accelerate launch`: each algorithm trains a tiny model,
whole or with adapters; one of the models is probed.

Usage: python -m tests.support.six_processes MODEL_FOLDER OUTPUT. Rank 0 writes what `main` gathers. Under FSDP2 every
model is checked to be in parts, and PPO, which saves two models, is resumed from a checkpoint.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from transformers import TrainerCallback

from rlvr.config.anchor import AnchorSpec
from rlvr.config.registry import resolve
from rlvr.interfaces import Algorithm
from rlvr.lab.countdown import problems
from rlvr.lab.model import build_tokenizer
from rlvr.models.weights import weights_hash
from rlvr.probes.callback import BoundaryProbeCallback
from rlvr.runs.run_dir import RunDir
from rlvr.runs.samples import read_samples
from rlvr.statistics.plan import SamplingPlan
from rlvr.training.anchor import Anchor
from rlvr.training.processes import leave
from rlvr.training.reference import ReferenceSync
from rlvr.training.trainer import RLVRTrainer
from rlvr.training.trl_settings import accumulate_in_float32
from rlvr.types import Decoding
from tests.support import fsdp2_on_cpu
from tests.support.tiny import ParityJudge, config, train_problems

KINDS = ("full", "lora")
PROBED = {("grpo", "full"): True, ("rloo", "full"): False}
"""Whose model is probed; whether the trainer gathers it for that, or each pass gathers what is in parts."""
SETTINGS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "ppo": {"critic_learning_rate": 1e-2},
    "rloo": {},
    "reinforce_pp": {"kl_coef": 0.01},
    "remax": {},
    "dapo": {"max_num_gen_batches": 0},
}


def algorithm(name: str, kind: str) -> Algorithm[Any]:
    found: Any = resolve("algorithms", name)
    return found(found.Config(**SETTINGS[name], **({"kl_loss_coef": 0.5} if kind == "synced" else {})))


class AtStart(TrainerCallback):
    """Looks at the model when the trainer has wrapped it."""

    weights = ""

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: Any = None, **kwargs: Any) -> None:
        if fsdp2_on_cpu.wanted():
            fsdp2_on_cpu.assert_sharded(model)
        self.weights = weights_hash(model, gather_object)


def trainer_of(name: str, kind: str, model_folder: str, **settings: Any) -> RLVRTrainer:
    """16 rollouts per step, whatever the number of processes."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    sizes: dict[str, Any] = {"per_device_train_batch_size": 8 // world}
    if kind == "full" and world > 1:  # the ranks exchange rollouts, and cut them by tokens
        sizes = {"per_device_train_batch_size": 16 // world, "gradient_accumulation_steps": 1,
                 "steps_per_generation": 1, "micro_batch_tokens": 50}
    peft_config = None
    if kind == "lora":
        from peft import LoraConfig

        peft_config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    settings = sizes | {"max_grad_norm": 1e9, "weight_decay": 0.0,
                "ddp_find_unused_parameters": False, "model_init_kwargs": {"dtype": "float32"}} | settings
    return RLVRTrainer(
        model_folder, algorithm=algorithm(name, kind), problems=train_problems(64), judge=ParityJudge(),
        args=config(Path(tempfile.mkdtemp()), **settings), processing_class=build_tokenizer(), peft_config=peft_config,
    )


def learnt(trainer: RLVRTrainer) -> dict[str, torch.Tensor]:
    """All parameters that learn."""
    with trainer.unwrapped() as model:
        return {n: p.detach().cpu().clone() for n, p in model.named_parameters() if p.requires_grad}


def train(name: str, kind: str, model_folder: str) -> tuple[dict[str, torch.Tensor], str]:
    """Three steps of plain SGD, so that a difference in a gradient is not blown up; and the hash of the weights before.

    Some are probed before and after: three problems in batches of two, which leave a rank without samples.
    """
    trainer, start = trainer_of(name, kind, model_folder, optim="sgd", learning_rate=0.1), AtStart()
    trainer.add_callback(start)
    if kind == "anchored":
        trainer.add_callback(Anchor(AnchorSpec(share=0.3, every=2, to="average", decay=0.5),
                                    accelerator=trainer.accelerator, record=trainer.record))
    if kind == "synced":
        trainer.add_callback(ReferenceSync(2, reference=trainer.ref_model, accelerator=trainer.accelerator,
                                           record=trainer.record))
    probed = (name, kind) in PROBED
    folder = Path(broadcast_object_list([tempfile.mkdtemp()])[0])
    if probed:
        gathered = PROBED[name, kind]
        trainer.add_callback(BoundaryProbeCallback(
            problems("test", 3), judge=ParityJudge(), run_dir=folder / "run", every=3, batch_size=2, ks=[1, 2],
            plan=SamplingPlan((5,)), base_plan=SamplingPlan((5,)), baselines=str(folder / "store"),
            decoding=Decoding(temperature=1.0, top_p=1.0, max_new_tokens=8),
            sampler=trainer.live_sampler if gathered else None, unwrap=trainer.unwrapped if gathered else None,
        ))
    trainer.train()
    if trainer.is_deepspeed_enabled:
        assert trainer.model_wrapped._config.grad_accum_dtype == "fp32"
    if probed:
        samples.extend(row | {"case": name, "step": step} for step in (0, 3)
                       for row in read_samples(RunDir(folder / "run").samples(step)))
    if PartialState().num_processes > 1:
        gc.freeze()  # what the first engine has imported: DeepSpeed collects garbage twice per engine
    return learnt(trainer), start.weights


samples: list[dict[str, Any]] = []
"""What the probes drew."""


def resumed(kind: str, model_folder: str) -> bool:
    """Whether PPO's policy, value model and optimizer go on from a checkpoint to the same bits."""
    folder = broadcast_object_list([tempfile.mkdtemp()])[0]
    settings = {"output_dir": folder, "max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    straight = trainer_of("ppo", kind, model_folder, **settings)
    straight.train()
    again = trainer_of("ppo", kind, model_folder, **settings)
    again.train(resume_from_checkpoint=f"{folder}/checkpoint-1")
    first, second = learnt(straight), learnt(again)
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


class Scale(torch.nn.Module):
    """Gives 2^-10 + 1, which bfloat16 rounds, and has the gradient that it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2, 1))

    def forward(self, gradient: torch.Tensor) -> torch.Tensor:
        return (self.weight * gradient).sum().float() + 1 + 2**-10


def bfloat16_sums() -> dict[str, float]:
    """What a model gives under FSDP2 in bfloat16, and the sum of the gradients 1 and 64 times 2^-9, mean of ranks."""
    from accelerate.utils import FullyShardedDataParallelPlugin
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    plugin: Any = FullyShardedDataParallelPlugin(fsdp_version=2, mixed_precision_policy="bf16")
    state = SimpleNamespace(deepspeed_plugin=None, fsdp_plugin=plugin)
    accumulate_in_float32(SimpleNamespace(is_fsdp2=True, state=state))
    mesh = init_device_mesh("cpu", (PartialState().num_processes,))
    model: Any = fully_shard(Scale(), mesh=mesh, mp_policy=plugin.mixed_precision_policy)
    for gradient in [1.0] + [2.0**-9] * 63:
        model.set_requires_gradient_sync(False)
        model(torch.tensor(gradient)).backward()
    model.set_requires_gradient_sync(True)
    output = model(torch.tensor(2.0**-9))
    output.backward()
    return {"output": output.item(), "gradient": model.weight.grad.to_local().item()}


def main(model_folder: str, output: str) -> None:
    samples.clear()
    found = {f"{name}-{kind}": train(name, kind, model_folder) for kind in KINDS for name in SETTINGS}
    found |= {f"grpo-{kind}": train("grpo", kind, model_folder) for kind in ("anchored", "synced")}
    resumes = {kind: resumed(kind, model_folder) for kind in KINDS} if fsdp2_on_cpu.wanted() else {}
    sums = bfloat16_sums() if fsdp2_on_cpu.wanted() else {}
    if PartialState().is_main_process:
        torch.save({"learnt": {case: each for case, (each, _) in found.items()},
                    "weights": {case: weights for case, (_, weights) in found.items()},
                    "samples": samples, "resumed": resumes, "sums": sums}, output)


def without_shared_memory() -> None:
    """Let DeepSpeed's ranks talk through gloo. Its operator for ranks of one machine without a GPU takes a minute to
    compile, and no training on GPUs uses it."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        import deepspeed.ops

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


if __name__ == "__main__":
    fsdp2_on_cpu.allow()
    without_shared_memory()
    gc.freeze()
    main(*sys.argv[1:])
    leave(0)
