"""The model that a training begins with: of a path or hub id, or of adapters that are trained on."""

from __future__ import annotations

from typing import Any

from rlvr.config.sections import ModelSpec
from rlvr.models.loading import adapter_of, load_options, source, whole_model
from rlvr.types import UserError


def starting_model(spec: ModelSpec) -> Any:
    """What `RLVRTrainer` takes as its model: a path or hub id, or for a directory of adapters a `PeftModel`.

    Adapters are trained on as they are, as TRL does with a PeftModel: checkpoints hold the same adapters of the same
    base, and the reference of a KL term is a copy of them. Raises UserError for adapters that do not fit their base.
    """
    adapter = adapter_of(spec.path)
    if adapter is None:
        return source(spec.path)
    from accelerate import PartialState
    from peft import PeftModel
    from trl.trainer.utils import create_model_from_path

    placed = {} if PartialState().distributed_type == "NO" else {"device_map": None}  # as TRL does
    try:
        base = create_model_from_path(source(adapter.base), **load_arguments(spec), **placed)
        return PeftModel.from_pretrained(base, spec.path, is_trainable=True)
    except (OSError, ValueError, RuntimeError) as error:
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{spec.path!r} has no adapters that fit {adapter.base!r} ({cause})",
                        where="model.path") from error


def load_arguments(spec: ModelSpec) -> dict[str, Any]:
    """Arguments of `from_pretrained` for the model, or for the base of its adapters. How to quantize it is an argument
    of the trainer's own."""
    options = {key: value for key, value in load_options(spec).items() if key != "quantization_config"}
    return {"revision": whole_model(spec)[1], **options}
