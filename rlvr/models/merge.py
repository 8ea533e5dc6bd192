"""Models on the line between a base and what was trained from it: base + share * (mean of the trained - base).

Weights are read and written shard by shard and piece by piece, so merging needs far less memory than one model. Of
low-rank adapters nothing but the adapter changes: their second factor is scaled, and several become one of their ranks
together. Weight interpolation: 2109.01903.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from rlvr.models.loading import adapter_of, source
from rlvr.types import UserError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
PIECE = 2**22
"""Numbers that are interpolated at a time: 16 MB in float32."""
SHARD = 2**28
"""Bytes of an output shard of a small model; of a large one a sixteenth of its size."""
_BESIDE_WEIGHTS = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".py")
_OF_TRAINING = {"trainer_state.json", "rlvr_state.json", INDEX}


def merge(
    base: str, trained: Sequence[str | Path], share: float, output: Path, *, revision: str | None = None
) -> None:
    """Write the model at `share` of the way from `base` to the mean of `trained` into the new directory `output`.

    It is computed in float32 (float64 for float64 weights) and rounded once, to the type of the first trained model.
    At 0 it is the base and at 1, of a single trained model, that model, bit for bit. Names of weights, config,
    tokenizer and generation config are those of the first trained model.

    Args:
        base: `lab`, a hub id or a directory; of adapters, if the training went on with these.
        trained: directories with whole models, or all with LoRA adapters: then `output` holds adapters, too.
        share: 0 the base, 1 the trained; other numbers extrapolate.
        revision: of a base on the hub.

    Raises: UserError for files that are not there, weights that do not fit each other, and adapters that are more than
        plain LoRA.
    """
    folders = [Path(path) for path in trained]
    if _of_adapters(base, folders):
        _merge_adapters(_Adapters.all_of(base, folders), len(folders), share, output)
        return
    start, ends = _whole_models(base, folders, revision)
    partners = _partners(start, ends)
    output.mkdir(parents=True, exist_ok=True)
    shards = ends[0].shards()
    names = [SINGLE] if len(shards) == 1 else [f"model-{i:05}-of-{len(shards):05}.safetensors"
                                               for i in range(1, len(shards) + 1)]
    for shard, file in zip(shards, names, strict=True):
        save_file({name: _merged(name, start, ends, partners, share) for name in shard}, output / file,
                  metadata={"format": "pt"})
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(ends[0].bytes_of(name) for name in ends[0].names)},
                 "weight_map": {name: file for shard, file in zip(shards, names, strict=True) for name in shard}}
        (output / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    copy_beside(folders[0], output, missing_from=start.folder)


def check_mergeable(base: str, trained: Sequence[str | Path], *, revision: str | None = None) -> None:
    """Raises UserError for models that `merge` refuses. Writes nothing, reads little more than names and shapes."""
    folders = [Path(path) for path in trained]
    if _of_adapters(base, folders):
        _Adapters.all_of(base, folders)
    else:
        _partners(*_whole_models(base, folders, revision))


def _of_adapters(base: str, folders: Sequence[Path]) -> bool:
    """Whether adapters are merged. UserError if only some of the models are adapters."""
    adapters = [adapter_of(str(folder)) is not None for folder in folders]
    if adapter_of(base) is not None:  # a training that begins with adapters goes on with them
        folders, adapters = [*folders, Path(base)], [*adapters, True]
    if any(adapters) and not all(adapters):
        raise UserError(f"{folders[0]} and {folders[adapters.index(not adapters[0])]}: one holds adapters and the "
                        "other a whole model; merge models of one kind")
    return all(adapters)


def _whole_models(base: str, folders: Sequence[Path], revision: str | None) -> tuple[Weights, list[Weights]]:
    return Weights.of(base, revision), [Weights.of(str(folder)) for folder in folders]


def _partners(start: Weights, ends: Sequence[Weights]) -> list[dict[str, str]]:
    """Of the base and of every further trained model: name in the first trained model -> name there. UserError where
    two weights have nothing between them."""
    first, others = ends[0], (start, *ends[1:])
    partners = [model.partners(first.names, of=first) for model in others]
    for model in (start, *ends):
        for name, dtype in model.dtypes.items():
            if dtype.is_floating_point and dtype.itemsize == 1:
                raise UserError(f"{model.where}: the weight {name!r} is quantized ({dtype}); merge models in bfloat16, "
                                "float16 or float32")
    for name in (name for name, dtype in first.dtypes.items() if not dtype.is_floating_point):
        for model, names in zip(others, partners, strict=True):
            if not first.equal(name, names[name], of=model):
                raise UserError(f"{first.where}: the weight {name!r} ({first.dtypes[name]}) differs from that of "
                                f"{model.where}, and whole numbers have nothing between them")
    return partners


@dataclass
class Weights:
    """The safetensors files of one model: which tensor is where, its shape and type. No tensor stays in memory."""

    where: str
    folder: Path
    files: dict[str, Path] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: dict[str, torch.dtype] = field(default_factory=dict)

    @classmethod
    def of(cls, path: str, revision: str | None = None) -> Weights:
        """Those of `lab`, a directory, or a hub id. UserError without safetensors files, or with damaged ones."""
        return cls.in_files(path, _weight_files(path, revision))

    @classmethod
    def in_files(cls, where: str, files: Sequence[Path]) -> Weights:
        """Those of the model `where`, which are in these files. UserError for damaged ones."""
        found = cls(where, files[0].parent)
        for file in files:
            try:
                with safe_open(file, framework="pt") as opened:
                    for name in opened.keys():  # noqa: SIM118 - no mapping
                        part = opened.get_slice(name)
                        found.files[name] = file
                        found.shapes[name] = tuple(part.get_shape())
                        found.dtypes[name] = _DTYPES.get(part.get_dtype(), torch.uint8)
            except (SafetensorError, OSError) as error:
                raise UserError(f"{file}: cannot be read ({error}); restore it") from None
        return found

    @property
    def names(self) -> list[str]:
        return list(self.files)

    def bytes_of(self, name: str) -> int:
        return math.prod(self.shapes[name]) * self.dtypes[name].itemsize

    def shards(self) -> list[list[str]]:
        """Names by output shard, in their order; a tensor larger than a shard has one of its own."""
        limit = max(SHARD, sum(map(self.bytes_of, self.names)) // 16)
        shards: list[list[str]] = [[]]
        size = 0
        for name in self.names:
            if shards[-1] and size + self.bytes_of(name) > limit:
                shards.append([])
                size = 0
            shards[-1].append(name)
            size += self.bytes_of(name)
        return shards

    def pieces(self, name: str) -> Iterator[slice | None]:
        """Cuts of a tensor along its first axis, of about PIECE numbers; None: a single number, not to be cut."""
        shape = self.shapes[name]
        if not shape:
            yield None
            return
        rows = max(1, PIECE // max(1, math.prod(shape[1:])))
        for first in range(0, shape[0], rows):
            yield slice(first, min(first + rows, shape[0]))

    def read(self, name: str, cut: slice | None) -> torch.Tensor:
        """A piece of a tensor. The file is opened for it alone, as the pages of an open one count as memory in use."""
        with safe_open(self.files[name], framework="pt") as opened:
            return (opened.get_tensor(name) if cut is None else opened.get_slice(name)[cut]).clone()

    def partners(self, names: Sequence[str], *, of: Weights) -> dict[str, str]:
        """Name in `of` -> name here of the weight that belongs to it.

        Names are the same, but a tied weight may be stored in one model and left out in the other: a name that one
        model lacks must be, in the other, equal to a weight that both have. UserError for any other difference.
        """
        common = [name for name in names if name in self.files]
        found = {name: name for name in common}
        for lacking, having in ((self, of), (of, self)):
            for name in having.names:
                if name in lacking.files:
                    continue
                twin = next((other for other in common if having.equal(name, other)), None)
                if twin is None:
                    raise UserError(f"{lacking.where}: has no weight {name!r}, which {having.where} has "
                                    f"({len(lacking.names)} and {len(having.names)} weights); only models trained from "
                                    "one base lie on a line")
                if lacking is self:
                    found[name] = twin
        for name, here in found.items():
            if of.shapes[name] != self.shapes[here]:
                raise UserError(f"{self.where}: the weight {here!r} is {list(self.shapes[here])}, that of {of.where} "
                                f"{list(of.shapes[name])}; only models trained from one base lie on a line")
        return found

    def equal(self, name: str, other: str, *, of: Weights | None = None) -> bool:
        """Whether two tensors, `other` here or of another model, hold the same numbers, bit for bit."""
        there = of or self
        if self.shapes[name] != there.shapes[other] or self.dtypes[name] != there.dtypes[other]:
            return False
        return all(torch.equal(_bits(self.read(name, cut)), _bits(there.read(other, cut)))
                   for cut in self.pieces(name))


def between(base: torch.Tensor, trained: Sequence[torch.Tensor], share: float, dtype: torch.dtype) -> torch.Tensor:
    """base + share * (mean of `trained` - base), element by element, rounded once to `dtype`.

    At 0 the base and at 1, of one trained tensor, that tensor, bit for bit.
    """
    if share == 0:
        return base.to(dtype)
    if share == 1 and len(trained) == 1:
        return trained[0].to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    mean = trained[0].to(wide)
    for count, one in enumerate(trained[1:], start=2):
        mean = mean + (one.to(wide) - mean) / count  # equal tensors have exactly their value as the mean
    return torch.lerp(base.to(wide), mean, share).to(dtype)


def _merged(
    name: str, base: Weights, trained: Sequence[Weights], partners: Sequence[dict[str, str]], share: float
) -> torch.Tensor:
    """One tensor of the merge. Integers are equal everywhere (`_partners`)."""
    dtype = trained[0].dtypes[name]
    places = [(base, partners[0][name]), (trained[0], name),
              *((one, other[name]) for one, other in zip(trained[1:], partners[1:], strict=True))]
    merged = torch.empty(trained[0].shapes[name], dtype=dtype)
    for cut in trained[0].pieces(name):
        first, *others = (model.read(own, cut) for model, own in places)
        piece = between(first, others, share, dtype) if dtype.is_floating_point else first
        merged[... if cut is None else cut] = piece
    return merged


def _weight_files(path: str, revision: str | None) -> list[Path]:
    """The safetensors files of a model; those of a hub id are downloaded if they are not here."""
    from transformers.utils.hub import cached_file

    for name in (INDEX, SINGLE):
        try:
            found = cached_file(source(path), name, revision=revision, _raise_exceptions_for_missing_entries=False)
        except OSError as error:
            raise UserError(f"{path}: no model there ({str(error).splitlines()[0]}); expected `lab`, a hub id or the "
                            "directory of a model") from None
        if found is None:
            continue
        if name == SINGLE:
            return [Path(found)]
        shards = sorted(set(json.loads(Path(found).read_text())["weight_map"].values()))
        paths = [cached_file(source(path), shard, revision=revision) for shard in shards]
        return [Path(shard) for shard in paths if shard is not None]
    raise UserError(f"{path}: found no {SINGLE} and no {INDEX}; expected a model saved as safetensors (others: load it "
                    "and call save_pretrained)")


def copy_beside(folder: Path, output: Path, *, missing_from: Path | None = None) -> None:
    """Put config, tokenizer, generation config and the like of a model into `output`; what it lacks of them comes from
    `missing_from`."""
    output.mkdir(parents=True, exist_ok=True)
    for origin in (folder, missing_from or folder):
        for file in sorted(origin.iterdir()):
            wanted = file.suffix in _BESIDE_WEIGHTS and file.name not in _OF_TRAINING and file.is_file()
            if wanted and not file.name.endswith(".index.json") and not (output / file.name).exists():
                shutil.copyfile(file, output / file.name)


# ---------------------------------------------------------------- adapters


_FACTORS_A, _FACTORS_B = ("lora_A", "lora_embedding_A"), ("lora_B", "lora_embedding_B")


@dataclass(frozen=True)
class _Adapters:
    """The factors of one plain LoRA, of which only names and shapes are read."""

    folder: Path
    config: dict[str, Any]
    weights: Weights

    @classmethod
    def of(cls, folder: Path) -> _Adapters:
        """UserError for any other adapter, whose effect is not linear in one of its parts."""
        file = folder / ADAPTER
        if not file.is_file():
            raise UserError(f"{folder}: found no {ADAPTER}; expected adapters saved as safetensors")
        config, weights = json.loads((folder / ADAPTER_CONFIG).read_bytes()), Weights.in_files(str(folder), [file])
        odd = [name for name in weights.names if not {*_FACTORS_A, *_FACTORS_B} & set(name.split("."))]
        if config.get("peft_type") != "LORA" or config.get("use_dora") or odd:
            what = f"the weight {odd[0]!r}" if odd else "DoRA" if config.get("use_dora") else config.get("peft_type")
            raise UserError(f"{folder}: found {what}, expected a plain LoRA, which alone can be scaled; merge it into "
                            "its base first (peft: merge_and_unload, save_pretrained)")
        return cls(folder, config, weights)

    @classmethod
    def all_of(cls, base: str, folders: Sequence[Path]) -> list[_Adapters]:
        """Those in `folders` and, behind them, those of the base if it has some. UserError for some that do not fit."""
        found = [cls.of(folder) for folder in (*folders, *([Path(base)] if adapter_of(base) is not None else []))]
        for each in found if len(found) > 1 else []:
            each.check_like(found[0])
        return found

    def check_like(self, first: _Adapters) -> None:
        """Raises UserError for adapters that cannot become one of more rank."""
        for key in ("r", "lora_alpha", "base_model_name_or_path", "revision"):
            if self.config.get(key) != first.config.get(key):
                raise UserError(f"{self.folder}: {key} is {self.config.get(key)!r}, in {first.folder} "
                                f"{first.config.get(key)!r}; only adapters of one shape and base are mixed")
        unknown = ("use_rslora", "rank_pattern", "alpha_pattern", "lora_bias")
        if odd := [key for key in unknown if self.config.get(key)]:
            raise UserError(f"{self.folder}: found {odd[0]}, which mixing several adapters does not know; dial one run "
                            "alone and, if it began with adapters, merge these into the model before the training")
        if self.weights.shapes != first.weights.shapes:
            raise UserError(f"{self.folder}: adapts other modules than {first.folder}; only adapters of one shape and "
                            "base are mixed")

    def factors(self) -> dict[str, torch.Tensor]:
        return load_file(self.folder / ADAPTER)


def _merge_adapters(adapters: Sequence[_Adapters], trained: int, share: float, output: Path) -> None:
    """`share` times the mean of the updates B A of the first `trained` adapters and, of a base with adapters,
    1 - `share` times that of the last. Several become one of their ranks together, as the sum of products is not the
    product of sums."""
    parts = [(one, share / trained if i < trained else 1 - share) for i, one in enumerate(adapters)]
    if len(adapters) > trained:  # at both ends nothing but what is there
        parts = [(one, weight) for one, weight in parts if weight]
    tensors = [one.factors() for one, _ in parts]
    merged = {}
    for name, first in adapters[0].weights.dtypes.items():
        if any(part in name.split(".") for part in _FACTORS_A):
            merged[name] = torch.cat([one[name].to(first) for one in tensors], dim=0)
            continue
        # B A is scaled by alpha / r: with n times the rank and an unchanged alpha, by an n-th of what it was.
        scaled = [_scaled(one[name], len(parts) * weight, first)
                  for one, (_, weight) in zip(tensors, parts, strict=True)]
        merged[name] = torch.cat(scaled, dim=1) if len(scaled) > 1 else scaled[0]
    output.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in merged.items()}, output / ADAPTER,
              metadata={"format": "pt"})
    config = adapters[0].config | ({"r": adapters[0].config["r"] * len(parts)} if len(parts) > 1 else {})
    (output / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    copy_beside(adapters[0].folder, output)


def _scaled(tensor: torch.Tensor, by: float, dtype: torch.dtype) -> torch.Tensor:
    """Rounded once to `dtype`."""
    wide = torch.promote_types(torch.promote_types(tensor.dtype, dtype), torch.float32)
    return tensor.to(dtype) if by == 1 else (tensor.to(wide) * by).to(dtype)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)


_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}
"""By the names that safetensors files use."""
