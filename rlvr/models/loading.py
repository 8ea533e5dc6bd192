"""Load models and tokenizers as a recipe names them: `lab`, a local directory or a hub id."""

from __future__ import annotations

import difflib
import json
import pickle
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from rlvr.config.sections import ModelSpec
from rlvr.config.wording import did_you_mean
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
    try:
        stored = json.loads(config.read_bytes())
    except ValueError:
        stored = None
    base = stored.get("base_model_name_or_path") if isinstance(stored, dict) else None
    if stored is None or not isinstance(base, str) or not base:
        raise UserError(f"{config}: found no base_model_name_or_path in it, expected the hub id or the directory of "
                        "the model that the adapters belong to; add it", where="model.path")
    return Adapter(base, stored.get("revision"), (folder / "tokenizer_config.json").is_file())


def check_trainable(spec: ModelSpec) -> None:
    """Raises UserError for adapters that cannot be trained on: beside others, or of a base that is no whole model; and
    for a model to be quantized where the package for that is missing."""
    if spec.quantization is not None and find_spec("bitsandbytes") is None:
        raise UserError("the package bitsandbytes is not installed: pip install 'rlvr[quantization]'",
                        where="model.quantization")
    adapter = adapter_of(spec.path)
    if adapter is None:
        return
    merge = "or merge them into their base first (peft: merge_and_unload, save_pretrained)"
    if spec.lora is not None:
        raise UserError(f"found settings beside {spec.path!r}, which holds adapters of {adapter.base!r}; these are "
                        f"trained on, with the rank they have: remove model.lora, {merge}", where="model.lora")
    if spec.quantization is not None:
        raise UserError(f"found {spec.quantization!r} beside {spec.path!r}, which holds adapters of {adapter.base!r}; "
                        f"only new ones can be trained on quantized weights: remove it, {merge}",
                        where="model.quantization")
    if adapter_of(adapter.base) is not None:
        raise UserError(f"{spec.path!r} holds adapters of {adapter.base!r}, which holds adapters itself; expected "
                        f"those of a whole model, {merge}", where="model.path")


def model_of(spec: ModelSpec, path: str | None = None) -> Any:
    """The base model of a recipe or, at `path`, another one in its place such as a checkpoint, for inference.

    The revision is the base's alone. Of a directory with adapters: its base with the adapters in it.
    """
    path = spec.path if path is None else path
    return load_model(path, revision=spec.revision if path == spec.path else None, **load_options(spec))


def load_options(spec: ModelSpec) -> dict[str, Any]:
    """How a recipe wants a model loaded: arguments of `load_model`, and of `from_pretrained`.

    Raises: UserError for a key of `model.config` that the model's config does not have.
    """
    options: dict[str, Any] = {"dtype": spec.dtype, "attn_implementation": spec.attn_implementation}
    if spec.trust_remote_code:
        options["trust_remote_code"] = True
    if spec.config:
        options |= config_overrides(spec)
    if spec.quantization is not None:
        options["quantization_config"] = _quantized(spec)
    return options


def whole_model(spec: ModelSpec) -> tuple[str, str | None]:
    """(path or hub id, revision) of the model, or of the base of its adapters."""
    adapter = adapter_of(spec.path)
    return (spec.path, spec.revision) if adapter is None else (adapter.base, adapter.revision)


def config_overrides(spec: ModelSpec) -> dict[str, Any]:
    """`model.config`, with the entries of each section that it leaves alone. Raises UserError for an unknown key."""
    if not spec.config:
        return {}
    path, revision = whole_model(spec)
    config = load_config(path, revision=revision, trust_remote_code=spec.trust_remote_code)
    known = {key: value for key, value in config.to_dict().items() if key not in ("transformers_version", "model_type")}
    merged: dict[str, Any] = {}
    for key, value in spec.config.items():
        if key not in known:
            raise UserError(f"not in the config of {spec.path!r}{did_you_mean(key, sorted(known), _OLD_KEYS)}",
                            where=f"model.config.{key}")
        merged[key] = {**known[key], **value} if isinstance(value, dict) and isinstance(known[key], dict) else value
    return merged


_OLD_KEYS = {"rope_scaling": ["model.config.rope_parameters"], "rope_theta": ["model.config.rope_parameters"],
             "torch_dtype": ["model.dtype"]}


def load_config(path: str, *, revision: str | None = None, trust_remote_code: bool = False, **overrides: Any) -> Any:
    """The config of a model, with `overrides` in it. Raises UserError where there is none."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source(path), revision=revision or "main",
                                          trust_remote_code=trust_remote_code, **overrides)
    except (OSError, ValueError) as error:
        raise UserError(_missing("model.path", path, "model", error)) from error


def keep_float32(adapters_on_quantized: Any) -> None:
    """Undo TRL's cast of the adapters on quantized weights to bfloat16: an update of 1e-6 would be lost to rounding."""
    for parameter in adapters_on_quantized.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _quantized(spec: ModelSpec) -> Any:
    """The settings of bitsandbytes: 4 bits as in QLoRA (2305.14314: NF4, its constants quantized again), or 8 bits."""
    import torch
    from transformers import BitsAndBytesConfig

    if spec.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    dtype = torch.float32 if spec.dtype == "auto" else getattr(torch, spec.dtype)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
                              bnb_4bit_compute_dtype=dtype)


def processing_of(spec: ModelSpec, path: str | None = None, *, images: bool = False, where: str = "model.path") -> Any:
    """The tokenizer or processor that belongs to `model_of(spec, path)`, with the recipe's chat template."""
    path = spec.path if path is None else path
    processing = load_processing(path, images=images, revision=spec.revision if path == spec.path else None,
                                 where=where, trust_remote_code=spec.trust_remote_code)
    if spec.chat_template is not None:
        try:
            processing.chat_template = Path(spec.chat_template).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UserError(f"{spec.chat_template!r} cannot be read ({_first_line(error)}); expected the path of a "
                            "Jinja template", where="model.chat_template") from error
    if spec.chat_template_kwargs:
        # Whoever renders a chat with this object, TRL or a probe, renders it so: no call has to remember it.
        processing.apply_chat_template = partial(processing.apply_chat_template, **spec.chat_template_kwargs)
    return processing


def load_tokenizer(
    path: str, revision: str | None = None, where: str = "model.path", *, trust_remote_code: bool = False
) -> Any:
    """The tokenizer of a model, padding on the left.

    AutoTokenizer gives every Qwen2 model Qwen's own splitting rules, even if its files declare others. A model whose
    files declare the plain tokenizer.json back end (as the lab's do) gets that one.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    try:
        declared = get_tokenizer_config(source(path), revision=revision).get("tokenizer_class")
        plain = declared in ("TokenizersBackend", "PreTrainedTokenizerFast")
        loader: Any = PreTrainedTokenizerFast if plain else AutoTokenizer
        return loader.from_pretrained(source(path), revision=revision or "main", padding_side="left",
                                      **({} if plain else {"trust_remote_code": trust_remote_code}))
    except (OSError, ValueError) as error:
        raise UserError(_missing(where, path, "tokenizer", error)) from error


def load_processing(
    path: str, *, images: bool, revision: str | None = None, where: str = "model.path", trust_remote_code: bool = False
) -> Any:
    """The tokenizer of a model or, for problems with pictures, its processor, padding on the left. A directory with
    adapters that holds none has its base's."""
    adapter = adapter_of(path)
    if adapter is not None and not adapter.has_tokenizer:
        path, revision = adapter.base, adapter.revision
    if not images:
        return load_tokenizer(path, revision, where, trust_remote_code=trust_remote_code)
    from transformers import AutoProcessor, ProcessorMixin

    try:
        processor: Any = AutoProcessor.from_pretrained(source(path), revision=revision or "main",
                                                       trust_remote_code=trust_remote_code)
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


def load_model(path: str, *, revision: str | None = None, **options: Any) -> Any:
    """The model for inference, on the GPU if there is one: of the class that its config names, as in training.

    `options`: arguments of `from_pretrained`, such as `dtype`; see `load_options`.
    """
    import torch
    import transformers

    adapter = adapter_of(path)
    if adapter is not None:
        return _with_adapters(path, adapter, **options)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if "quantization_config" in options:  # such a model is put where it belongs while it loads
        options["device_map"] = {"": device}
    try:
        config = load_config(path, revision=revision, trust_remote_code=options.get("trust_remote_code", False))
        loader = getattr(transformers, (config.architectures or [""])[0], transformers.AutoModelForCausalLM)
        model: Any = loader.from_pretrained(source(path), revision=revision, **options)
    except (OSError, ValueError) as error:
        raise UserError(_missing("model", path, "model", error)) from error
    except pickle.UnpicklingError as error:  # weights_only is the default of torch.load, and transformers keeps it
        raise UserError(f"model: the .bin files at {path!r} hold more than weights, and reading them could run a "
                        "program; expected weights alone: save the model as safetensors where you trust it") from error
    return model.eval() if "quantization_config" in options else model.to(device).eval()


def _with_adapters(path: str, adapter: Adapter, **options: Any) -> Any:
    """Not merged: the same computation, to the last bit, as the model in training that saved the adapters."""
    from peft import PeftModel

    base = load_model(adapter.base, revision=adapter.revision, **options)
    try:
        return PeftModel.from_pretrained(base, path).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(_missing("model", path, f"adapters that fit {adapter.base!r}", error)) from error


def _missing(where: str, path: str, what: str, error: Exception) -> str:
    cause = _first_line(error)
    guess = "; did you mean `lab`?" if difflib.get_close_matches(path, ["lab"]) else ""
    return f"{where}: no {what} at {path!r} ({cause}); expected `lab`, a hub id or a local directory of a model{guess}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
