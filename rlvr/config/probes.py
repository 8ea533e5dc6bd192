"""The section `probes`: how the boundary is measured, and under which other conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rlvr.types import DEFAULT_KS


@dataclass(frozen=True, slots=True)
class ConditionSpec:
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
    ks: tuple[int, ...] = DEFAULT_KS
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
    in reserve for a model that loses problems, which then draw more samples (`rlvr.statistics.schedule.RESERVE`); past
    that a
    run may end over its budget, as to stop a probe half-way would bias it. Small: wide intervals. `rlvr probe` has no
    use for it."""
    baselines: str | None = None
    """Directory of stored base probes; null: $RLVR_CACHE/baselines, or ~/.cache/rlvr/baselines."""
    arms: dict[str, ConditionSpec] = field(default_factory=dict)
    """Name -> other decoding or prompt, as in `{hot: {temperature: 1.2}, matched: {match_entropy: true}}`: measured at
    the base and the end of a training, or at the models of `rlvr probe`. Each costs about as much as those probes."""
