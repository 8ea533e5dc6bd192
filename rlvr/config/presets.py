"""Public benchmarks by name: `train: {preset: gsm8k, split: train}` in a recipe stands for the lines below.

A preset fills keys of `rlvr.config.data.DataSpec`: hub id, revision, columns, where the gold answer is, the verifier.
What a recipe sets itself wins, so `source: my_copy.jsonl` reads a local copy with the preset's columns. Prompts
(`chat`, `system`, `template`) are left to the recipe, as they belong to the model; but pictures need `chat`. The
resolved recipe of a run holds the filled keys, not the name. In `data.train` the split is the training split. A new
preset is one more entry of PRESETS, and a row of it in tests/files/recorded_rows.jsonl.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlvr.config.overrides import CommandLine
from rlvr.config.wording import did_you_mean
from rlvr.config.yaml_text import parse_yaml
from rlvr.types import UserError

FILE_TYPES = (".jsonl", ".parquet")
ONLY_ON_THE_HUB = ("split", "revision", "config", "files")


@dataclass(frozen=True, slots=True)
class Preset:
    """One benchmark. `fields` are keys of DataSpec; a preset without `source` needs one from the recipe."""

    about: str
    fields: Mapping[str, Any]
    train_split: str | None = None
    """The split to train on; None: the benchmark is for evaluation alone."""


PRESETS: dict[str, Preset] = {
    "gsm8k": Preset("GSM8K: 7,473 train, 1,319 test problems with integer answers", {
        "source": "openai/gsm8k", "config": "main", "revision": "740312add88f781978c0658806c59bc2815b9866",
        "split": "test", "prompt": "question", "gold": "answer", "gold_pattern": r"####\s*(.+)", "verifier": "math"},
        train_split="train"),
    "math": Preset("MATH: 7,500 train, 5,000 test problems (MATH-500 is part of the test split)", {
        "source": "DigitalLearningGmbH/MATH-lighteval", "revision": "0530c78699ea5e8eb5530600900e1f328b48acad",
        "split": "train", "prompt": "problem", "gold": "solution", "gold_boxed": True, "verifier": "math"},
        train_split="train"),
    "math500": Preset("MATH-500: 500 problems of MATH's test split", {
        "source": "HuggingFaceH4/MATH-500", "revision": "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        "split": "test", "prompt": "problem", "gold": "answer", "verifier": "math"}),
    "minerva": Preset("Minerva Math: 272 problems of university science courses", {
        "source": "math-ai/minervamath", "revision": "ee46ddc498933b1977577953250ca5c66be64f96",
        "split": "test", "prompt": "question", "gold": "answer", "verifier": "math"}),
    "olympiadbench": Preset("OlympiadBench: its 674 open-ended English mathematics problems without images", {
        "source": "Hothan/OlympiadBench", "config": "OE_TO_maths_en_COMP",
        "revision": "91184b52131e7fc9455fef848035173aea8cc01a",
        "split": "train", "prompt": "question", "gold": "final_answer", "verifier": "math"}),
    "aime24": Preset("AIME 2024: 30 problems, answers 0 to 999", {
        "source": "HuggingFaceH4/aime_2024", "revision": "2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
        "split": "train", "prompt": "problem", "gold": "answer", "verifier": "math"}),
    "aime25": Preset("AIME 2025: 30 problems, answers 0 to 999", {
        "source": "math-ai/aime25", "revision": "563bb8404243c5f09de6ec262f2db674fe5bce9b",
        "split": "test", "prompt": "problem", "gold": "answer", "verifier": "math"}),
    "aime26": Preset("AIME 2026: 30 problems, answers 0 to 999", {
        "source": "MathArena/aime_2026", "revision": "d2de22f3c656b4f56cf8981212186377d1e23bc3",
        "split": "train", "prompt": "problem", "gold": "answer", "verifier": "math"}),
    "hmmt26": Preset("HMMT February 2026: 33 problems with answers of any form", {
        "source": "MathArena/hmmt_feb_2026", "revision": "02fba4f74d8e68e73e66a02d540fd979c05c274c",
        "split": "train", "prompt": "problem", "gold": "answer", "verifier": "math"}),
    "beyond_aime": Preset("BeyondAIME: 100 problems harder than AIME's, with integer answers", {
        "source": "ByteDance-Seed/BeyondAIME", "revision": "c705198ae1043810b1e1693bd879250b51a7a523",
        "split": "test", "prompt": "problem", "gold": "answer", "verifier": "math"}),
    "math_beyond": Preset("MATH-Beyond: 181 problems that some of 21 base models do not solve in 1,024 tries", {
        "source": "brendel-group/MATH-Beyond", "revision": "1a2a6294ff8d673aeb271ab3eff272e8d6b48c2d",
        "split": "test", "prompt": "problem", "gold": "answer", "verifier": "math"}),
    "amc23": Preset("AMC 2023: 40 problems", {
        "source": "math-ai/amc23", "revision": "80815d37005feb82cd7f8fbc6901d5d3eff43057",
        "split": "test", "prompt": "question", "gold": "answer", "verifier": "math"}),
    "omni_math_rule": Preset("Omni-MATH-Rule: 2,821 olympiad problems; a local file (see recipes/paper/grpo.yaml)", {
        "source": "data/omni_math_rule.jsonl", "prompt": "problem", "gold": "answer", "verifier": "math"}),
    "deepscaler": Preset("DeepScaleR-Preview: 40,315 problems of AIME, AMC, Omni-MATH and STILL, for training", {
        "source": "agentica-org/DeepScaleR-Preview-Dataset", "revision": "b6ae8c60f5c1f2b594e2140b91c49c9ad0949e29",
        "split": "train", "prompt": "problem", "gold": "answer", "verifier": "math"},
        train_split="train"),
    "livecodebench": Preset("LiveCodeBench release v5: 880 contest tasks with hidden tests", {
        "source": "livecodebench/code_generation_lite", "revision": "0fe84c3912ea0c4d4a78037083943e8f0c4dd505",
        "split": "train", "files": ("test.jsonl", "test2.jsonl", "test3.jsonl", "test4.jsonl", "test5.jsonl"),
        "id": "question_id", "reader": "livecodebench", "verifier": "unit_tests"}),
    "livecodebench_v6": Preset("LiveCodeBench release v6: v5 and 175 tasks of January to April 2025", {
        "source": "livecodebench/code_generation_lite", "revision": "0fe84c3912ea0c4d4a78037083943e8f0c4dd505",
        "split": "train", "files": ("test.jsonl", "test2.jsonl", "test3.jsonl", "test4.jsonl", "test5.jsonl",
                                    "test6.jsonl"),
        "id": "question_id", "reader": "livecodebench", "verifier": "unit_tests"}),
    "humaneval_plus": Preset("HumanEval+: 164 functions to complete", {
        "source": "evalplus/humanevalplus", "revision": "d32357cf319e50e9c8d8dab5ea876c72b0fd321b",
        "split": "test", "id": "task_id", "reader": "humaneval_plus", "verifier": "unit_tests"}),
    "mbpp_plus": Preset("MBPP+: 378 small functions", {
        "source": "evalplus/mbppplus", "revision": "b2d74c91837c3f2a20c1299ae98133cbe7cfa077",
        "split": "test", "id": "task_id", "reader": "mbpp_plus", "verifier": "unit_tests"}),
    "code_r1": Preset("Code-R1-12k: LeetCode and TACO tasks with tests, for training", {
        "source": "ganler/code-r1-12k", "split": "train", "reader": "code_r1", "verifier": "unit_tests"},
        train_split="train"),
    "geometry3k": Preset("Geometry3K: 2,101 train, 601 test problems with pictures", {
        "source": "hiyouga/geometry3k", "revision": "fd21e533e1e50d0662a2bf7b223e60511bd5f8b7",
        "split": "test", "prompt": "problem", "image": "images", "chat": True, "gold": "answer",
        "verifier": "visual_answer"},
        train_split="train"),
    "mathvista": Preset("MathVista testmini: its 460 problems that are not multiple choice, with pictures", {
        "source": "AI4Math/MathVista", "revision": "2b6ad69445fbb5695c9b165475e8decdbeb97747",
        "split": "testmini", "prompt": "question", "image": "decoded_image", "chat": True,
        "gold": "answer", "id": "pid", "choices": "choices", "multiple_choice": "drop",
        "extra": ("precision",), "verifier": "visual_answer"}),
    "mathvision": Preset("MathVision testmini: its problems that are not multiple choice, with pictures", {
        "source": "MathLLMs/MathVision", "split": "testmini", "prompt": "question", "image": "decoded_image",
        "chat": True, "gold": "answer", "id": "id", "choices": "options", "multiple_choice": "drop",
        "verifier": "visual_answer"}),
}


def expand(section: Any, where: str) -> Any:
    """A section of a recipe with its `preset` replaced by the keys it stands for; one without is returned as it is.

    Keys of the section win. Beside a local `source`, the preset's keys for the hub are left out. `data.train` gets the
    benchmark's training split. Raises UserError for a name that is no preset, and where there is no training split.
    """
    section = opened(section)
    if not isinstance(section, Mapping) or section.get("preset") is None:
        return section
    name = _read(section["preset"])
    if not isinstance(name, str) or name not in PRESETS:  # a list cannot be looked up
        raise UserError(f"found {name!r}, expected the name of a benchmark"
                        f"{did_you_mean(str(name), list(PRESETS))}", where=f"{where}.preset")
    preset = PRESETS[name]
    given = {key: value for key, value in section.items() if key != "preset"}
    source = _read(given.get("source", preset.fields.get("source")))
    local = isinstance(source, str) and source.endswith(FILE_TYPES)
    filled = {key: list(value) if isinstance(value, tuple) else value for key, value in preset.fields.items()
              if not (local and key in ONLY_ON_THE_HUB)}
    if where.startswith("data.train") and not local and "split" not in given:
        if preset.train_split is None:
            raise UserError(f"not set, and {name} has no training split, as it is for evaluation; choose another "
                            f"preset, or set split: {preset.fields['split']} to train on its problems all the same",
                            where=f"{where}.split")
        filled["split"] = preset.train_split
    return {**filled, **given}


def opened(section: Any) -> Any:
    """An override of a whole section, `data.train={preset: gsm8k}`, as a section of overrides."""
    tree = _read(section)
    if tree is section or not isinstance(tree, Mapping):
        return section
    return {key: CommandLine(json.dumps(value, default=str), section.source) for key, value in tree.items()}


def _read(value: Any) -> Any:
    """The value of an override before the type of its field is known; other values as they are."""
    return parse_yaml(value.text, command_line=True) if isinstance(value, CommandLine) else value
