"""`accelerate launch -m rlvr.train RECIPE [key=value ...] [--resume]`: where the parts meet.

Everything that can be wrong with a recipe, its data or its run directory is found before the model loads.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from rlvr.data import check_overlap, load_problems, problem_rows
from rlvr.golds import Section, usable
from rlvr.loading import load_processing, source
from rlvr.probe_budget import budget_of, check_budget
from rlvr.recipe import Recipe, RewardSection, build_algorithm, load_recipe, plan_of_steps, resolved
from rlvr.registry import resolve
from rlvr.run_dir import RunDir
from rlvr.types import Problem, UserError

if TYPE_CHECKING:
    from rlvr._shaping import ShapedReward
    from rlvr.probe_arms import Arm
    from rlvr.probe_recipe import ProbeRecipe
    from rlvr.probes.callback import BoundaryProbeCallback, Truth

T = TypeVar("T")


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the recipe says; returns the exit code. A user's mistake is one line on stderr and code 2."""
    parser = argparse.ArgumentParser(prog="python -m rlvr.train", description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        run(arguments.recipe, arguments.overrides, resume=arguments.resume)
    except UserError as error:
        if _rank() == 0:
            sys.stderr.write(f"error: {error}\n")
        _tell_launcher(f"error: {error}")
        return 2
    return 0


def _tell_launcher(line: str) -> None:
    """Leave the line where torchrun's closing summary, which stands below its own traceback, shows it again.

    The first process to end makes torchrun end the others, maybe before the one that prints has printed.
    """
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        Path(file).write_text(json.dumps({"message": line, "timestamp": int(time.time())}))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of training, shared with `rlvr train`."""
    parser.add_argument("recipe", help="path of a recipe, e.g. recipes/quickstart/lab_grpo.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe settings to change")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the recipe's run_dir")


def run(recipe_path: str | Path, overrides: Sequence[str] = (), *, resume: bool = False) -> RunDir:
    """One training run, from recipe to report. Returns its directory.

    Raises: UserError for anything the user can mend.
    """
    recipe = load_recipe(recipe_path, overrides)
    algorithm = build_algorithm(recipe)
    plan_of_steps(recipe, int(os.environ.get("WORLD_SIZE", "1")))
    train_problems = load_problems(recipe.data.train, where="data.train")
    probe_problems = load_problems(recipe.data.probe, where="data.probe") if recipe.probes.enabled else []
    overlap(recipe, train_problems, probe_problems)
    _check_enough(recipe, train_problems)
    quiet()

    from accelerate import PartialState

    from rlvr.forecast import critic_note
    from rlvr.judge import Judge
    from rlvr.probe_arms import arms_of, open_arms

    state = PartialState(cpu=not _cuda())
    with Judge(**recipe.judge.options()) as judge:
        train_problems, probe_problems = _on_main(lambda: usable(judge, [
            Section("data.train", recipe.data.train, train_problems),
            Section("data.probe", recipe.data.probe, probe_problems),
        ]))
        _check_enough(recipe, train_problems)
        arms = arms_of(recipe, probe_problems) if recipe.probes.enabled else []
        _on_main(lambda: check_budget(recipe, probe_problems))
        run_dir = RunDir(recipe.run_path)
        lab = recipe.model.path == "lab"

        def opened() -> str | None:
            created = RunDir.create(recipe.run_path, resume=resume)
            checkpoint = open_run(created, resolved(recipe), probe_problems, lab=lab, resume=resume)
            open_arms(created, arms, resolved(recipe), lab=lab)
            return checkpoint

        checkpoint = _on_main(opened)
        if state.is_main_process and (note := critic_note(algorithm, recipe.train.learning_rate)):
            sys.stderr.write(f"{note}\n")
        try:
            _train(recipe, run_dir, checkpoint, train_problems, probe_problems, arms, judge)
        except Exception as error:
            if not _disk_full(run_dir, error):
                raise
            raise UserError(f"{run_dir.path}: no space left on the device; nothing written before is lost: free some "
                            "space, then go on with --resume") from error
        if state.is_main_process and recipe.probes.enabled:
            _report(run_dir)
    return run_dir


def _check_enough(recipe: Recipe, train_problems: Sequence[Problem]) -> None:
    if len(train_problems) < recipe.train.prompts_per_step:
        raise UserError(
            f"data.train: {len(train_problems)} problems cannot fill a step of train.prompts_per_step = "
            f"{recipe.train.prompts_per_step}; use more data or fewer prompts per step"
        )


def leave(code: int) -> NoReturn:
    """End this process with exit code `code`; with several processes, without tearing the interpreter down.

    torch 2.13 can deadlock or abort there: a process group's destructor joins gloo's threads while it holds the
    interpreter lock that one of them still wants (seen in 1 of 10 runs on two busy cores, after all work was done).
    """
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        if code == 0:
            dist.barrier()  # no process closes its sockets while another still reads from them
            if dist.get_backend() != "gloo":
                dist.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def overlap(recipe: Recipe, train: Sequence[Problem], probe: Sequence[Problem]) -> int:
    """Number of probe problems that are also trained on. Raises UserError unless there are none or they are allowed."""
    return check_overlap(
        train, probe, train_template=recipe.data.train.template, probe_template=recipe.data.probe.template,
        allow=recipe.data.allow_overlap,
    )


def quiet() -> None:
    """Keep the libraries' notes out of the user's terminal; errors still show."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"(torch|accelerate|transformers|trl|peft)\b")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("WANDB_SILENT", "true")
    # DeepSpeed, where it is installed, announces on import that there is no GPU.
    logging.getLogger("DeepSpeed").addFilter(lambda record: "Setting accelerator to CPU" not in record.getMessage())
    for name in ("transformers", "trl", "accelerate", "datasets", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from datasets.utils.logging import disable_progress_bar
    from transformers.utils import logging as hf_logging

    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    disable_progress_bar()


def open_run(
    run_dir: RunDir, tree: dict[str, Any], problems: Sequence[Problem], *, lab: bool, resume: bool = False
) -> str | None:
    """Rank 0: write or compare the recipe and drop what will be written again; the checkpoint to resume from."""
    run_dir.write_recipe(tree, lab=lab)
    run_dir.write_problems(problem_rows(problems))
    checkpoint = run_dir.latest_checkpoint(discard_incomplete=True) if resume else None
    if checkpoint is not None:
        check_checkpoint(checkpoint, source(tree["model"]["path"]))
    run_dir.truncate_after(int(checkpoint.name.split("-")[1]) if checkpoint else -1)
    return None if checkpoint is None else str(checkpoint)


_SHAPE_KEYS = ("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
               "num_attention_heads", "num_key_value_heads")


def check_checkpoint(checkpoint: Path, model: str) -> None:
    """Raises UserError if the checkpoint's weights cannot be `model`'s. Adapters carry no config: not checked."""
    file = checkpoint / "config.json"
    if not file.is_file():
        return
    from transformers import PreTrainedConfig

    found = json.loads(file.read_text())
    expected = PreTrainedConfig.get_config_dict(model)[0]
    for key in _SHAPE_KEYS:
        if found.get(key) != expected.get(key):
            raise UserError(f"{file}: {key} is {found.get(key)!r}, but the model of the recipe has "
                            f"{expected.get(key)!r}: it is a checkpoint of another model; restore it, or delete "
                            f"{checkpoint} to resume from the one before")


def _train(
    recipe: Recipe,
    run_dir: RunDir,
    checkpoint: str | None,
    train_problems: Sequence[Problem],
    probe_problems: Sequence[Problem],
    arms: Sequence[Arm],
    judge: Any,
) -> None:
    from transformers import PrinterCallback
    from transformers.trainer_callback import ProgressCallback

    from rlvr.probe_arms import ArmCallback
    from rlvr.tracking import CheckpointMarker, MetricsCallback, ProgressLine, WandbRun
    from rlvr.trainer import RLVRTrainer

    images = any(problem.images for problem in [*train_problems, *probe_problems])
    tokenizer = load_processing(recipe.model.path, images=images, revision=recipe.model.revision)
    if recipe.model.chat_template is not None:
        tokenizer.chat_template = Path(recipe.model.chat_template).read_text()
    check_prompt_lengths(tokenizer, train_problems, recipe.train.max_prompt_tokens)
    for arm in arms:
        check_prompt_lengths(tokenizer, arm.problems, sys.maxsize)
    algorithm = build_algorithm(recipe)
    main = _rank() == 0
    trainer = RLVRTrainer(
        source(recipe.model.path),
        algorithm=algorithm,
        problems=train_problems,
        judge=judge,
        args=training_arguments(recipe, run_dir),
        seed=recipe.seed,
        loss=recipe.train.loss,
        truncated=recipe.train.truncated,
        shaped_rewards=shaped_rewards(recipe.train.rewards),
        processing_class=tokenizer,
        peft_config=_peft_config(recipe),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    tracking, wandb_run = recipe.tracking, None
    if main and tracking.wandb != "disabled":
        wandb_run = WandbRun(
            run_dir, config=run_dir.read_recipe(), mode=tracking.wandb, name=recipe.run_path.name,
            project=tracking.project, entity=tracking.entity, group=tracking.group,
            tags=[recipe.algorithm_name, *tracking.tags], ks=recipe.probes.ks,
        )
    progress = ProgressLine()
    trainer.add_callback(progress)
    live: dict[str, Any] = {
        "truth": truth_for(recipe, tokenizer),
        "sampler": trainer.live_sampler,
        "unwrap": trainer.unwrapped,
        "progress": progress.on_probe_progress,
    }
    if recipe.probes.enabled:
        trainer.add_callback(
            probe_callback(
                recipe,
                probe_problems,
                judge,
                run_dir.path,
                every=recipe.probes.every,
                generated_tokens=lambda: trainer.progress.generated_tokens,
                listeners=[progress.on_probe, *([wandb_run.log_probe] if wandb_run else [])],
                budget=budget_of(recipe),
                **live,
            )
        )
    for arm in arms:
        settings = probe_settings(recipe, arm.problems) | live | {"every": recipe.train.steps}
        listeners = [partial(wandb_run.log_arm, arm.name)] if wandb_run else []
        trainer.add_callback(
            ArmCallback(arm, judge=judge, run_dir=run_dir.arm(arm.name).path, listeners=listeners, **settings)
        )
    trainer.add_callback(MetricsCallback(run_dir, wandb_run))
    trainer.add_callback(CheckpointMarker(run_dir))
    finished = False
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
        finished = True
    finally:
        progress.close()
        if wandb_run is not None:
            wandb_run.finish(exit_code=0 if finished else 1)


def probe_callback(
    recipe: Recipe | ProbeRecipe, problems: Sequence[Problem], judge: Any, run_dir: Path, **live: Any
) -> BoundaryProbeCallback:
    """The recipe's probes of `problems`; `live` are the callback's further arguments (`every`, `truth`, ...)."""
    from rlvr.probes.callback import BoundaryProbeCallback

    return BoundaryProbeCallback(problems, judge=judge, run_dir=run_dir, **probe_settings(recipe, problems) | live)


def probe_settings(recipe: Recipe | ProbeRecipe, problems: Sequence[Problem]) -> dict[str, Any]:
    """What a recipe says of a probe, as arguments of its callback."""
    probes = recipe.probes
    return {
        "plan": probes.plan,
        "base_plan": probes.base_plan,
        "decoding": recipe.probe_decoding,
        "ks": probes.ks,
        "seed": recipe.seed,
        "batch_size": probes.batch_size,
        "baselines": probes.baselines,
        "versions": verifier_versions(problems),
        "answer_keys": {p.verifier: resolve("verifiers", p.verifier).answer_key for p in problems},
    }


def truth_for(recipe: Recipe | ProbeRecipe, tokenizer: Any) -> Truth | None:
    """Exact success probabilities, for the lab's problems and models with the lab's vocabulary."""
    if recipe.data.probe.source != "lab":
        return None
    from rlvr.lab.exact import exact_success
    from rlvr.lab.model import is_lab_tokenizer

    return exact_success if is_lab_tokenizer(tokenizer) else None


def training_arguments(recipe: Recipe, run_dir: RunDir) -> Any:
    """The recipe in TRL's terms. What an algorithm owns (loss type, clip, KL) is set by the trainer."""
    from rlvr.trainer import RLVRConfig

    train, vllm, correction = recipe.train, recipe.train.vllm, recipe.train.rollout_correction
    steps = plan_of_steps(recipe, int(os.environ.get("WORLD_SIZE", "1")))
    extra: dict[str, Any] = {}
    if vllm is not None:
        extra = {
            "use_vllm": True,
            "vllm_mode": vllm.mode,
            "vllm_server_base_url": vllm.server_base_url,
            "vllm_gpu_memory_utilization": vllm.gpu_memory_utilization,
            "vllm_tensor_parallel_size": vllm.tensor_parallel_size,
            "vllm_max_model_length": vllm.max_model_length,
            "vllm_enable_sleep_mode": vllm.enable_sleep_mode,
            "vllm_importance_sampling_correction": correction is not None,
        }
        if correction is not None:
            extra |= {
                "vllm_importance_sampling_mode": correction.mode,
                "vllm_importance_sampling_clip_max": correction.cap,
                "vllm_importance_sampling_clip_min": correction.floor or None,
            }
    return RLVRConfig(
        output_dir=str(run_dir.checkpoints),
        seed=recipe.seed,
        max_steps=train.steps,
        per_device_train_batch_size=train.micro_batch_size,
        gradient_accumulation_steps=steps.gradient_accumulation,
        steps_per_generation=steps.gradient_accumulation * train.updates_per_rollout,
        num_generations=train.group_size,
        max_completion_length=train.max_new_tokens,
        temperature=train.temperature,
        top_p=1.0,
        top_k=0,
        learning_rate=train.learning_rate,
        lr_scheduler_type=train.lr_schedule,
        warmup_steps=train.warmup_steps,
        weight_decay=train.weight_decay,
        adam_beta1=train.adam_beta1,
        adam_beta2=train.adam_beta2,
        max_grad_norm=train.max_grad_norm,
        gradient_checkpointing=train.gradient_checkpointing,
        bf16=train.bf16,
        use_cpu=not _cuda(),
        dataloader_pin_memory=_cuda(),
        ddp_find_unused_parameters=False,
        save_strategy="steps",
        save_steps=train.save_every,
        save_total_limit=train.keep_checkpoints,
        logging_steps=train.log_every,
        disable_tqdm=True,
        report_to=[],
        disable_dropout=True,
        model_init_kwargs={
            "dtype": recipe.model.dtype,
            "revision": recipe.model.revision,
            "attn_implementation": recipe.model.attn_implementation,
        },
        **extra,
    )


def shaped_rewards(rewards: RewardSection) -> list[ShapedReward]:
    """The terms of the recipe, in the order of its keys."""
    from rlvr._shaping import ShapedReward
    from rlvr.rewards.format import Boxed, Length, Think, ThinkAnswer

    scores: list[tuple[str, Any, Any]] = []
    if (tags := rewards.think_answer) is not None:
        scores.append(("think_answer", tags, ThinkAnswer(tags.prefilled)))
    if (tags := rewards.think) is not None:
        scores.append(("think", tags, Think(tags.prefilled)))
    if rewards.boxed is not None:
        scores.append(("boxed", rewards.boxed, Boxed()))
    if (length := rewards.length) is not None:
        scores.append(("length", length, Length(length.free, length.worst)))
    return [ShapedReward(name, score, term.weight, term.only_if_correct) for name, term, score in scores]


def check_prompt_lengths(tokenizer: Any, problems: Sequence[Problem], limit: int) -> None:
    """Raises UserError for the longest prompt if it exceeds the limit: a cut problem is another problem."""
    from rlvr.samplers import prompt_ids

    lengths = {}
    for problem in problems:
        try:
            lengths[problem.id] = len(prompt_ids(tokenizer, problem))
        except Exception as error:  # tokenizers and chat templates raise what they like
            raise UserError(f"problem {problem.id!r}: the tokenizer of model.path cannot render its prompt "
                            f"({str(error).splitlines()[0]}); use a model and a template that fit the data") from error
    longest = max(lengths, key=lengths.__getitem__)
    if lengths[longest] > limit:
        over = sum(n > limit for n in lengths.values())
        raise UserError(
            f"train.max_prompt_tokens: found {limit}, but problem {longest!r} has {lengths[longest]} prompt tokens "
            f"({over} of {len(problems)} problems are longer); raise the limit or drop them from the data"
        )


def verifier_versions(problems: Sequence[Problem]) -> dict[str, str]:
    """Version of every verifier the problems name."""
    return {name: resolve("verifiers", name).version for name in sorted({p.verifier for p in problems})}


def _peft_config(recipe: Recipe) -> Any:
    lora = recipe.model.lora
    if lora is None:
        return None
    from peft import LoraConfig

    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    alpha: Any = lora.alpha  # PEFT annotates an int and divides it by r
    return LoraConfig(
        r=lora.r, lora_alpha=alpha, lora_dropout=lora.dropout, target_modules=modules, task_type="CAUSAL_LM"
    )


def _report(run_dir: RunDir) -> None:
    from rlvr.report.page import write_report
    from rlvr.report.summary import summary_table

    page = write_report(run_dir.path)
    sys.stdout.write(f"{summary_table(run_dir.path)}\nreport: {page}\n")


def _on_main(action: Callable[[], T]) -> T:
    """Run on rank 0 and share the result; its UserError is raised on every rank."""
    from accelerate.utils import broadcast_object_list

    outcome: list[Any] = [None, None]
    if _rank() == 0:
        try:
            outcome[0] = action()
        except UserError as error:
            outcome[1] = str(error)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise UserError(outcome[1])
    return outcome[0]


def _disk_full(run_dir: RunDir, error: Exception) -> bool:
    # Each library words it differently (OSError, SafetensorError, RuntimeError of torch.save), so ask the disk as well.
    return "No space left" in str(error) or shutil.disk_usage(run_dir.path).free < 2**16


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    leave(main())
