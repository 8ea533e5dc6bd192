"""A run on the Hugging Face Hub: a checkpoint as a model with its card, the samples of the probes as a dataset.

Nothing of this happens unless it is asked for: training never sends anything to the hub.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlvr.report.card import base_of, write_card
from rlvr.report.export import csv_text
from rlvr.report.load import Run, read_samples
from rlvr.report.report import load_report
from rlvr.report.words import headline
from rlvr.runs.run_dir import RunDir
from rlvr.types import UserError

LOADABLE = ("model*.safetensors", "pytorch_model*.bin", "adapter_model.safetensors")
"""Weights that `from_pretrained` reads. A sharded save of FSDP or DeepSpeed alone has none of them."""
PUSHED = (*LOADABLE, "*.json", "*.txt", "*.model", "*.jinja", "*.py", "README.md", "boundary.png")
KEPT_HERE = ("rlvr_state.json", "trainer_state.json", "*/*")
"""What only a resume needs; it names folders of this machine."""
ROWS = 10_000
"""Completions in memory at a time."""


def push_model(run_dir: Path, repo_id: str, *, step: int | None = None, private: bool = True) -> str:
    """Upload a complete checkpoint, its tokenizer and its card; returns the address of the commit.

    `step`: of the checkpoint; None: the newest. An existing repository is updated. Raises UserError without a token,
    offline, for a checkpoint that is not there or has no weights to load, and for what the hub refuses.
    """
    checkpoints = dict(RunDir(run_dir).complete_checkpoints())
    if not checkpoints or step not in (None, *checkpoints):
        there, which = ", ".join(map(str, checkpoints)) or "none", "" if step is None else f" of step {step}"
        raise UserError(f"{run_dir}: no complete checkpoint{which}; it has {there}")
    folder = checkpoints[max(checkpoints) if step is None else step]
    if not any(path for pattern in LOADABLE for path in folder.glob(pattern)):
        raise UserError(f"{folder}: found no weights that transformers loads ({', '.join(LOADABLE)}); merge the shards "
                        "of this checkpoint first")
    with _hub() as api:
        api.create_repo(repo_id, repo_type="model", private=private, exist_ok=True)
        write_card(run_dir, folder, name=repo_id)
        return str(api.upload_folder(
            repo_id=repo_id, repo_type="model", folder_path=folder, allow_patterns=list(PUSHED),
            ignore_patterns=list(KEPT_HERE), commit_message=f"{folder.name}, trained with rlvr",
        ))


def push_samples(run_dir: Path, repo_id: str, *, private: bool = True) -> str:
    """Upload what the probes of a run drew as a dataset that the hub's viewer shows; returns the commit's address.

    Configurations: `samples` (a row per completion, a split per probe step), `problems` (a row per problem and step,
    with n and c) and `boundary` (boundary.csv). Raises UserError as `push_model` does.
    """
    report = load_report(run_dir)
    with _hub() as api, tempfile.TemporaryDirectory() as folder:
        write_dataset(report.run, csv_text(report), Path(folder))
        api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repo_id, repo_type="dataset", folder_path=folder,
                                     commit_message=f"Probe samples of {report.run.name}"))


def write_dataset(run: Run, boundary: str, folder: Path) -> None:
    """The files of the dataset: Parquet with the same columns in every split, and a card that names them."""
    import pyarrow as pa

    texts = {problem_id: {"prompt": text.prompt, "gold": text.gold} for problem_id, text in run.problems.items()}
    unknown = {"prompt": None, "gold": None}
    sample = pa.schema([
        ("step", pa.int64()), ("problem_id", pa.string()), ("prompt", pa.string()), ("gold", pa.string()),
        ("sample", pa.int64()), ("text", pa.string()), ("correct", pa.bool_()), ("reason", pa.string()),
        ("extracted", pa.string()), ("tokens", pa.int64()), ("truncated", pa.bool_()),
    ])
    problem = pa.schema([("step", pa.int64()), ("problem_id", pa.string()), ("prompt", pa.string()),
                         ("gold", pa.string()), ("n", pa.int64()), ("c", pa.int64()), ("accuracy", pa.float64())])
    splits = []
    for probe in run.probes:
        rows = ({"step": probe.step, **texts.get(row["problem_id"], unknown), **row}
                for row in read_samples(run, probe.step))
        if _write_parquet(folder / f"samples/step-{probe.step:06d}.parquet", sample, rows):
            splits.append({"split": f"step_{probe.step}", "path": f"samples/step-{probe.step:06d}.parquet"})
    if not splits:
        raise UserError(f"{run.path}: no samples are stored; expected samples/step-*.jsonl.gz")
    _write_parquet(folder / "problems.parquet", problem, (
        {"step": step, "problem_id": problem_id, "n": row.n, "c": row.c, "accuracy": row.c / row.n if row.n else None,
         **texts.get(problem_id, unknown)}
        for step, by_problem in run.rows.items() for problem_id, row in by_problem.items()))
    (folder / "boundary.csv").write_text(boundary, encoding="utf-8")
    _dataset_card(run, splits).save(folder / "README.md")


def _dataset_card(run: Run, splits: list[dict[str, str]]) -> Any:
    from huggingface_hub import DatasetCard, DatasetCardData

    data = DatasetCardData(
        pretty_name=f"Probe samples of {run.name}", tags=["rlvr"], task_categories=["text-generation"],
        configs=[{"config_name": "samples", "data_files": splits, "default": True},
                 {"config_name": "problems", "data_files": "problems.parquet"},
                 {"config_name": "boundary", "data_files": "boundary.csv"}],
    )
    base = base_of(run.recipe["model"])[0]
    text = (f"# Probe samples of {run.name}\n\n{headline(run).finding}\n\n"
            f"Completions with their verdicts that rlvr drew from {base} and from the model in training, to measure "
            "pass@k. `samples` has a split per training step (`step_0` is the base), `problems` the counts n and c of "
            "every problem, `boundary` the estimates with their intervals.\n")
    return DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{text}")


def _write_parquet(path: Path, schema: Any, rows: Iterator[dict[str, Any]]) -> int:
    """Write the rows in batches, and no file without any; returns how many there were."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, batch, writer = 0, [], None

    def flush() -> None:
        nonlocal writer, count
        if batch:
            if writer is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                writer = pq.ParquetWriter(path, schema)
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
            batch.clear()

    for row in rows:
        batch.append({name: _as(schema.field(name).type == pa.string(), row.get(name)) for name in schema.names})
        if len(batch) == ROWS:
            flush()
    flush()
    if writer is not None:
        writer.close()
    return count


def _as(text: bool, value: Any) -> Any:
    return str(value) if text and value is not None else value


@contextmanager
def _hub() -> Iterator[Any]:
    """The hub's client. UserError before anything is sent without a token or offline, and for what the hub refuses."""
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set, so nothing can be pushed; unset it for this command")
    if get_token() is None:
        raise UserError("found no token of the Hugging Face Hub; log in with `hf auth login`, or set HF_TOKEN")
    try:
        yield HfApi()
    except HFValidationError as error:
        raise UserError(f"not the name of a repository: {str(error).splitlines()[0]}") from None
    except HfHubHTTPError as error:
        said = re.sub(r"\s+", " ", str(error)).strip()
        raise UserError(f"the hub refused: {said}") from None
