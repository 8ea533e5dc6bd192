"""The section `probes`: how the boundary is measured, and under which other conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from rlvr.config.fields import AtLeastOne, Count, Lines, PositiveShare, Says, Seconds, Temperature, TopP
from rlvr.types import DEFAULT_KS


@dataclass(frozen=True, slots=True)
class ConditionSpec:
    """One more condition under which the base and the trained model are measured on the same problems. null: as in
    `probes` and `data.probe`."""

    temperature: Temperature | None = None
    """Sampling temperature, from 0.001 to 1000. With `match_entropy` this is the base model's."""
    top_p: TopP | None = None
    """Nucleus mass in (0, 1]."""
    max_new_tokens: AtLeastOne | None = None
    """Longest answer in tokens. For direct answers, choose a limit that leaves no room for reasoning."""
    plan: str | None = None
    """Sampling plan, for the base model too. null: `probes.plan` and `probes.base_plan` (with `direct_answer`:
    `fixed`)."""
    system: Lines | None = None
    """Another system message; needs `chat`."""
    template: Lines | None = None
    """Other text around the question, with `{prompt}` in it."""
    chat: bool | None = None
    """true: messages in the model's chat template; false: plain text."""
    match_entropy: bool = False
    """true: the trained model is measured at the temperature at which its entropy per token equals the base model's;
    the temperature is searched for each model. If there is none, nothing is measured and the report says so."""
    direct_answer: bool = False
    """true: ask the base model alone for the answer without reasoning, with a `template` or `system` of your own.
    Problems that it solves this way now and then, with an accuracy in (0, `guessable_below`), count as guessable, and
    the report also shows the boundary without them."""
    guessable_below: PositiveShare = 0.05
    """With `direct_answer`: a nonzero accuracy below this counts as guessing; in (0, 1]."""

    @property
    def prompt(self) -> dict[str, Any]:
        """The keys of `data.probe` that it changes."""
        changed = {"system": self.system, "template": self.template, "chat": self.chat}
        return {key: value for key, value in changed.items() if value is not None}


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """An OpenAI-compatible server, for `engine: openai`. The key comes from the environment and is stored nowhere."""

    base_url: tuple[str, ...] = ()
    """One URL or several, as in [http://localhost:8000/v1]. Requests for a model go to those that serve it, each to the
    one with the fewest in flight."""
    key_env: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; not set: none is sent."""
    tokenizer: str | None = None
    """Directory or hub id of the models' tokenizer: prompts are then sent as token ids, exactly those that training
    uses. null: as text, or as messages for chat prompts, which the server renders."""
    retries: Count = 8
    """How often a request that failed is sent again, after 0.5, 1, 2, ... seconds (at most 60)."""
    timeout: Seconds = 3600.0
    """Seconds after which a request counts as failed. Well above the time of the longest answer: cutting off long
    answers and drawing others would bias pass@k."""
    top_logprobs: Annotated[int, Field(ge=0, le=100)] = 20
    """Most likely tokens to ask for, which bound the entropy; 0: do not ask, the entropy is unknown."""


@dataclass(frozen=True, slots=True)
class VllmEngineSpec:
    """A vLLM engine of the probe's own, for `engine: vllm`."""

    tensor_parallel: AtLeastOne = 1
    """GPUs that share one model."""
    data_parallel: AtLeastOne = 1
    """Replicas of the model; requests go to the one with the fewest in flight."""
    max_model_length: AtLeastOne | None = None
    """Longest prompt and answer together, in tokens. null: the longest prompt plus `max_new_tokens`."""
    gpu_memory: PositiveShare = 0.9
    """Share of a GPU's memory that the engine takes."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of vLLM's AsyncEngineArgs, as in {max_num_seqs: 512, quantization: fp8}."""


@dataclass(frozen=True, slots=True)
class ProbeSection:
    """How the boundary is measured. It never changes the training."""

    every: AtLeastOne
    """Updates between probes. Step 0 and the last step are always probed."""
    max_new_tokens: AtLeastOne
    """Longest answer in tokens. With a smaller limit than in training, the boundary looks smaller than it is."""
    enabled: bool = True
    """false: no probes at all."""
    plan: str = "balanced"
    """Sampling plan: how many samples a problem gets, and when an easy one stops early (`rlvr list`)."""
    base_plan: str = "reference-512"
    """Sampling plan of the base model's probe, which all later probes are compared with."""
    ks: tuple[AtLeastOne, ...] = DEFAULT_KS
    """The values of k in pass@k, in rising order; at most the largest number of samples of either plan."""
    temperature: Annotated[float, Field(ge=0.001, le=1000), Says(
        "0.001 to 1000: greedy samples are all alike, so pass@k would equal pass@1; 0.6 is usual")] = 0.6
    """Sampling temperature, from 0.001 to 1000. A higher one gives more different answers: higher pass@256, lower
    pass@1."""
    top_p: TopP = 0.95
    """Nucleus mass in (0, 1]; 1: sample from the whole distribution."""
    batch_size: AtLeastOne = 256
    """Completions per generation batch over all processes, or in flight with the engines `vllm` and `openai`. Larger
    needs more memory; results do not depend on it."""
    engine: Literal["transformers", "vllm", "openai"] = "transformers"
    """What draws the samples of `rlvr probe`: `transformers` in its own processes, a `vllm` engine, or a server that
    speaks OpenAI's protocol (`openai`), whose models are named as it serves them. In a training the live model does,
    and this key is for a watcher beside it."""
    vllm: VllmEngineSpec = field(default_factory=VllmEngineSpec)
    """Settings of the engine `vllm`."""
    endpoint: EndpointSpec = field(default_factory=EndpointSpec)
    """Settings of the engine `openai`."""
    keep: tuple[Literal["pass@1", "delta_se", "not shrunk"], ...] = ("pass@1", "delta_se", "not shrunk")
    """Probes whose checkpoints are kept beside the newest `train.keep_checkpoints`, each named after the column of the
    report that singles it out: the highest pass@1, the lowest delta_se, the last with the verdict `not shrunk` on the
    largest k. Of those with a checkpoint: set `train.save_every` to `every`, or a divisor. []: none."""
    budget: Annotated[float, Field(gt=0, lt=1), Says(
        "a share above 0 and below 1, as in 0.1")] | None = None
    """Largest share of all generated tokens that probes may take, probes / (probes + training), as in 0.1; null: no
    limit. The probe of the base model is not counted, as it is stored and shared by all runs from that base. After it,
    one schedule that is forecast to fit is chosen and kept: first `every` doubles until only the last step is probed,
    then the plan gets cheaper, then fewer problems are probed (at least 32, spread over the base model's accuracies).
    A third of the budget is held back for a model that loses problems, which then need more samples. A probe is never
    stopped half-way, as that would bias it, so a run may end above its budget. With a small budget the intervals are
    wide. `rlvr probe` does not use it."""
    baselines: str | None = None
    """Directory of stored base probes. null: $RLVR_CACHE/baselines, or ~/.cache/rlvr/baselines."""
    arms: dict[str, ConditionSpec] = field(default_factory=dict)
    """Further probe conditions by name, as in `{hot: {temperature: 1.2}, matched: {match_entropy: true}}`. They are
    measured on the base model and at the end of a training, or on the models of `rlvr probe`. Each costs about as much
    as those probes."""
