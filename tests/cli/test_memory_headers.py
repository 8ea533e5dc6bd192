"""Every shipped recipe says in its header on what it fits, and the forecast of `rlvr check --gpu` says the same.

Run: python -m pytest tests/cli/test_memory_headers.py
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rlvr.cli.hardware import fits, gpu_of, load_for, shape_for
from rlvr.cli.main import main
from rlvr.config.comparison import load_comparison
from rlvr.config.recipe import SHIPPED, load_recipe
from rlvr.models.memory import GIB, memory

PLACE = r"fits (\d+) x (\w+) with (ddp|zero2|zero3|fsdp2)(?: and (\S+))?: ([\d.]+) GiB"
LINE = re.compile(rf"^# +(?:memory +)?{PLACE}", re.MULTILINE)
RECIPES = sorted(SHIPPED.glob("*/*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_recipe_fits_where_its_header_says(path: Path) -> None:
    said = LINE.findall(path.read_text())
    assert said, f"{path}: no line of the form `memory     fits 8 x h100 with zero3: 50.7 GiB per GPU`"
    for processes, name, sharding, setting, size in said:
        comparison = path.parent.name == "compare"
        recipes = (list({run.arm: run.recipe for run in load_comparison(path)}.values()) if comparison
                   else [load_recipe(path, setting.split())])  # of each arm one seed
        peaks = []
        for recipe in recipes:
            load = load_for(recipe, shape_for(recipe), int(processes), sharding)
            found = memory(load, gpu_of(name).memory)
            assert fits(found, gpu_of(name), load), path
            peaks.append(found.peak / GIB)
        assert float(size) == pytest.approx(max(peaks), abs=0.051), f"{path}: forecast {max(peaks):.1f} GiB"


def test_check_prints_the_forecast_or_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["check", "--offline", "--processes", "8", "recipes/math/math_grpo_7b.yaml", "--gpu"]
    assert main([*command, "h100", "--sharding", "zero3"]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    said = {line[0]: line[1] for line in lines if len(line) > 1}
    assert said["memory"] == "fits 8 x h100 with zero3: peak 50.7 of 73.6 usable GiB per GPU"
    assert said["time"].endswith("hours for 200 updates") and said["GiB:"].startswith("weights 1.8, gradients 3.5")
    assert main([*command, "h101"]) == 2
    assert "--gpu: unknown GPU 'h101'; did you mean 'h100'?" in capsys.readouterr().err
