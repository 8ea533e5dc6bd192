"""The data sections of a recipe: where problems come from, how a row becomes one, which settings contradict."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal

from rlvr.config.presets import FILE_TYPES
from rlvr.config.registry import resolve_reader
from rlvr.config.wording import short
from rlvr.lab.countdown import SPLITS as LAB_SPLITS
from rlvr.types import UserError

LAB = "lab"
GYM = "gym:"
"""How the source of a reasoning-gym task begins."""
NEUTRAL_TEMPLATE = "{prompt}"


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Where problems come from and which columns make one. Example, GSM8K from the hub:
    `{source: openai/gsm8k, config: main, prompt: question, gold_pattern: "#### (.+)"}`."""

    source: str
    """`lab` (the built-in countdown task), `gym:TASK` (of reasoning-gym: `pip install 'rlvr[gym]'`), a .jsonl or
    .parquet file (from the current directory), or a hub id."""
    split: str = "train"
    """Split of a hub dataset; `train` | `test` | `hard` of the lab (`hard`: test problems with one or two right
    answers); `train` | `test` of a gym task, which share no question. A local file is read whole."""
    revision: str | None = None
    """Commit, tag or branch of a hub dataset; null: whatever is newest on the day of the run."""
    config: str | None = None
    """Configuration (subset) of a hub dataset, such as `main`."""
    size: int | None = None
    """Take the first so many rows; null: all. Having fewer is an error. Lab and gym never end and need a number."""
    shuffle: int | None = None
    """Seed of a permutation of the rows before `skip` and `size` count; null: the source's own order."""
    skip: int = 0
    """Leave out the first so many rows: with `shuffle` and `size`, a split of a source that has none."""
    prompt: str = "problem"
    """Column of the question: text, or a list of chat messages (then `chat` must be true)."""
    gold: str | None = "answer"
    """Column of the reference answer: text, a number or a list of one. null: the verifier works from `extra` alone."""
    id: str | None = None
    """Column of a unique id; null: ids are built from the name of the source and the row number, from 0."""
    gold_pattern: str | None = None
    """Regular expression whose group 1, in its last match, is the answer inside the gold column; null: all of it."""
    verifier: str | None = None
    """Registry name or `package.module:Class`; null: `countdown` for the lab, `gym` for a gym task, `math` for
    everything else."""
    template: str = NEUTRAL_TEMPLATE
    """Text around the question. `{prompt}` must occur once; all other braces are left as they are."""
    system: str | None = None
    """System message; needs `chat: true`."""
    chat: bool = False
    """true: messages that the model's chat template renders; false: plain text, as base models read it. The wrong
    choice costs accuracy at step 0 that training then seems to win."""
    extra: tuple[str, ...] = ()
    """Further columns the verifier needs (unit tests); they reach it as `problem.extra`."""
    image: str | None = None
    """Column of the picture, or a list of them: bytes, file names (from the folder of the local file), or decoded as
    the hub gives them. A tag `<image>` in the question says where one goes; without tags they come first. Needs
    `chat: true` and a model that sees."""
    image_max_pixels: int | None = None
    """Larger pictures are scaled down to so many pixels. Small: details are lost; null or large: a photograph may
    take thousands of tokens (Qwen2.5-VL: one per 28 x 28 pixels)."""
    blank_images: bool = False
    """true: every picture is white, the control that shows what is solved without looking."""
    choices: str | None = None
    """Column of the options of multiple-choice rows, empty or null in others. They are appended to the question as
    `(A) ...` and reach the verifier as `problem.extra["choices"]`."""
    multiple_choice: Literal["keep", "drop"] = "keep"
    """`drop`: leave out the rows that have options, as 2504.13837 does, since guessing solves them at large k. `skip`
    and `size` count the rows that stay. Needs `choices`."""
    gold_boxed: bool = False
    """true: the answer is in the last \\boxed{} of the gold column, as in the solutions of MATH."""
    reader: str | None = None
    """Function that makes question, gold answer and extra of the whole row, where columns cannot: a name of `rlvr list`
    or `package.module:function`; null: the columns above."""
    files: tuple[str, ...] = ()
    """JSONL or Parquet files of the hub dataset to read in place of its own loader; empty: let `datasets` load it."""
    drop_bad_golds: bool = False
    """true: leave out problems whose gold answer cannot be read or is refused by the verifier, and say how many; false:
    such a gold is an error. `size` counts before they are dropped."""
    seed: int | None = None
    """Of a gym task's problems, 0 to 4000; null: 0. Another seed, other problems."""
    params: dict[str, Any] | None = None
    """Settings of a gym task, such as {min_animals: 5}, as its own config names them; null: its defaults."""

    @property
    def judged_by(self) -> str:
        """`verifier`, or the one that null stands for."""
        if self.verifier is not None:
            return self.verifier
        return "countdown" if self.source == LAB else "gym" if self.source.startswith(GYM) else "math"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeData:
    """The problems that the boundary is measured on."""

    probe: DataSpec
    """The same problems at every probe. The error bars shrink with the square root of their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSection(ProbeData):
    """The problems to train on and the problems that the boundary is measured on."""

    train: DataSpec
    allow_overlap: bool = False
    """false: a probe problem that is also trained on is an error."""


_UNUSED: dict[str, tuple[str, ...]] = {
    "the lab": ("revision", "config", "shuffle", "skip", "prompt", "gold", "id", "gold_pattern", "template", "system",
                "chat", "extra", "image", "image_max_pixels", "blank_images", "choices", "multiple_choice",
                "gold_boxed", "reader", "files", "seed", "params"),
    "a task of reasoning-gym": ("revision", "config", "shuffle", "skip", "prompt", "gold", "id", "gold_pattern",
                                "extra", "image", "image_max_pixels", "blank_images", "choices", "multiple_choice",
                                "gold_boxed", "reader", "files"),
    "a local file": ("split", "revision", "config", "files", "seed", "params"),
    "a hub dataset": ("seed", "params"),
}
_READER_DOES = ("prompt", "gold", "gold_pattern", "gold_boxed", "extra")


def check_spec(spec: DataSpec, where: str) -> None:
    """Raise UserError, prefixed with the dotted path `where`, for settings that contradict each other."""
    kind = ("the lab" if spec.source == LAB else "a task of reasoning-gym" if spec.source.startswith(GYM) else
            "a local file" if is_file(spec.source) else "a hub dataset")
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if field.name in _UNUSED.get(kind, ()) and value != field.default:
            raise UserError(f"{where}.{field.name}: found {short(value)}, but the source {spec.source!r} is {kind}, "
                            "which does not use it; remove it")
    if spec.size is not None and spec.size < 1:
        raise UserError(f"{where}.size: found {spec.size}, expected at least 1, or null for all rows")
    if spec.skip < 0:
        raise UserError(f"{where}.skip: found {spec.skip}, expected at least 0")
    if not on_disk_or_hub(spec.source) and spec.size is None:
        raise UserError(f"{where}.size: found null, expected a number: {kind} makes problems without end; set size")
    if spec.source == LAB and spec.split not in LAB_SPLITS:
        raise UserError(f"{where}.split: lab split {spec.split!r} does not exist: choose one of "
                        f"{', '.join(LAB_SPLITS)}")
    if spec.source.startswith(GYM):
        _check_gym(spec, where)
    if spec.template.count("{prompt}") != 1:
        raise UserError(f"{where}.template: found {spec.template.count('{prompt}')} times {{prompt}} in "
                        f"{short(spec.template)}, expected it once, where the question goes")
    if spec.system is not None and not spec.chat:
        raise UserError(f"{where}.system: found a system message with chat: false; set chat: true, or write the text "
                        f"into {where}.template")
    if spec.gold_pattern is not None:
        pattern_of(spec.gold_pattern, where)
    if spec.gold_boxed and (spec.gold is None or spec.gold_pattern is not None):
        raise UserError(f"{where}.gold_boxed: found true, which reads the last box of a gold column, beside "
                        f"{where}.{'gold: null' if spec.gold is None else 'gold_pattern'}; remove one of the two")
    if spec.reader is not None:
        resolve_reader(spec.reader)
        for name in _READER_DOES:
            if getattr(spec, name) != getattr(DataSpec(spec.source), name):
                raise UserError(f"{where}.{name}: found {short(getattr(spec, name))} beside {where}.reader "
                                f"{spec.reader!r}, which reads the whole row; remove one of the two")
    if any(not name.endswith(FILE_TYPES) for name in spec.files):
        raise UserError(f"{where}.files: found {', '.join(spec.files)}, expected .jsonl or .parquet files of the hub "
                        "dataset")
    _check_vision(spec, where)


def _check_gym(spec: DataSpec, where: str) -> None:
    if spec.split not in ("train", "test"):
        raise UserError(f"{where}.split: found {spec.split!r}, expected train or test, which share no question")
    if not 0 <= (spec.seed or 0) <= 4000:
        raise UserError(f"{where}.seed: found {spec.seed}, expected 0 to 4000")
    for name in {"seed", "size"} & set(spec.params or {}):
        raise UserError(f"{where}.params.{name}: found a setting that is {where}.{name}; write it there")


def _check_vision(spec: DataSpec, where: str) -> None:
    if spec.image is not None and not spec.chat:
        raise UserError(f"{where}.image: found {spec.image!r} with chat: false; set chat: true: pictures are parts of "
                        "chat messages")
    if spec.image is None and (spec.blank_images or spec.image_max_pixels is not None):
        raise UserError(f"{where}.image: found null with settings of pictures; name their column, or remove "
                        f"{where}.blank_images and {where}.image_max_pixels")
    if spec.image_max_pixels is not None and spec.image_max_pixels < 1:
        raise UserError(f"{where}.image_max_pixels: found {spec.image_max_pixels}, expected at least 1, or null")
    if spec.multiple_choice == "drop" and spec.choices is None:
        raise UserError(f"{where}.choices: found null, expected the column of the options: "
                        f"{where}.multiple_choice: drop leaves out the rows that have some")


def on_disk_or_hub(source: str) -> bool:
    """Whether a source is looked up; false for what is made here: the lab and gym tasks."""
    return source != LAB and not source.startswith(GYM)


def is_file(source: str) -> bool:
    """Whether a source is a local file."""
    return source.endswith(FILE_TYPES)


def pattern_of(text: str, where: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UserError(f"{where}.gold_pattern: {text!r} is not a regular expression: {error}") from None
    if pattern.groups < 1:
        raise UserError(f"{where}.gold_pattern: found no group in {text!r}, expected (...) around the answer")
    return pattern
