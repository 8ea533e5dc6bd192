"""The data sections of a recipe: where problems come from, how a row becomes one, which settings contradict."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Discriminator, Field, Tag

from rlvr.config.fields import AtLeastOne, Count, Lines, Positive, Says, Seed, Temperature, TopP
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
    """Where problems come from, and which columns of a row make one. GSM8K from the hub, for example:
    `{source: openai/gsm8k, config: main, prompt: question, gold_pattern: "#### (.+)"}`."""

    source: str
    """`lab` (the built-in countdown task), `gym:TASK` (a task of reasoning-gym: `pip install 'rlvr[gym]'`), a .jsonl or
    .parquet file (relative to the current directory), or the id of a hub dataset."""
    split: str = "train"
    """Split of a hub dataset. The lab has `train`, `test` and `hard` (test problems with one or two solutions); a gym
    task has `train` and `test`, which share no question. A local file has no splits and is read whole."""
    revision: str | None = None
    """Commit, tag or branch of a hub dataset. null: the newest on the day of the run."""
    config: str | None = None
    """Configuration (subset) of a hub dataset, such as `main`."""
    size: AtLeastOne | None = None
    """Number of rows to take, from the first; null: all. It is an error if there are fewer. The lab and gym tasks make
    problems without end, so they need a number."""
    shuffle: Seed | None = None
    """Seed of a permutation of the rows, done before `skip` and `size` are applied. null: keep the source's order."""
    skip: Count = 0
    """Number of rows to leave out at the beginning. With `shuffle` and `size` this splits a source that has no
    splits."""
    prompt: str = "problem"
    """Column of the question: text, or a list of chat messages (then `chat` must be true)."""
    gold: str | None = "answer"
    """Column of the reference answer: text, a number, or a list with one of these. null: the verifier needs `extra`
    alone."""
    id: str | None = None
    """Column of a unique id. null: ids are made of the source's name and the row number, from 0."""
    gold_pattern: Lines | None = None
    """Regular expression for the answer inside the gold column: group 1 of its last match. null: the whole column."""
    verifier: str | None = None
    """Name of a verifier (`rlvr list`) or `package.module:Class`. null: `countdown` for the lab, `gym` for a gym task,
    `math` for everything else."""
    template: Lines = NEUTRAL_TEMPLATE
    """Text around the question. `{prompt}` must occur once; all other braces are left as they are."""
    system: Lines | None = None
    """System message; needs `chat: true`."""
    chat: bool = False
    """true: chat messages, rendered by the model's chat template; false: plain text, as base models read it. The wrong
    choice lowers the accuracy at step 0, and training then seems to gain what it only restores."""
    extra: tuple[str, ...] = ()
    """Further columns that the verifier needs, such as unit tests; it finds them in `problem.extra`."""
    image: str | None = None
    """Column of a picture or a list of pictures: bytes, names of files (relative to the folder of the local file), or
    images as the hub's datasets give them. `<image>` in the question says where a picture goes; without it pictures
    come first. Needs `chat: true` and a model that reads images."""
    image_max_pixels: AtLeastOne | None = None
    """Larger pictures are scaled down to this many pixels. If it is small, details are lost; with null or a large value
    a photograph may take thousands of tokens (Qwen2.5-VL: one per 28 x 28 pixels)."""
    blank_images: bool = False
    """true: replace every picture by a white one. This control shows what is solved without looking."""
    choices: str | None = None
    """Column of the options of multiple-choice rows, empty or null in other rows. The options are appended to the
    question as `(A) ...`, and the verifier finds them in `problem.extra["choices"]`."""
    multiple_choice: Literal["keep", "drop"] = "keep"
    """`drop`: leave out rows that have options, as 2504.13837 does, because at large k guessing solves them. `skip` and
    `size` count the remaining rows. Needs `choices`."""
    gold_boxed: bool = False
    """true: the answer is in the last \\boxed{} of the gold column, as in the solutions of MATH."""
    reader: str | None = None
    """Function that makes question, gold answer and extra from a whole row, where columns are not enough: a name from
    `rlvr list` or `package.module:function`. null: use the columns above."""
    files: tuple[str, ...] = ()
    """JSONL or Parquet files of the hub dataset to read instead of using its own loader. Empty: let `datasets` load
    it."""
    drop_bad_golds: bool = False
    """true: leave out problems whose gold answer cannot be read or is rejected by the verifier, and report how many;
    false: such a problem is an error. `size` counts rows before they are left out."""
    seed: Annotated[int, Field(ge=0, le=4000), Says("0 to 4000")] | None = None
    """Seed of a gym task's problems, 0 to 4000; null: 0. Each seed gives other problems."""
    params: dict[str, Any] | None = None
    """Settings of a gym task, such as {min_animals: 5}, as in its own config. null: its defaults."""

    @property
    def judged_by(self) -> str:
        """`verifier`, or the one that null stands for."""
        if self.verifier is not None:
            return self.verifier
        return "countdown" if self.source == LAB else "gym" if self.source.startswith(GYM) else "math"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSetSpec(DataSpec):
    """One of several probe sets: the keys of `data.probe`, and what is measured otherwise than `probes` says. null: as
    there."""

    every: AtLeastOne | None = None
    """Updates between probes of this set."""
    plan: str | None = None
    """Sampling plan."""
    base_plan: str | None = None
    """Sampling plan of the base model's probe."""
    ks: tuple[AtLeastOne, ...] | None = None
    """The values of k in pass@k, in rising order."""
    temperature: Temperature | None = None
    """Sampling temperature, above 0."""
    top_p: TopP | None = None
    """Nucleus mass in (0, 1]."""
    max_new_tokens: AtLeastOne | None = None
    """Longest answer in tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureSpec(DataSpec):
    """One of several sources of training problems: the keys of `data.train`, and its weight."""

    weight: Positive = 1.0
    """Its share of the prompts, relative to the weights of the others. Exact: the prompts of the first n steps differ
    from it by less than one, whatever n."""


OWN = tuple(each.name for each in dataclasses.fields(ProbeSetSpec) if each.name not in
            {field.name for field in dataclasses.fields(DataSpec)})
"""Keys of a probe set that `probes` has too."""

OF_ONE = {field.name for field in dataclasses.fields(DataSpec)} | {"preset"}
"""Keys that only a section has which is one section itself."""


def is_several(section: Any) -> bool:
    """Whether a section, as plain data, names several sections and is not one itself."""
    return (isinstance(section, Mapping) and bool(section) and not OF_ONE & section.keys()
            and all(isinstance(each, Mapping) for each in section.values()))


def _kind(section: Any) -> str:
    return "several" if is_several(section) else "one"


T = TypeVar("T")
_One = Annotated[DataSpec, Tag("one")]
ProbeSets = Annotated[_One | Annotated[dict[str, ProbeSetSpec], Tag("several")], Discriminator(_kind)]
Mixture = Annotated[_One | Annotated[dict[str, MixtureSpec], Tag("several")], Discriminator(_kind)]


def by_name(section: DataSpec | Mapping[str, T]) -> Mapping[str, DataSpec | T]:
    """Name -> section; of a section that stands alone, the name is empty."""
    return {"": section} if isinstance(section, DataSpec) else section


def path_of(where: str, name: str) -> str:
    """Dotted path of the section called `name` at `where`."""
    return f"{where}.{name}" if name else where


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeData:
    """The problems that the boundary is measured on."""

    probe: ProbeSets
    """The same problems at every probe. The error bars shrink with the square root of their number. Several sets by
    name, as in `{math500: {preset: math500}, aime: {preset: aime25, every: 100}}`, are measured side by side; the first
    is the run's own, which stops it and keeps checkpoints."""

    @property
    def probe_set(self) -> DataSpec:
        """The one probe set, of a recipe of `rlvr.config.probe_recipe.of_sets`."""
        assert isinstance(self.probe, DataSpec)
        return self.probe


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSection(ProbeData):
    """The problems to train on and the problems that the boundary is measured on."""

    train: Mixture
    """The problems to train on. Several sources by name, as in `{gsm8k: {preset: gsm8k}, math: {preset: math, weight:
    2}}`, are mixed in proportion to their weights."""
    allow_overlap: bool = False
    """true: probe problems may also be trained on; false: that is an error."""
    prompts_too_long: Literal["error", "drop"] = "error"
    """What to do with training problems whose prompt has more tokens than `train.max_prompt_tokens`. drop: leave them
    out; how many is said and written into recipe.json. A probe problem that is too long is always an error, because
    every model is measured on the same problems."""

    @property
    def train_set(self) -> DataSpec:
        """The one source of training problems, of a recipe that names no others."""
        assert isinstance(self.train, DataSpec)
        return self.train


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
    if not on_disk_or_hub(spec.source) and spec.size is None:
        raise UserError(f"{where}.size: not set, expected a number: {kind} makes problems without end; set size")
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
    for name in {"seed", "size"} & set(spec.params or {}):
        raise UserError(f"{where}.params.{name}: found a setting that is {where}.{name}; write it there")


def _check_vision(spec: DataSpec, where: str) -> None:
    if spec.image is not None and not spec.chat:
        raise UserError(f"{where}.image: found {spec.image!r} with chat: false; set chat: true: pictures are parts of "
                        "chat messages")
    if spec.image is None and (spec.blank_images or spec.image_max_pixels is not None):
        raise UserError(f"{where}.image: found null with settings of pictures; name their column, or remove "
                        f"{where}.blank_images and {where}.image_max_pixels")
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
