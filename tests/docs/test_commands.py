"""Every command of the pages is run, small, or is on the list of those that are not, with a reason.

What is run shares one folder: the first trainings of the pages make the runs that later commands read. What is not run
is still checked: a recipe that it names loads, the command line parses, files and make targets are there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlvr.cli.main import main, parse
from rlvr.config.comparison import load_comparison
from rlvr.config.recipe import load_recipe
from rlvr.lab.model import BASE_DIR
from tests.docs.pages import PAGES, ROOT, SHELLS, blocks, text_of
from tests.support import warm
from tests.support.openai_server import serving

NOT_RUN = {
    r"make (quickstart|setup|test|check|docs)( PYTHON=\S+)?": "sets up an environment",
    r"\. \.venv/bin/activate": "changes the shell that types it",
    r"pip install -e .+": "sets up an environment",
    r"apt-get install bubblewrap": "installs a package of the system",
    r"wandb sync .+": "needs an account",
    r"rlvr push .+": "needs an account; tests/report/test_card.py runs it against a stub of the hub",
    r"rlvr --help": "argparse ends the process",
    r"rlvr --completion .+": "argparse ends the process; tests/cli/test_init.py runs it",
    r"rlvr convert .+": "reads files of TRL or verl; tests/cli/test_convert.py runs it on such files",
    r"\.venv/bin/mkdocs serve": "does not end; test_pages.py builds the site",
    r"python tests/statistics/coverage_table\.py .+": "takes an hour",
    r"python tests/lab/accuracy\.py .+": "takes minutes",
    r"python tests/benchmarks/(boundary_search|gym_boundary)\.py .+": "trains for minutes per arm and seed",
    r"python tests/benchmarks/two_engines\.py .+": "needs a pretrained model and vLLM",
    r"accelerate launch .+": "several processes; tests/training starts them",
    r"sbatch .+": "needs Slurm; tests/test_launch.py runs the script with stand-ins",
    r"rlvr compare recipes/compare/(paper_kl_n|lab_distill)\.yaml.*": "GPUs, or twelve runs",
    r"rlvr audit --data (math500|gsm8k)": "downloads a dataset; tests/config/test_presets.py reads a row of each",
    r"rlvr (check|train) my_run\.yaml.*": "downloads model and dataset; `check --offline` of the same recipe is run",
}
FIRST = ("rlvr train recipes/quickstart/lab_grpo.yaml train.steps=150 run_dir=runs/longer",
         "rlvr compare recipes/compare/lab_six.yaml")
"""These make what other commands read, so they are run before them, whatever the order of the pages."""
STEPS = 2
SMALL = ["train.prompts_per_step=4", "train.group_size=4", "train.micro_batch_size=8", f"train.steps={STEPS}",
         "train.save_every=1", "data.train.size=64", "data.probe.size=4", f"probes.every={STEPS}", "probes.plan=cheap",
         "probes.base_plan=cheap", "judge.workers=1", "tracking.wandb=disabled"]


def commands_in(text: str) -> list[str]:
    """One string per command, without comments and with single blanks."""
    lines = "\n".join(blocks(text, *SHELLS)).replace("\\\n", " ").splitlines()
    found = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    return [shlex.join(words) for words in found if words]


def bare_globs(text: str) -> list[str]:
    """Settings without quotes that a shell takes for names of files: zsh stops at seeds=[0]."""
    lines = "\n".join(blocks(text, *SHELLS)).replace("\\\n", " ").splitlines()
    words = [word for line in lines for word in shlex.split(line, comments=True, posix=False)]
    return [word for word in words if re.search(r"=.*[\[*?{]", re.sub(r"'[^']*'|\"[^\"]*\"", "", word))]


def all_commands() -> list[str]:
    return list(dict.fromkeys(command for page in PAGES for command in commands_in(page.read_text(encoding="utf-8"))))


def reason(command: str) -> str | None:
    """Why a command is not run; None for one that is."""
    return next((why for pattern, why in NOT_RUN.items() if re.fullmatch(pattern, command)), None)


SKIPPED = [command for command in all_commands() if reason(command) is not None]
RUN = [*FIRST, *(command for command in all_commands() if reason(command) is None and command not in FIRST)]


def test_no_shell_takes_a_setting_for_names_of_files() -> None:
    """Bug: `seeds=[0]` without quotes is an error in zsh."""
    assert bare_globs("```bash\nrlvr compare a.yaml seeds=[0] 'b=[1]'  # or c=[2]\n```") == ["seeds=[0]"]
    assert {page.name: bare_globs(page.read_text(encoding="utf-8")) for page in PAGES} == {
        page.name: [] for page in PAGES}


def small(command: str) -> list[str]:
    """The arguments of `rlvr` that do the same in seconds; where its output goes is left out."""
    words = shlex.split(re.sub(r"checkpoint([- ])\d+", rf"checkpoint\g<1>{STEPS}", command))[1:]
    words = words[: words.index(">")] if ">" in words else words
    verb = words[0]
    if verb in ("train", "check") or words[:2] == ["lab", "distill"]:
        return words if "--offline" in words else [*words, *SMALL]
    if verb == "compare" and words[1].endswith(".yaml"):
        return [*words, "--arms", "grpo", *(["seeds=[0]"] if "seeds=[0]" not in words else []), *SMALL]
    words = [os.environ["STUB"] if before == "--base-url" else word for before, word in pairwise(["", *words])]
    if "--watch" in words:  # one that ended: it has the checkpoints that the command waits for
        words = shlex.split(re.sub("trl-output(.*)--until 200", r"their_output\1--until 2", shlex.join(words)))
        return [*few(words), "--plan", "cheap", "judge.workers=1"]
    if "--base-url" in words:
        return [*words, "data.probe.size=2", "--plan", "cheap", "judge.workers=1"]
    if verb == "probe" and "--from" in words:
        return [*words, "judge.workers=1"]
    if verb == "probe" and "lab" in words and "--from" not in words:
        return [*few(words), "--plan", "cheap", "judge.workers=1"]
    if verb == "audit":
        return [*words, "--workers", "1"]
    return [*words, "--problems", "4"] if words[:2] == ["lab", "exact"] else words


def few(words: list[str]) -> list[str]:
    """Few problems where the command sets a number. Bug: one that must set it and did not was run with one."""
    return [re.sub(r"^data\.probe\.size=\d+$", "data.probe.size=4", word) for word in words]


def foreign_files(folder: Path) -> None:
    """The folders of other programs that docs/bring-your-own.md points at."""
    kept = ROOT / "tests" / "files" / "foreign"
    for source, target in (("lm_eval.jsonl", "lm_eval/base/samples_sums_2026-11-29T14-48-56.537962.jsonl"),
                           ("lm_eval_repeats.jsonl", "lm_eval/trained/samples_sums_2026-11-29T14-49-12.098720.jsonl"),
                           ("trl_1.parquet", "trl_output/completions/completions_00001.parquet"),
                           ("trl_2.parquet", "trl_output/completions/completions_00002.parquet")):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kept / source, folder / target)
    (folder / "verl_validation").mkdir()
    for step in (0, 20):
        rows = [{"input": "What is 1 + 1?", "output": text, "gts": "2", "score": 1.0, "step": step}
                for text in (r"\boxed{2}", r"\boxed{3}")]
        (folder / "verl_validation" / f"{step}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which the commands are typed, with the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("workshop")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setenv("RLVR_CACHE", str(folder / "cache"))
        patch.setattr("rlvr.config.distillation.CANDIDATES", 64)
        patch.setattr("rlvr.probes.appearing.POLL", 0.01)
        patch.setattr("rlvr.cli.comparison_runs.subprocess", SimpleNamespace(Popen=warm.Popen, PIPE=subprocess.PIPE))
        server = stack.enter_context(serving(models=("qwen-base", "qwen-step-200")))
        patch.setenv("STUB", server.url)
        for page, language, name in (("docs/algorithms.md", "python", "my_algorithms.py"),
                                     ("docs/verifiers.md", "python", "my_verifiers.py"),
                                     ("docs/training.md", "yaml", "my_run.yaml")):
            (code,) = [block for block in blocks(text_of(page), language)
                       if block.startswith((f"# {name}", "name: my_run"))]
            (folder / name).write_text(code)
        problems = [{"name": f"p{i}", "problem": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(4)]
        for name in ("my_data", "my_test"):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
        for name, right in (("base", 1), ("trained", 2), ("samples", 1)):
            samples = [{"problem_id": row["name"] if name != "samples" else f"my_test/{i}", "sample": sample,
                        "text": rf"\boxed{{{row['answer'] if sample < right else 99}}}"}
                       for i, row in enumerate(problems) for sample in range(4)]
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
        foreign_files(folder)
        shutil.copytree(BASE_DIR, folder / "their_output" / "checkpoint-2")
        assert main(small(FIRST[0].replace("runs/longer", "runs/other") + " seed=1")) == 0
        yield folder


@pytest.mark.parametrize("command", RUN)
def test_it_runs(command: str, workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.startswith("rlvr "), "neither run nor listed in NOT_RUN"
    assert main(small(command)) == 0, capsys.readouterr().err
    output = re.search(r"(?:-o |run_dir=)(\S+)", command)
    assert output is None or (workshop / output[1]).exists()


@pytest.mark.parametrize("command", SKIPPED)
def test_what_is_not_run_is_at_least_well_formed(command: str, workshop: Path) -> None:
    words = shlex.split(command)
    for word in words:
        if re.match(r"(recipes|launch|tests)/", word):
            assert (ROOT / word).is_file(), word
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    if words[0] == "pip" and (extra := re.search(r"\[(\w+)\]", words[-1])):
        assert extra[1] in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words:
        if word.startswith("recipes/compare/"):
            load_comparison(word)
    if words[:2] == ["rlvr", "compare"]:
        load_comparison(words[2])
    elif words[0] == "rlvr" and words[1] not in ("--help", "--completion"):
        assert callable(parse(words[1:]).run)
    recipes = [i for i, word in enumerate(words)
               if word.endswith(".yaml") and not word.startswith(("launch/", "recipes/compare/"))]
    if recipes and words[1] not in ("compare", "convert"):
        load_recipe(words[recipes[0]], [word for word in words[recipes[0] + 1 :] if "=" in word])


def test_a_new_command_is_run_or_listed() -> None:
    page = "text\n```bash\nnew-tool --flag   # what it does\nrlvr report runs/longer \\\n    -o x\n```\n"
    assert commands_in(page) == ["new-tool --flag", "rlvr report runs/longer -o x"]
    assert reason("new-tool --flag") is None and not "new-tool --flag".startswith("rlvr ")


def test_every_reason_is_used() -> None:
    assert not [pattern for pattern in NOT_RUN if not any(re.fullmatch(pattern, command) for command in SKIPPED)]
