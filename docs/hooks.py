"""The parts of the pages that are made from the code each time the site is built, so that they cannot go stale.

A page asks for a part by a line of its own, such as `<!-- from the code: metrics -->`; PARTS has their names. The line
below it, `*(A part of the site ...)*`, is for readers of the Markdown and left out of the site. The code is read, not
run: no part needs torch.
"""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MARKER = re.compile(r"^<!-- from the code: (\w+) -->\n\*\(.+\)\*$", re.MULTILINE)
NUMBERS = re.compile(r"<td>((?:<strong>)?[\d\s./%+-]{1,40}(?:</strong>)?)</td>")
PICTURE = "recipes/quickstart/report.png"
API = {
    "The words every part shares": [f"rlvr.types.{name}" for name in (
        "Problem", "Completion", "Verdict", "Reason", "Decoding", "Counts", "Estimate", "UserError")],
    "Judging": ["rlvr.judging.judge.Judge"],
    "Measuring": ["rlvr.probes.callback.BoundaryProbeCallback", "rlvr.statistics.plan.SamplingPlan",
                  "rlvr.statistics.pass_at_k.pass_at_k"],
    "Training": ["rlvr.config.recipe.load_recipe", "rlvr.training.trainer.RLVRTrainer"],
    "Writing plug-ins": ["rlvr.interfaces.Algorithm", "rlvr.interfaces.Verifier", "rlvr.interfaces.Sampler",
                         "rlvr.algorithms.checks.check_algorithm"],
    "What an algorithm receives and returns": [f"rlvr.interfaces.{name}" for name in (
        "RolloutBatch", "Credit", "Needs", "LossSpec", "TokenBatch", "GroupFilter", "CriticSpec")],
}
"""Title -> public names, by the module that defines them."""
SHORT = {"rlvr.types.Reason": "    options: {members: false}\n"}
"""Entries without members: docs/verifiers.md has a table of all reasons."""
FIRST = ("name", "seed", "run_dir", "model", "data", "algorithm", "train", "probes", "judge", "tracking")


def on_files(files: Any, config: Any) -> Any:
    """Add the README's picture, which lies beside its recipe, to the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "report.png", abs_src_path=str(ROOT / PICTURE)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with every part that it asks for."""
    return MARKER.sub(lambda found: PARTS[found[1]](), markdown)


def on_post_page(output: str, **_: Any) -> str:
    """The page with a name for the search, which the theme leaves to screen readers to guess, and with cells of numbers
    alone marked, so that style.css keeps 13.6 / 63.3 / 91.4 on one line."""
    return NUMBERS.sub(r'<td class="numbers">\1</td>', output).replace('data-md-component="search" role="dialog">',
                          'data-md-component="search" role="dialog" aria-label="Search">')


def on_post_template(output: str, **_: Any) -> str:
    """Likewise for what is no page: 404.html."""
    return on_post_page(output)


def metrics() -> str:
    """Every key of metrics.jsonl and boundary.jsonl, one table per family."""
    from rlvr.runs.metrics import GLOSSARY

    titles = {"train": "Training", "perf": "Speed and cost", "boundary": "Boundary"}
    text = ""
    for family, title in titles.items():
        rows = [[f"`{key}`", meaning, direction] for key, (meaning, direction) in GLOSSARY.items()
                if key.startswith(f"{family}/")]
        text += f"### {title}\n\n{table(['key', 'meaning', 'better'], rows)}\n\n"
    return text


def algorithms() -> str:
    """Per algorithm: what it is, its formula and its own settings; then the settings that all share."""
    from rlvr.config.registry import BUILT_IN

    found = {name: code_of(target) for name, target in BUILT_IN["algorithms"].items()}
    settings = {name: fields_of(config_of(cls)) for name, cls in found.items()}
    shared = {key: field for key, field in settings["grpo"].items() if all(key in other for other in settings.values())}
    text = ""
    for name, cls in found.items():
        own = [row for key, row in settings[name].items() if key not in shared or row[1] != shared[key][1]]
        about = cls.module.docstring.value.strip()
        text += f"### {name}\n\n{linked(about)}\n\n``` {{ .text .formula }}\n{cls.docstring.value.strip()}\n```\n\n"
        text += f"{linked(paragraphs(config_of(cls).docstring))}\n\n"
        if own:
            text += f"{table(['setting', 'default', 'meaning'], own)}\n\n"
    rows = list(shared.values())
    return text + f"### Settings that all share\n\n{table(['setting', 'default', 'meaning'], rows)}\n"


def presets() -> str:
    """What each data preset fills in."""
    from rlvr.config.presets import PRESETS

    rows = [[f"`{name}`", preset.about, f"`{preset.fields['source']}`", f"`{preset.fields['verifier']}`",
             "yes" if "revision" in preset.fields else ("a local file" if preset.fields["source"].endswith(".jsonl")
                                                        else "no")]
            for name, preset in PRESETS.items()]
    return table(["preset", "what it is", "source", "verifier", "revision pinned"], rows)


def plans() -> str:
    """The sampling plans and what they cost."""
    from rlvr.statistics.plan import PLANS
    from rlvr.statistics.schedule import DIFFICULTIES

    rows = []
    for name, plan in PLANS.items():
        rounds = [f"{n} ({c} right)" for n, c in zip(plan.checkpoints, plan.stop_at, strict=False)]
        cost = [f"{plan.expected_samples_beta(a, b):.0f}" for a, b in DIFFICULTIES.values()]
        rows.append([f"`{name}`", ", ".join(rounds) or "-", str(plan.max_samples), *cost])
    return table(["plan", "stops a problem after so many samples with so many right", "at most", *DIFFICULTIES], rows)


def code_map() -> str:
    """Every file of the package with the first sentence of its docstring, one table per folder."""
    folders: dict[str, list[list[str]]] = {}
    for folder in ("rlvr", "algorithms", "rewards"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            if about and not (folder == "rlvr" and path.parts[len(ROOT.parts) + 1] in ("algorithms", "rewards")):
                first = " ".join(about.partition("\n\n")[0].split())
                sentence = re.split(r"(?<=[.?])\s(?=[A-Z`])", first, maxsplit=1)[0]
                place = str(path.parent.relative_to(ROOT))
                folders.setdefault(place, []).append([f"`{path.name}`", linked(sentence.replace("|", "\\|"))])
    return "\n\n".join(f"## `{place}`\n\n{table(['file', 'what is in it'], rows)}" for place, rows in folders.items())


def changelog() -> str:
    """CHANGELOG.md without its title."""
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("\n")[2]



def api() -> str:
    """One mkdocstrings entry per public name, in groups."""
    text = ""
    for title, names in API.items():
        text += f"## {title}\n\n" + "".join(f"::: {name}\n{SHORT.get(name, '')}\n" for name in names)
    return text


def recipe() -> str:
    """Every key of a recipe by section, from the JSON schema."""
    schema = json.loads((ROOT / "recipes/recipe.schema.json").read_text(encoding="utf-8"))
    defs, paths = schema["$defs"] | {"": schema}, {"": [""]}
    collect("", defs, "", paths)
    text = ""
    for name, places in paths.items():
        title = " and ".join(f"`{place}`" for place in places) if name else "At the top"
        section, required = defs[name], defs[name].get("required", [])
        shared = defs["DataSpec"]["properties"] if name in ("MixtureSpec", "ProbeSetSpec") else {}
        rows = [[f"`{key}`", kind(field), default_of(field, required=key in required), meaning(field, defs)]
                for key, field in ordered(section, places[0]) if key not in shared]
        about = section["description"] if name else ""
        text += f"## {title}\n\n{about}\n\n{table(['key', 'type', 'default', 'meaning'], rows)}\n\n"
    return text


def collect(name: str, defs: dict[str, Any], path: str, paths: dict[str, list[str]]) -> None:
    """Add the sections below the section `name`, which stands at `path`: name -> the dotted paths of its places."""
    for key, field in ordered(defs[name], path):
        inner = f"{path}.{key}".lstrip(".")
        named = [section_of(each["additionalProperties"]) for each in (field, *field.get("anyOf", []))
                 if isinstance(each.get("additionalProperties"), dict)]
        for below, where in [(section_of(field), inner), *((each, f"{inner}.NAME") for each in named)]:
            if below in paths:
                paths[below].append(where)
            elif below is not None and key != "algorithm":  # docs/algorithms.md has its settings
                paths[below] = [where]
                collect(below, defs, where, paths)


def ordered(section: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any]]]:
    """The fields of a section as they are shown."""
    return sorted(section["properties"].items(), key=lambda item: place(path, item[0]))


def place(path: str, key: str) -> int:
    """Where a key comes: at the top and in `data` as in the shipped recipes, else in the order of the code."""
    order = {"": FIRST, "data": ("train", "probe")}.get(path, ())
    return order.index(key) if key in order else len(order)


def section_of(field: dict[str, Any]) -> str | None:
    """The name of the section that a field holds, also where it may be null; None for a plain value."""
    found = [member["$ref"].rpartition("/")[2] for member in [field, *field.get("anyOf", [])] if "$ref" in member]
    return found[0] if found else None


def kind(field: dict[str, Any]) -> str:
    """The type and range of a field in the words of YAML."""
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(kind(member) for member in field["anyOf"]))
    if "$ref" in field:
        return "section"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        return f"list, each {kind(field.get('items', {}))}"
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = ", ".join(f"{sign} {field[name]:,}" for name, sign in signs.items() if name in field)
    names = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false",
             "null": "null", "object": "section"}
    return f"{names.get(field.get('type', ''), 'any value')} {limits}".strip()


def default_of(field: dict[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    if isinstance(field.get("default"), dict) or "default" not in field:
        return ""
    return f"`{json.dumps(field['default'])}`".replace('"', "")


def meaning(field: dict[str, Any], defs: dict[str, Any]) -> str:
    """What the field's docstring says; of a section without one, what the section says of itself."""
    text = field.get("description") or defs.get(section_of(field) or "", {}).get("description", "")
    return " ".join(text.split()).replace("|", "\\|")


def trl_keys() -> str:
    """Every field of TRL's GRPOConfig that a recipe says by a key of its own or not at all."""
    from rlvr.config.foreign_keys import TRL

    return foreign_table("GRPOConfig", TRL)


def verl_keys() -> str:
    """The settings of verl's PPO trainer."""
    from rlvr.config.verl_keys import VERL

    return foreign_table("verl", VERL)


def foreign_table(whose: str, keys: Any) -> str:
    rows = [[f"`{name}`", f"`{here.key}`" if here.key else "none", here.note.replace("|", "\\|")]
            for name, here in keys.items()]
    return table([whose, "recipe", "note"], rows)


PARTS = {part.__name__: part for part in (metrics, algorithms, presets, plans, code_map, changelog, api, recipe,
                                          trl_keys, verl_keys)}


@cache
def package() -> Any:
    """The source of rlvr, parsed."""
    import griffe

    return griffe.load("rlvr", search_paths=[str(ROOT)], submodules=True)


def code_of(target: str) -> Any:
    """The parsed class that `package.module:Class` names."""
    return package()[target.removeprefix("rlvr.").replace(":", ".")]


def config_of(algorithm: Any) -> Any:
    """The parsed dataclass of an algorithm's settings."""
    config = algorithm.module[str(algorithm.all_members["Config"].value)]
    return config.final_target if config.is_alias else config


def fields_of(config: Any) -> dict[str, list[str]]:
    """Name -> row of name, default and meaning, inherited fields first."""
    return {name: [f"`{name}`", f"`{yaml_of(str(field.value))}`", words(field.docstring)]
            for name, field in config.all_members.items()
            if field.is_attribute and field.annotation is not None and "property" not in field.labels}


def yaml_of(value: str) -> str:
    """A Python literal as YAML writes it."""
    return {"None": "null", "True": "true", "False": "false"}.get(value, value.strip("'\""))


def words(docstring: Any) -> str:
    """A docstring in one line, as a table's cell needs it."""
    return linked(" ".join(docstring.value.split()).replace("|", "\\|")) if docstring else ""


def paragraphs(docstring: Any) -> str:
    return docstring.value.strip() if docstring else ""


def linked(text: str) -> str:
    """arXiv ids in prose as links."""
    return re.sub(r"\b(\d{4}\.\d{5})\b", r"[\1](https://arxiv.org/abs/\1)", text)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
