"""Load models and tokenizers as a recipe names them: `lab`, a local directory or a hub id."""

from __future__ import annotations

import json
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from rlvr.config.sections import ModelSpec
from rlvr.types import UserError


def source(path: str) -> str:
    """What `from_pretrained` takes: the folder of the shipped base for `lab`, anything else as it is."""
    if path != "lab":
        return path
    from rlvr.lab.model import BASE_DIR

    return str(BASE_DIR)


class Adapter(NamedTuple):
    """A directory that holds low-rank adapters (LoRA) and no whole model."""

    base: str
    revision: str | None
    has_tokenizer: bool


def adapter_of(path: str) -> Adapter | None:
    """What the adapters in the directory `path` belong to; None if it holds a whole model or is no directory here."""
    folder = Path(path)
    config = folder / "adapter_config.json"
    if not config.is_file() or (folder / "config.json").is_file():
        return None
    stored = json.loads(config.read_text())
    return Adapter(stored["base_model_name_or_path"], stored.get("revision"),
                   (folder / "tokenizer_config.json").is_file())


def check_trainable(spec: ModelSpec) -> None:
    """Raises UserError for adapters that cannot be trained on: beside others, or of a base that is no whole model."""
    adapter = adapter_of(spec.path)
    if adapter is None:
        return
    merge = "or merge them into their base first (peft: merge_and_unload, save_pretrained)"
    if spec.lora is not None:
        raise UserError(f"found settings beside {spec.path!r}, which holds adapters of {adapter.base!r}; these are "
                        f"trained on, with the rank they have: remove model.lora, {merge}", where="model.lora")
    if adapter_of(adapter.base) is not None:
        raise UserError(f"{spec.path!r} holds adapters of {adapter.base!r}, which holds adapters itself; expected "
                        f"those of a whole model, {merge}", where="model.path")


def model_of(spec: ModelSpec, path: str | None = None) -> Any:
    """The base model of a recipe or, at `path`, another one in its place such as a checkpoint, for inference.

    The revision is the base's alone. Of a directory with adapters: its base with the adapters in it.
    """
    path = spec.path if path is None else path
    return load_model(path, dtype=spec.dtype, revision=spec.revision if path == spec.path else None,
                      attn_implementation=spec.attn_implementation)


def processing_of(spec: ModelSpec, path: str | None = None, *, images: bool = False, where: str = "model.path") -> Any:
    """The tokenizer or processor that belongs to `model_of(spec, path)`, with the recipe's chat template."""
    path = spec.path if path is None else path
    processing = load_processing(path, images=images, revision=spec.revision if path == spec.path else None,
                                 where=where)
    if spec.chat_template is not None:
        processing.chat_template = Path(spec.chat_template).read_text()
    return processing


def load_tokenizer(path: str, revision: str | None = None, where: str = "model.path") -> Any:
    """The tokenizer of a model, padding on the left.

    AutoTokenizer gives every Qwen2 model Qwen's own splitting rules, even if its files declare others. A model whose
    files declare the plain tokenizer.json back end (as the lab's do) gets that one.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    try:
        declared = get_tokenizer_config(source(path), revision=revision).get("tokenizer_class")
        plain = declared in ("TokenizersBackend", "PreTrainedTokenizerFast")
        loader = PreTrainedTokenizerFast if plain else AutoTokenizer
        return loader.from_pretrained(source(path), revision=revision or "main", padding_side="left")
    except (OSError, ValueError) as error:
        raise UserError(_missing(where, path, "tokenizer", error)) from error


def load_processing(path: str, *, images: bool, revision: str | None = None, where: str = "model.path") -> Any:
    """The tokenizer of a model or, for problems with pictures, its processor, padding on the left. A directory with
    adapters that holds none has its base's."""
    adapter = adapter_of(path)
    if adapter is not None and not adapter.has_tokenizer:
        path, revision = adapter.base, adapter.revision
    if not images:
        return load_tokenizer(path, revision, where)
    from transformers import AutoProcessor, ProcessorMixin

    try:
        processor: Any = AutoProcessor.from_pretrained(source(path), revision=revision or "main")
    except (ImportError, OSError, ValueError) as error:
        if find_spec("torchvision") is None:
            raise UserError(f"{where}: no image processor at {path!r} ({_first_line(error)}); most need torchvision, "
                            "which is not installed: pip install 'rlvr[vision]'") from error
        raise UserError(_missing(where, path, "image processor", error)) from error
    if not isinstance(processor, ProcessorMixin) or not hasattr(processor, "image_processor"):
        raise UserError(f"{where}: the data has pictures, and {path!r} reads text only; choose a vision model, or "
                        "remove data.*.image")
    processor.tokenizer.padding_side = "left"
    return processor


def load_model(path: str, *, dtype: str, revision: str | None = None, attn_implementation: str | None = None) -> Any:
    """The model for inference, on the GPU if there is one: of the class that its config names, as in training."""
    import torch
    import transformers

    adapter = adapter_of(path)
    if adapter is not None:
        return _with_adapters(path, adapter, dtype=dtype, attn_implementation=attn_implementation)
    try:
        config: Any = transformers.AutoConfig.from_pretrained(source(path), revision=revision or "main")
        loader = getattr(transformers, (config.architectures or [""])[0], transformers.AutoModelForCausalLM)
        model: Any = loader.from_pretrained(
            source(path), dtype=dtype, revision=revision, attn_implementation=attn_implementation
        )
    except (OSError, ValueError) as error:
        raise UserError(_missing("model", path, "model", error)) from error
    except pickle.UnpicklingError as error:  # weights_only is the default of torch.load, and transformers keeps it
        raise UserError(f"model: the .bin files at {path!r} hold more than weights, and reading them could run a "
                        "program; expected weights alone: save the model as safetensors where you trust it") from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _with_adapters(path: str, adapter: Adapter, *, dtype: str, attn_implementation: str | None) -> Any:
    """Not merged: the same computation, to the last bit, as the model in training that saved the adapters."""
    from peft import PeftModel

    base = load_model(adapter.base, dtype=dtype, revision=adapter.revision, attn_implementation=attn_implementation)
    try:
        return PeftModel.from_pretrained(base, path).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(_missing("model", path, f"adapters that fit {adapter.base!r}", error)) from error


def _missing(where: str, path: str, what: str, error: Exception) -> str:
    cause = _first_line(error)
    return f"{where}: no {what} at {path!r} ({cause}); expected `lab`, a hub id or a local directory of a model"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
