"""PPO's value model: how it is attached to the policy, called, optimized beside it, saved and loaded.

It is a submodule of the policy, so that one wrapped model (DDP, FSDP, DeepSpeed) holds both and one backward pass
trains both. `model(..., value_pass=True)` gives values instead of logits. Without adapters it is a second backbone that
starts as a copy of the policy's; with LoRA it is a second adapter on the same frozen weights. Its head is one linear
layer that starts at 0, so before the first update every value is 0 and the advantage is the reward itself.
"""

from __future__ import annotations

import copy
import functools
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from rlvr.interfaces import CriticSpec
from rlvr.models.shards import load_plain

FILE = "critic.safetensors"
"""Where a checkpoint keeps the value model. The policy's weights are in a file of their own, loadable without it."""
ADAPTER = "critic"
PARTS = (ADAPTER, "critic_head")
"""The name of every parameter of the value model has one of these as a part."""


class ValueHead(torch.nn.Linear):
    """Computes in float32 also under autocast, and where DeepSpeed and FSDP2 have cast its weights to bfloat16: half a
    unit in the last place of bfloat16 at 1 is 0.004 of the reward."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return torch.nn.functional.linear(input.float(), self.weight.float(), self.bias.float())


def attach_critic(model: Any, peft_config: Any | None = None) -> None:
    """Give `model` (a PreTrainedModel, or a PeftModel with `peft_config`) a value model on its device.

    The copied backbone is detached from sharding: under ZeRO-3 it is loaded a second time from where the policy came
    from, because shards cannot be copied.
    """
    base = model.get_base_model() if peft_config is not None else model
    hidden_size = base.config.get_text_config().hidden_size
    head = ValueHead(hidden_size, 1, device=base.device, dtype=torch.float32)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
    if peft_config is not None:
        model.add_adapter(ADAPTER, peft_config)
    else:
        base.critic = _second_backbone(base)
    base.critic_head = head
    base.beside_policy = PARTS  # read by rlvr.models.weights: sampling does not depend on these
    mark_trainable(model)
    _route_value_pass(base, adapters=peft_config is not None)


def mark_trainable(model: Any) -> None:
    """Let the value model learn: PEFT freezes every adapter but the active one whenever it disables or switches one."""
    for name, parameter in model.named_parameters():
        if is_critic(name):
            parameter.requires_grad_(True)


def is_critic(name: str) -> bool:
    """Whether a parameter of the joint model belongs to the value model."""
    return any(part in PARTS for part in name.split("."))


def read_values(
    model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, response_tokens: int, **multimodal: Any
) -> torch.Tensor:
    """V(s_t) of every response token, (B, T) float32, read at the position before the token."""
    values = model(input_ids=input_ids, attention_mask=attention_mask, value_pass=True, **multimodal)
    return values[:, -response_tokens - 1 : -1]


def explained_variance(values_NT: torch.Tensor, returns_NT: torch.Tensor, mask_NT: torch.Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over the masked-in tokens: 1 perfect, 0 no better than a constant.

    NaN when the returns do not vary, as when all rewards are equal.
    """
    kept = mask_NT.bool()
    values, returns = values_NT[kept].double(), returns_NT[kept].double()
    if returns.numel() < 2 or returns.max() == returns.min():
        return float("nan")
    return float(1 - (returns - values).var() / returns.var())


def split_parameter_groups(optimizer: torch.optim.Optimizer, model: Any, lr: float) -> None:
    """Move the value model's parameters into groups of their own, with their own learning rate and all else equal."""
    ids = {id(p) for name, p in model.named_parameters() if is_critic(name)}
    for group in list(optimizer.param_groups):
        own = [p for p in group["params"] if id(p) in ids]
        group["params"] = [p for p in group["params"] if id(p) not in ids]
        if own:
            optimizer.add_param_group({**group, "params": own, "lr": lr, "critic": True})
    optimizer.param_groups[:] = [g for g in optimizer.param_groups if g["params"]]


def schedule(scheduler: Any, spec: CriticSpec) -> None:
    """Add to the run's schedule: a policy rate of 0 during critic pre-training, and the critic's warm-up."""

    def policy(base: Any, step: int) -> float:
        return 0.0 if step < spec.pretraining_steps else base(step)

    def critic(base: Any, step: int) -> float:
        return base(step) * min(1.0, (step + 1) / max(spec.lr_warmup_steps, 1))

    groups = scheduler.optimizer.param_groups
    scheduler.lr_lambdas = [
        functools.partial(critic if group.get("critic") else policy, base)
        for group, base in zip(groups, scheduler.lr_lambdas, strict=True)
    ]
    for group, initial, rate in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
        group["lr"] = initial * rate(scheduler.last_epoch)


def without_critic(state: dict[str, Any]) -> dict[str, Any]:
    """A state dict of the policy alone."""
    return {name: tensor for name, tensor in state.items() if not is_critic(name)}


def save_critic(folder: Path, state: dict[str, Any]) -> None:
    """Write the value model of a joint state dict into a checkpoint."""
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items() if is_critic(name)}
    save_file(own, folder / FILE)


def load_critic(folder: Path, model: Any) -> None:
    """Read it back into the joint model. Raises ValueError if the checkpoint holds another value model or none."""
    file = folder / FILE
    if not file.is_file():
        raise ValueError(f"{file} is missing: the checkpoint was written without a value model")
    state = load_file(file)
    expected = {name for name in model.state_dict() if is_critic(name)}
    if set(state) != expected:
        raise ValueError(f"{file}: its {len(state)} tensors are not the {len(expected)} of this run's value model")
    load_plain(model, state)


def _second_backbone(base: Any) -> torch.nn.Module:
    if not any(hasattr(p, "ds_id") for p in base.parameters()):
        return copy.deepcopy(base.base_model)
    from transformers import AutoModel

    return AutoModel.from_pretrained(
        base.config._name_or_path, dtype=base.dtype, attn_implementation=base.config._attn_implementation
    )


def _route_value_pass(base: Any, *, adapters: bool) -> None:
    policy_forward = base.forward

    @functools.wraps(policy_forward)
    def forward(self: Any, *args: Any, value_pass: bool = False, **kwargs: Any) -> Any:
        if not value_pass:
            return policy_forward(*args, **kwargs)
        if adapters:
            with _active(self, ADAPTER):
                hidden = self.base_model(*args, use_cache=False, **kwargs).last_hidden_state
        else:
            hidden = self.critic(*args, use_cache=False, **kwargs).last_hidden_state
        return self.critic_head(hidden).squeeze(-1)

    base.forward = types.MethodType(forward, base)


@contextmanager
def _active(model: Any, adapter: str) -> Iterator[None]:
    """Switch adapters for a forward pass. PEFT's own `set_adapter` would freeze the one that is switched off.

    Without gradient checkpointing: its second forward runs in the backward pass, when the switch is long undone.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [m for m in model.modules() if isinstance(m, BaseTunerLayer)]
    checkpointed = [m for m in model.modules() if getattr(m, "gradient_checkpointing", False)]
    before = [layer._active_adapter for layer in layers]
    for layer in layers:
        layer._active_adapter = [adapter]
    for module in checkpointed:
        module.gradient_checkpointing = False
    try:
        yield
    finally:
        for layer, names in zip(layers, before, strict=True):
            layer._active_adapter = names
        for module in checkpointed:
            module.gradient_checkpointing = True
