"""What the pages name exists: files, keys, algorithms, presets, reasons. And what is made from the code is complete."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from trl.trainer.grpo_config import GRPOConfig

from rlvr.config.known_keys import FOREIGN
from rlvr.config.presets import PRESETS
from rlvr.config.recipe import load_recipe
from rlvr.config.registry import BUILT_IN, names
from rlvr.runs.metrics import GLOSSARY
from rlvr.statistics.plan import PLANS
from rlvr.types import Reason
from tests.docs.pages import PAGES, ROOT, blocks, hooks, text_of

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@each_page
def test_links_and_paths_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        made = page.parent == ROOT / "docs" and target == "report.png"
        assert made or target.startswith("http") or (page.parent / target).exists(), f"{page} links to {target}"
    for path in re.findall(r"`((?:rlvr|algorithms|rewards|recipes|launch|tests|docs)/[\w./]+)`", text):
        assert (ROOT / path).exists(), f"{page} names {path}"


def test_a_path_that_is_not_there_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for text in ("[a](b.md)", "`tests/no_such.py`"):
        page.write_text(text)
        with pytest.raises(AssertionError, match="page"):
            test_links_and_paths_lead_to_files(page)


def test_the_readme_stays_short() -> None:
    assert len(text_of("README.md").splitlines()) <= 150 and len(text_of("AGENTS.md").splitlines()) <= 80


def test_the_glossary_is_what_is_logged() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]*) \|$", hooks().metrics(), re.MULTILINE)
    assert {key: (meaning.strip(), direction.strip()) for key, meaning, direction in rows} == GLOSSARY


def test_every_algorithm_is_compared_and_explained() -> None:
    page = text_of("docs/algorithms.md")
    table = re.findall(r"^\| `(\w+)` \| \[[\d.]+\]\(https://arxiv.org/abs/", page, re.MULTILINE)
    assert sorted(table) == sorted(BUILT_IN["algorithms"])
    made = hooks().algorithms()
    for name in BUILT_IN["algorithms"]:
        section = made.partition(f"### {name}\n")[2].partition("\n### ")[0]
        assert "``` { .text .formula }\n" in section and len(section) > 200, name
    assert "`overlong_buffer` | `0`" in made and "`clip_high` | `0.28`" in made  # own settings, and changed defaults
    assert made.count("`entropy_target`") == 1  # what all share stands once


def test_every_verifier_preset_and_plan_is_there() -> None:
    verifiers = text_of("docs/verifiers.md").partition("## Judge")[0]
    assert all(f"`{name}`" in verifiers for name in names("verifiers"))
    judged = text_of("docs/datasets.md").partition("## Limits")[2]
    assert re.findall(r"^\| `(\w+)` \|", judged, re.MULTILINE) == list(PRESETS)
    assert re.findall(r"^\| `(\w+)` \|", hooks().presets(), re.MULTILINE) == list(PRESETS)
    assert re.findall(r"^\| `([\w-]+)` \|", hooks().plans(), re.MULTILINE) == list(PLANS)


def test_who_reads_the_markdown_is_told_where_a_part_is() -> None:
    """Bug: the tables made from the code were a gap without a word. The site has the part in place of the line."""
    hook = hooks()
    for page in (page for page in PAGES if "<!-- from the code" in page.read_text(encoding="utf-8")):
        text = page.read_text(encoding="utf-8")
        parts = text.count("<!-- from the code")
        assert parts == len(hook.MARKER.findall(text)) == text.count("*(A part of the site"), page
    assert "A part of the site" not in hook.on_page_markdown(text_of("docs/probes.md"))


def test_cells_of_numbers_stay_on_one_line() -> None:
    row = "<td>13.6 / 63.3</td><td><strong>96.1</strong></td><td>GRPO, 3</td><td></td>"
    assert hooks().on_post_page(row) == (
        '<td class="numbers">13.6 / 63.3</td><td class="numbers"><strong>96.1</strong></td><td>GRPO, 3</td><td></td>')


def test_the_map_has_every_file_that_says_what_it_is() -> None:
    made = hooks().code_map()
    for place, file in (("rlvr/statistics", "plan.py"), ("algorithms", "grpo.py"), ("rewards/math", "latex.py")):
        section = made.partition(f"## `{place}`\n")[2].partition("\n## ")[0]
        assert f"| `{file}` | " in section
    assert "rlvr/algorithms" not in made  # a link to the folder at the top


def test_the_table_of_reasons_has_each_once() -> None:
    table = text_of("docs/verifiers.md").partition("## Reasons")[2].partition("\n\n|")[2]
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(reason.value for reason in Reason)


def recipe_keys() -> set[str]:
    """Dotted keys of the recipe reference."""
    found: set[str] = set()
    for section in hooks().recipe().split("\n## ")[0:]:
        title, _, table = section.partition("\n")
        paths = re.findall(r"`([^`]+)`", title) or [""]
        keys = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
        found |= {f"{path}.{key}".lstrip(".") for path in paths for key in keys}
    return found


def test_the_recipe_reference_has_every_key_with_a_meaning() -> None:
    keys = recipe_keys()
    for key in ("seed", "model.lora.r", "data.train.gold_pattern", "data.probe.chat", "train.vllm.mode", "train.steps",
                "train.rewards.length.free", "probes.arms.NAME.temperature", "judge.timeout", "tracking.wandb"):
        assert key in keys, key
    bare = [row for row in hooks().recipe().splitlines() if re.fullmatch(r"\| `.+ \|  \|", row)]
    assert not bare
    assert "| `steps` | whole number >= 1" in hooks().recipe() and "required |" in hooks().recipe()


def test_keys_of_trl_and_of_recipes_in_the_table_exist() -> None:
    page = hooks().on_page_markdown(text_of("docs/coming-from.md"))
    trl = {field.name for field in dataclasses.fields(GRPOConfig)}
    settings = {name.strip("`") for name in re.findall(r"^\| (`\w+`) \|", hooks().algorithms(), re.MULTILINE)}
    keys = recipe_keys() | {f"algorithm.{name}" for name in (*settings, "name")}
    theirs = page.partition("## Keys: TRL")[2].partition("## Keys: verl")[0]
    for row in re.findall(r"^\| (`.+)$", page, re.MULTILINE):
        first, ours, *_ = row.split(" | ")
        if row in theirs:
            assert set(re.findall(r"`(\w+)", first)) <= trl | {"GRPOConfig", "peft_config"}, row
            for name in re.findall(r"`(\w+)`", first):  # what an error about such a key suggests is in the table too
                assert name not in FOREIGN or f"`{FOREIGN[name]}" in ours or FOREIGN[name] == name, row
        for key in re.findall(r"`([a-z_]+(?:\.[a-z_0-9*]+)+)", ours):
            assert key in keys or "*" in key, row


def test_recipes_in_the_pages_load(tmp_path: Path) -> None:
    whole = [yaml.safe_load(block) for block in blocks(text_of("docs/training.md"), "yaml")]
    (recipe,) = [tree for tree in whole if "name" in tree]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    load_recipe(tmp_path / "recipe.yaml")
    for page in PAGES:  # an excerpt takes the place of the same section
        for block in blocks(page.read_text(encoding="utf-8"), "yaml"):
            excerpt = yaml.safe_load(block)
            if "arms" in excerpt:
                continue
            merged = recipe | {key: recipe.get(key, {}) | value if key in ("train", "probes", "data") else value
                               for key, value in excerpt.items()}
            (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(merged))
            load_recipe(tmp_path / "recipe.yaml")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(path)],
                          cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return path


def test_the_site_is_built_and_loads_nothing_from_other_hosts(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]+src=\"?([^\"> ]+)", text)
        loaded += re.findall(r"<link[^>]+rel=\"?(?:stylesheet|icon|preload)[^>]+href=\"?([^\"> ]+)", text)
        assert loaded and not [url for url in loaded if "//" in url], page
        assert '<html lang="en"' in text and 'role="dialog" aria-label="Search">' in text, page
        assert "mermaid" not in text and "<!-- from the code" not in text, page  # mermaid would be fetched
        assert 'src="focus.js"' in text or 'src="/focus.js"' in text, page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?https?:", sheet.read_text(encoding="utf-8")), sheet
    assert (site / "report.png").is_file()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium to draw the page")
def test_what_scrolls_sideways_can_be_reached_with_the_keyboard(site: Path) -> None:
    """Bug: long lines of code, and tables on narrow screens, could be scrolled with a mouse alone."""
    for page, box in (("coming-from.html", r'<div class="md-typeset__scrollwrap"([^>]*)>'),
                      ("training.html", r"</nav><code([^>]*)>")):
        shown = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--window-size=800,1000", "--virtual-time-budget=5000",
             "--dump-dom", (site / page).as_uri()], capture_output=True, text=True, timeout=120, check=True).stdout
        boxes = re.findall(box, shown)
        assert 0 < sum('tabindex="0"' in attributes for attributes in boxes) < len(boxes), (page, boxes)
