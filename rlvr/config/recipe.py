"""The recipe of a run: one YAML file -> frozen dataclasses -> `recipe.json`. Defaults live here and nowhere else.

The defaults are those of the comparison in 2504.13837 (256 prompts x 8 rollouts, one update per rollout batch,
constant learning rate 1e-6, temperature 1, no KL). Overrides on the command line are `key.sub=value`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rlvr.config.checks import StepPlan as StepPlan
from rlvr.config.checks import plan_of_steps as plan_of_steps
from rlvr.config.checks import validate as validate
from rlvr.config.data import DataSpec
from rlvr.config.presets import expand
from rlvr.config.strict import apply_overrides, did_you_mean, from_dict, parse_yaml, to_tree
from rlvr.types import Decoding, UserError

if TYPE_CHECKING:
    from rlvr.interfaces import Algorithm

SHIPPED = Path(__file__).parents[1] / "recipes"


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """Train low-rank adapters instead of all weights."""

    r: int = 16
    """Rank. Small: little capacity; large: approaches full training in memory and effect."""
    alpha: float = 32.0
    """Scale: updates are multiplied by alpha / r. Far above 2 r acts like a larger learning rate."""
    dropout: float = 0.0
    """Share of adapter inputs dropped. Above 0, old and new log-probabilities of one text differ by noise."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Module names to adapt, or `all-linear`."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The base model: what is trained, and what the boundary is compared with."""

    path: str
    """`lab` (the shipped tiny model), the id of a hub model or a local directory."""
    revision: str | None = None
    """Commit, tag or branch of a hub model; null: whatever is newest on the day of the run."""
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    """Type of the trained weights; `auto`: as stored. In bfloat16 an update of 1e-6 is lost to rounding: keep float32
    (with `train.bf16`) unless adapters are trained or DeepSpeed holds float32 copies."""
    attn_implementation: str | None = None
    """`sdpa`, `eager`, `flash_attention_2`, ...; null: the library's choice."""
    chat_template: str | None = None
    """Path of a Jinja chat template that replaces the tokenizer's; null: the tokenizer's own."""
    lora: LoraSpec | None = None
    """null: train all weights."""


@dataclass(frozen=True, slots=True)
class DataSection:
    """What is trained on and what the boundary is measured on."""

    train: DataSpec
    probe: DataSpec
    """The same problems at every probe. The error bars shrink with the square root of their number."""
    allow_overlap: bool = False
    """false: a probe problem that is also trained on is an error."""


@dataclass(frozen=True, slots=True)
class RolloutCorrection:
    """Weights w, from exp(logp - logp_sampler), for the mismatch between the engine that samples and the trainer."""

    mode: Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"] = "token_truncate"
    """Per token or per sequence (the product over its tokens); truncate to the bounds, or drop what lies outside them.
    Sequence modes act on noise for answers of thousands of tokens."""
    cap: float = 2.0
    """Upper bound of w, above 1. Very large: no correction of what the sampler underrated."""
    floor: float = 0.0
    """Lower bound of w, in [0, 1). 0: none."""


@dataclass(frozen=True, slots=True)
class VllmSpec:
    """Sample the rollouts and the probes with vLLM, each at its own decoding, with the weights of the step."""

    mode: Literal["colocate", "server"] = "colocate"
    """In the training processes, where every request is seeded like a rollout without vLLM; or on a server started
    beside them, which draws for itself: a repeated run there has other samples."""
    server_base_url: str | None = None
    """Such as http://localhost:8000; needed by mode `server`."""
    gpu_memory_utilization: float = 0.3
    """Share of a GPU's memory for vLLM in mode `colocate`, in (0, 1]. High: training runs out of memory; low: few
    sequences at a time."""
    tensor_parallel_size: int = 1
    """GPUs per vLLM engine in mode `colocate`."""
    max_model_length: int | None = None
    """Longest prompt plus answer, in tokens, of training and probes; null: the model's own limit."""
    enable_sleep_mode: bool = False
    """Free vLLM's memory during the update: fits larger models, costs time at every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxedReward:
    r"""1 for exactly one `\boxed{}` with something in it after any thinking, else 0."""

    weight: float = 0.0
    """What the term is multiplied with before it joins the accuracy; 0: logged only."""
    only_if_correct: bool = True
    """true: a wrong answer gets neither bonus nor penalty. false: form earns a reward of its own, which a model may
    collect instead of solving problems, and short wrong answers beat long ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagReward(BoxedReward):
    """1 for the tags of its kind, each once, in order and around something, else 0."""

    prefilled: bool = False
    """Whether the prompt (its template) already ends with `<think>`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthReward(BoxedReward):
    """0 up to `free` tokens, then falling in a straight line to -1 at `worst` tokens."""

    free: int
    """Tokens without penalty, at least 0. Below the length of good answers, thinking itself is punished."""
    worst: int
    """Tokens from which on the penalty is whole, above `free`."""


@dataclass(frozen=True, slots=True)
class RewardSection:
    """Terms of the shaped reward beside the accuracy. Probes and dynamic sampling see the accuracy alone."""

    think_answer: TagReward | None = None
    """`<think>...</think> <answer>...</answer>` and nothing else."""
    think: TagReward | None = None
    """`<think>...</think>` and then text."""
    boxed: BoxedReward | None = None
    length: LengthReward | None = None


@dataclass(frozen=True, slots=True)
class TrainSection:
    """Rollouts, updates and checkpoints."""

    steps: int
    """Optimizer updates. Metrics, probes and checkpoints count in these."""
    micro_batch_size: int
    """Rollouts per device and forward pass. Costs memory; never changes the update."""
    max_new_tokens: int
    """Longest answer in tokens; longer ones are cut and judged as they stand."""
    prompts_per_step: int = 256
    """Prompts per rollout batch, over all processes."""
    group_size: int = 8
    """Rollouts per prompt. Small: most groups are all right or all wrong and teach nothing; large: long generation."""
    updates_per_rollout: int = 1
    """Optimizer updates per rollout batch. 1: on-policy, no clip is ever active; more: staler data per update."""
    learning_rate: float = 1e-6
    """Peak of AdamW. Too high: entropy and pass@256 collapse within tens of steps; 0: nothing is learned."""
    lr_schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After the warm-up: constant, or down to 0 at the last step."""
    warmup_steps: int = 0
    """Updates over which the learning rate rises from 0."""
    weight_decay: float = 0.01
    """AdamW's decoupled weight decay."""
    adam_beta1: float = 0.9
    """Memory of the gradient's mean, in [0, 1)."""
    adam_beta2: float = 0.999
    """Memory of the gradient's square, in [0, 1)."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm; 0 switches it off. Far below the usual norm it fixes the step length."""
    max_prompt_tokens: int = 1024
    """A longer prompt is an error: a cut problem is another problem."""
    temperature: float = 1.0
    """Of the rollouts, above 0. Below 1 narrows exploration; above 1 fills answers with noise. top_p is always 1."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    bf16: bool = False
    """Compute in bfloat16 (weights keep `model.dtype`)."""
    save_every: int = 50
    """Updates between checkpoints. A killed run loses at most this many."""
    keep_checkpoints: int = 2
    """How many to keep, at least 2: a kill in the middle of a save must leave one that is complete."""
    log_every: int = 1
    """Updates between rows of metrics.jsonl."""
    loss: Literal["rlvr", "trl"] = "rlvr"
    """Whose policy loss; `trl` is for comparison with TRL's own."""
    truncated: Literal["as_is", "wrong", "mask"] = "as_is"
    """Answers that hit `max_new_tokens`: judge them as they stand, count them as wrong (as probes do), or judge them
    and leave them out of the loss (they stay in the statistics of their group). Masked, nothing pushes against
    growing length."""
    rewards: RewardSection = field(default_factory=RewardSection)
    """Shaped rewards beside the accuracy, as in `{think_answer: {weight: 0.1}}`; none by default."""
    rollout_correction: RolloutCorrection | None = None
    """null: trust that sampler and trainer agree, as the paper did. Needs `vllm`."""
    vllm: VllmSpec | None = None
    """null: sample with the training model itself."""


@dataclass(frozen=True, slots=True)
class ArmSpec:
    """One more condition under which base and trained model are measured on the same problems. null: as `probes` and
    `data.probe` have it."""

    temperature: float | None = None
    """Above 0. With `match_entropy` that of the base."""
    top_p: float | None = None
    """Nucleus mass in (0, 1]."""
    max_new_tokens: int | None = None
    """Longest answer in tokens. Too few for reasoning: what a direct answer needs."""
    plan: str | None = None
    """Sampling plan, of the base too; null: `probes.plan` and `probes.base_plan` (`direct_answer`: `fixed`)."""
    system: str | None = None
    """Another system message; needs `chat`."""
    template: str | None = None
    """Other text around the question, with `{prompt}` in it."""
    chat: bool | None = None
    """Messages in the model's chat template, or plain text."""
    match_entropy: bool = False
    """true: a trained model is measured at the temperature at which its entropy per token is the base's (found anew for
    each). Where none is, nothing is measured, and the report says so."""
    entropy_tolerance: float = 0.01
    """Nats per token by which the entropies may differ. Small: more temperatures are tried, and noise is chased."""
    entropy_samples: int = 4
    """Samples per problem at each temperature that is tried; there are five or so."""
    max_temperature: float = 3.0
    """Where the search ends."""
    direct_answer: bool = False
    """true: ask the base alone, with a `template` or `system` of your own, for the answer without reasoning. Problems
    with an accuracy in (0, `guessable_below`) are guessable, and the report shows the boundary without them."""
    guessable_below: float = 0.05
    """Of `direct_answer`; in (0, 1]. An accuracy that rests on reasoning at a glance, not on luck."""

    @property
    def prompt(self) -> dict[str, Any]:
        """What it changes in `data.probe`."""
        changed = {"system": self.system, "template": self.template, "chat": self.chat}
        return {key: value for key, value in changed.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ProbeSection:
    """The measurement of the boundary. It never changes the training."""

    every: int
    """Updates between probes; step 0 and the last step are always probed."""
    max_new_tokens: int
    """Longest probe answer in tokens. Smaller than in training makes the boundary look smaller."""
    enabled: bool = True
    """false: no probes at all."""
    plan: str = "balanced"
    """Sampling plan: when an easy problem stops early."""
    base_plan: str = "reference-512"
    """Plan of the base model's probe, which every later one is compared with."""
    ks: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    """The k of pass@k, rising; none above the largest number of samples of either plan."""
    temperature: float = 0.6
    """Above 0. Higher: more different answers, higher pass@256, lower pass@1."""
    top_p: float = 0.95
    """Nucleus mass in (0, 1]; 1: the whole distribution."""
    batch_size: int = 256
    """Completions per generation batch over all processes. Costs memory; never changes the samples' distribution."""
    budget: float | None = None
    """Largest share of the generated tokens that the probes after the base may take, probes / (probes + training), as
    in 0.1; null: no limit. The base's probe is not counted: it is stored, and shared by all runs from that base. What
    you ask for by `every`, `plan` and `data.probe.size` is then an upper bound. Once the base is measured, one schedule
    is chosen that is forecast to fit: `every` doubles until only the last step is probed, then the plan gets cheaper,
    then fewer problems are probed, at least 32, spread over the base's accuracies. The run keeps to it. A third is kept
    in reserve for a model that loses problems, which then draw more samples (`rlvr.statistics.schedule.RESERVE`); past that a
    run may end over its budget, as to stop a probe half-way would bias it. Small: wide intervals. `rlvr probe` has no
    use for it."""
    baselines: str | None = None
    """Directory of stored base probes; null: $RLVR_CACHE/baselines, or ~/.cache/rlvr/baselines."""
    arms: dict[str, ArmSpec] = field(default_factory=dict)
    """Name -> other decoding or prompt, as in `{hot: {temperature: 1.2}, matched: {match_entropy: true}}`: measured at
    the base and the end of a training, or at the models of `rlvr probe`. Each costs about as much as those probes."""


@dataclass(frozen=True, slots=True)
class JudgeSection:
    """The worker processes that run verifiers."""

    workers: int = 2
    """Per training process, at most: fewer where the processes of a machine would together have more workers than it
    has cores, which would make time-outs depend on the load."""
    timeout: float = 10.0
    """Seconds of wall clock per verdict; then the worker is killed and the answer is wrong (`timeout`)."""

    def options(self) -> dict[str, Any]:
        """Arguments of `rlvr.judging.judge.Judge` for this process; launchers tell LOCAL_WORLD_SIZE, the processes here."""
        cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return {"workers": max(1, min(self.workers, cores)), "timeout": self.timeout}


@dataclass(frozen=True, slots=True)
class TrackingSection:
    """Mirrors of the metrics; the run directory always has them."""

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """`auto`: online when an API key is configured, else offline (files to sync later)."""
    project: str = "rlvr"
    entity: str | None = None
    """Team or user; null: the account's default."""
    group: str | None = None
    """Runs that belong together, such as the seeds of one arm."""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a run."""

    name: str
    """Letters, digits, `.`, `_`, `-`: it names directories."""
    model: ModelSpec
    data: DataSection
    algorithm: dict[str, Any]
    """`name` (registry name or `package.module:Class`) and the keys of that algorithm's own Config."""
    train: TrainSection
    probes: ProbeSection
    seed: int = 0
    """Root of every random number, in [0, 2**32). Samples depend on (seed, step, problem, sample) alone."""
    run_dir: str = "runs/{name}"
    """Where the run is written; {name}, {algorithm} and {seed} are filled in. Relative to the current directory."""
    judge: JudgeSection = field(default_factory=JudgeSection)
    tracking: TrackingSection = field(default_factory=TrackingSection)

    @property
    def algorithm_name(self) -> str:
        return self.algorithm["name"]

    @property
    def probe_decoding(self) -> Decoding:
        return Decoding(self.probes.temperature, self.probes.top_p, self.probes.max_new_tokens)

    @property
    def run_path(self) -> Path:
        """`run_dir` with its fields filled in."""
        return Path(self.run_dir.format(name=self.name, algorithm=self.algorithm_name, seed=self.seed)).expanduser()


def load_recipe(
    path: str | Path, overrides: Sequence[str] = (), *, sourced: Sequence[tuple[str, str]] = ()
) -> Recipe:
    """Read, override and validate a recipe. A path that is no file here may name a shipped recipe, as in
    `recipes/quickstart/lab_grpo.yaml`. `sourced`: overrides from elsewhere, which `overrides` win over, each behind
    the words that an error about it begins with. Raises UserError, one line that starts with the file or such words.
    """
    file = find_recipe(path)
    try:
        tree = parse_yaml(file.read_text(encoding="utf-8"))
        if not isinstance(tree, dict):
            raise UserError("found no keys; expected a recipe with name, model, data, algorithm, train and probes")
        if "arms" in tree:
            raise UserError("this is a comparison of several arms, expected the recipe of one run; run it by "
                            f"`rlvr compare {path}`")
        for source, override in sourced:
            apply_overrides(tree, [override], source)
        recipe = from_dict(Recipe, _with_presets(apply_overrides(tree, overrides)))
        validate(recipe)
    except (UserError, UnicodeDecodeError) as error:
        elsewhere = str(error).startswith(tuple(source for source, _ in sourced))
        raise UserError(str(error) if elsewhere else f"{file}: {error}") from None
    return recipe


def _with_presets(tree: dict[str, Any]) -> dict[str, Any]:
    """`data.train` and `data.probe` with the keys that their `preset` stands for (rlvr.config.presets)."""
    data = tree.get("data")
    if not isinstance(data, dict):
        return tree
    sections = {name: expand(data[name], f"data.{name}") for name in ("train", "probe") if name in data}
    return {**tree, "data": {**data, **sections}}


def resolved(recipe: Recipe) -> dict[str, Any]:
    """The whole recipe, defaults included, as JSON data; `from_dict(Recipe, ...)` reads it back unchanged."""
    return to_tree(recipe)


def algorithm_config(recipe: Recipe) -> Any:
    """The algorithm's own Config, read as strictly as the recipe (imports the algorithm, hence torch)."""
    config = _algorithm_class(recipe).Config
    keys = {key: value for key, value in recipe.algorithm.items() if key != "name"}
    return from_dict(config, keys, "algorithm")


def build_algorithm(recipe: Recipe) -> Algorithm[Any]:
    """The algorithm with its config, checked against the recipe's group size and on a tiny batch (imports torch)."""
    algorithm = _algorithm_class(recipe)(algorithm_config(recipe))
    least = algorithm.needs.min_group_size
    if recipe.train.group_size < least:
        raise UserError(f"train.group_size: found {recipe.train.group_size}, expected at least {least} for algorithm "
                        f"{recipe.algorithm_name!r}: it compares the rollouts of one prompt")
    from rlvr.algorithms.checks import check_shapes_and_finiteness, check_token_loss

    try:  # milliseconds, where the first step of a broken plug-in comes after the base probe
        check_shapes_and_finiteness(algorithm)
        check_token_loss(algorithm)
    except AssertionError as error:
        found = " ".join(str(error).split())
        raise UserError(f"algorithm.name: {recipe.algorithm_name!r} fails on a small made-up batch: {found}; test it "
                        "with rlvr.algorithms.checks.check_algorithm") from error
    return algorithm


def _algorithm_class(recipe: Recipe) -> type[Algorithm[Any]]:
    """The class that `algorithm.name` names. UserError for one that lacks what every algorithm has to have."""
    from rlvr.config.registry import resolve
    from rlvr.interfaces import Algorithm

    found = resolve("algorithms", recipe.algorithm_name)
    where = f"algorithm.name: {recipe.algorithm_name!r}"
    if not issubclass(found, Algorithm):
        raise UserError(f"{where} is not an algorithm: expected a subclass of rlvr.interfaces.Algorithm, as in "
                        f"class {found.__name__}(Algorithm[Config])")
    if found.__abstractmethods__:
        raise UserError(f"{where} is not complete: it has no method {', '.join(sorted(found.__abstractmethods__))}")
    config = getattr(found, "Config", None)
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        raise UserError(f"{where} has no Config: expected a dataclass of its settings in the class body, as in "
                        "Config = MyConfig; an empty one will do")
    return found


def find_recipe(path: str | Path) -> Path:
    """The file that `path` names: one that is there, or a shipped one. Raises UserError with the closest known."""
    file = Path(path)
    if file.is_file():
        return file
    shipped = SHIPPED / Path(*file.parts[1:] if file.parts[:1] == ("recipes",) else file.parts)
    if not file.is_absolute() and shipped.is_file():
        return shipped
    known = sorted(f"recipes/{found.relative_to(SHIPPED)}" for found in SHIPPED.glob("*/*.yaml"))
    raise UserError(f"no recipe file {str(path)!r}; {did_you_mean(str(path), known)}")
