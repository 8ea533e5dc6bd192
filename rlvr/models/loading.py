"""Load models and tokenizers as a recipe names them: `lab`, a local directory or a hub id."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from rlvr.types import UserError


def source(path: str) -> str:
    """What `from_pretrained` takes: the folder of the shipped base for `lab`, anything else as it is."""
    if path != "lab":
        return path
    from rlvr.lab.model import BASE_DIR

    return str(BASE_DIR)


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
    """The tokenizer of a model or, for problems with pictures, its processor, padding on the left."""
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

    try:
        config: Any = transformers.AutoConfig.from_pretrained(source(path), revision=revision or "main")
        loader = getattr(transformers, (config.architectures or [""])[0], transformers.AutoModelForCausalLM)
        model: Any = loader.from_pretrained(
            source(path), dtype=dtype, revision=revision, attn_implementation=attn_implementation
        )
    except (OSError, ValueError) as error:
        raise UserError(_missing("model", path, "model", error)) from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _missing(where: str, path: str, what: str, error: Exception) -> str:
    cause = _first_line(error)
    return f"{where}: no {what} at {path!r} ({cause}); expected `lab`, a hub id or a local directory of a model"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
