"""The model card of a checkpoint: what was trained on what and how, and where its boundary lies beside the base's.

README.md and the picture that it shows, as the Hugging Face Hub reads them: numbers with their intervals stand in the
`model-index` of its header too (https://github.com/huggingface/hub-docs/blob/main/modelcard.md).
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.config.data import GYM, LAB, is_file, is_several
from rlvr.report.export import how_measured, markdown_table
from rlvr.report.load import ProbePoint, Run, load_run
from rlvr.report.summary import cells, columns, intervals_text, verdict
from rlvr.report.words import headline
from rlvr.runs.run_dir import RunDir
from rlvr.statistics.boundary_row import headline_k
from rlvr.types import Estimate

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

NAME = "README.md"
PICTURE = "boundary.png"
PRIVATE = ("run_dir", "tracking", "judge")
"""Parts of a recipe that say where it ran, and not what it learned."""
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
LEVEL = 0.95


def write_card(run_dir: Path, checkpoint: Path, *, name: str | None = None) -> Path:
    """Write README.md and its picture into `checkpoint`, a directory `checkpoint-STEP` of the run; returns README.md.

    `name` is what the usage loads, a hub id; None stands for the path of the checkpoint. Numbers are those of the last
    probe at or before the checkpoint's step; without a probe the card says that the boundary was not measured.
    """
    from huggingface_hub import ModelCard

    step = int(checkpoint.name.split("-")[1])
    files_of_run = RunDir(run_dir)
    stored = files_of_run.read_recipe()
    run = _until(load_run(run_dir), step) if files_of_run.boundary.is_file() else None
    adapters = (checkpoint / "adapter_config.json").is_file()
    data = _metadata(stored["recipe"], run, adapters=adapters)
    template = re.sub(r"(?m)^(\{%.*%\})\n", r"\1", (files("rlvr.report") / "card.md").read_text(encoding="utf-8"))
    card = ModelCard.from_template(data, template_str=template, **_text(stored, run, step, name or str(checkpoint),
                                                                      adapters=adapters))
    if run is not None:
        from rlvr.report.card_picture import draw

        draw(run, checkpoint / PICTURE)
    card.save(checkpoint / NAME)
    return checkpoint / NAME


def base_of(model: Mapping[str, Any]) -> tuple[str, str | None]:
    """What the card calls the base, and its hub id: None for the lab's and for a local folder, which the hub does not
    know and whose path is nobody's business."""
    path = str(model["path"])
    if path == LAB:
        return "the tiny transformer of rlvr's lab", None
    if Path(path).exists() or not HUB_ID.fullmatch(path):
        return Path(path).name, None
    return path, path


def sources_of(data: Any) -> Iterator[tuple[str, str | None, Mapping[str, Any]]]:
    """Of each source in a data section of recipe.json: what the card calls it, its hub id or None, its settings."""
    for spec in data if isinstance(data, list) else data.values() if is_several(data) else [data]:
        source = str(spec["source"])
        local = source == LAB or source.startswith(GYM) or is_file(source)
        yield Path(source).name if is_file(source) else source, None if local else source, spec


def _until(run: Run, step: int) -> Run:
    """The run as it was when the checkpoint of `step` was saved."""
    return dataclasses.replace(run, probes=tuple(probe for probe in run.probes if probe.step <= step))


def _algorithm(recipe: Mapping[str, Any]) -> str:
    algorithm = recipe["algorithm"]
    return str(algorithm["name"] if isinstance(algorithm, Mapping) else algorithm)


def _metadata(recipe: Mapping[str, Any], run: Run | None, *, adapters: bool) -> Any:
    from huggingface_hub import ModelCardData

    datasets = [hub_id for _, hub_id, _ in sources_of(recipe["data"]["train"]) if hub_id]
    results = list(eval_results(recipe, run)) if run is not None else []
    return ModelCardData(
        base_model=base_of(recipe["model"])[1],
        datasets=datasets or None,
        library_name="peft" if adapters else "transformers",
        pipeline_tag="text-generation",
        tags=["rlvr", "reinforcement-learning", _algorithm(recipe).rpartition(":")[2]],
        model_name=str(recipe["name"]) if results else None,
        eval_results=results or None,
    )


def eval_results(recipe: Mapping[str, Any], run: Run) -> Iterator[EvalResult]:
    """pass@1, pass@k at the largest k, delta_se and the shrinkage of the run's last probe as entries of a model-index.

    Values are fractions. `metric_args` hold the interval, its level, the probe's step and how many problems and tries.
    """
    from huggingface_hub import EvalResult

    probe, k = run.probes[-1], run.k_max
    told = list(sources_of(recipe["data"]["probe"]))
    told = told[:1] if is_several(recipe["data"]["probe"]) else told  # the run's own set, which `run` was measured on
    names, (_, hub_id, spec) = ", ".join(name for name, _, _ in told), told[0]
    metrics = {"pass@1": "", f"pass@{k}": "", "delta_se": f"base pass@{headline_k(run.ks)} - pass@1",
               f"shrinkage@{k}": f"base pass@{k} - pass@{k}"}
    for metric, means in metrics.items():
        estimate, shared = _estimate(probe, metric)
        if math.isnan(estimate.value):
            continue
        yield EvalResult(
            task_type="text-generation", task_name="Reasoning boundary",
            dataset_type=hub_id or names, dataset_name=names, dataset_config=spec.get("config") if hub_id else None,
            dataset_split=spec.get("split") if hub_id else None,
            dataset_revision=spec.get("revision") if hub_id else None,
            metric_type=metric, metric_name=f"{metric} ({means})" if means else metric,
            metric_value=round(estimate.value, 6),
            metric_args={"step": probe.step, "problems": probe.problems, **shared},
        )


def _estimate(probe: ProbePoint, metric: str) -> tuple[Estimate, dict[str, Any]]:
    """A metric and what belongs to it. Shrinkage comes with the bounds that its verdict rests on."""
    estimate, shared = probe.get(metric), {}
    name, _, k = metric.partition("@")
    if name == "shrinkage" and int(k) in probe.verdicts:
        one = probe.verdicts[int(k)]
        estimate = one.bounds
        shared = {"verdict": str(one.verdict), "bounds": "one-sided; hold over all probes of the run"}
    if not math.isnan(estimate.low + estimate.high):
        level = 1 - probe.alpha if shared else LEVEL
        shared = {"low": round(estimate.low, 6), "high": round(estimate.high, 6), "level": level, **shared}
    return estimate, shared


def _text(stored: Mapping[str, Any], run: Run | None, step: int, load_from: str, *, adapters: bool) -> dict[str, Any]:
    """What the template asks for beside the header."""
    from huggingface_hub.utils import yaml_dump

    recipe = stored["recipe"]
    base, hub_id = base_of(recipe["model"])
    linked = f"[{base}](https://huggingface.co/{base})" if hub_id else base
    train = ", ".join(f"{name} ({spec['split']})" for name, _, spec in sources_of(recipe["data"]["train"]))
    algorithm = _algorithm(recipe)
    about = [("algorithm", algorithm), ("base", linked), ("trained on", train), ("step", f"{step} of "
             f"{recipe['train']['steps']}"), ("seed", recipe["seed"]),
             ("weights", "adapters (LoRA)" if adapters else "all")]
    known = {name: version for name, version in (stored.get("versions") or {}).items() if version}
    versions = f"Made with {', '.join(f'{name} {version}' for name, version in known.items())}."
    shown = {key: value for key, value in recipe.items() if key not in PRIVATE}
    loader = "AutoPeftModelForCausalLM" if adapters else "AutoModelForCausalLM"
    usage = (f"from {'peft' if adapters else 'transformers'} import {loader}\n\n"
             f"model = {loader}.from_pretrained({load_from!r})")
    opening = f"{base} after {step} step{'s' if step != 1 else ''} of {algorithm} on {train}, trained with rlvr."
    return {"title": f"{recipe['name']}, step {step}", "opening": opening, "about": about, "usage": usage,
            "versions": versions, "recipe": yaml_dump(shown, sort_keys=False).strip(), "image": PICTURE,
            **({} if run is None else _boundary(run, step))}


def _boundary(run: Run, step: int) -> dict[str, Any]:
    """The boundary in words: finding, the table of base and probe, how it was measured."""
    first, probe = headline(run), run.probes[-1]
    shown = [run.base, *([probe] if run.last else [])]
    judged = bool(probe.verdicts)
    heads = ["step", *(column.title for column in columns(run)), *(["verdict"] if judged else [])]
    body = [[str(one.step), *(cell.text for cell in cells(run, one)), *([verdict(run, one)] if judged else [])]
            for one in shown]
    late = f" The last probe before this checkpoint was at step {probe.step}." if probe.step < step else ""
    return {"finding": first.finding, "notes": first.notes, "table": "\n".join(markdown_table(heads, body)),
            "intervals": intervals_text(run), "measured": f"Measured with {how_measured(run)}{late}",
            "alt": f"pass@k of the base and at step {probe.step}; delta_se over the steps"}
