"""The whole plug-in surface: Algorithm, Verifier, Sampler, AsyncSampler.

Axes in tensor names: N rollouts of a step over all ranks, P problems, G rollouts per problem (N = P * G),
B rows of a micro-batch, T response tokens (right-padded), 1 a kept axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

from annotated_types import Ge, Gt, Le

from rlvr.types import Completion, Decoding, Problem, Verdict

if TYPE_CHECKING:
    import torch

Aggregation = Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm"]
KLKind = Literal["k1", "k2", "k3"]
# Types of a Config's fields with the range they allow, which is checked where a recipe is read, not in Python.
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Ge(0), Le(1)]
Count = Annotated[int, Ge(0)]
Tries = Annotated[int, Ge(1), Le(10**6)]
"""k of a pass@k in a formula with gammas: up to here their logarithms are exact to eight digits."""
Prior = Annotated[float, Gt(0), Le(10**6)]
"""Rollouts that a prior counts for, in such a formula."""


@dataclass(frozen=True, slots=True)
class RolloutBatch:
    """All rollouts of one step, gathered over ranks; the groups of a prompt need not be contiguous.

    Floating-point tensors share one dtype, and results come back in it (float64 in, float64 out).
    Example with two prompts of two rollouts: `accuracy_N=[1,0,0,0]`, `group_N=[0,0,1,1]`.
    """

    accuracy_N: torch.Tensor
    """1 correct, 0 wrong, NaN not judged (gets no credit and stays out of every statistic)."""
    rewards_N: torch.Tensor
    """Shaped reward (accuracy plus format, overlong, ...); NaN where not judged."""
    group_N: torch.Tensor
    """int64 index of the prompt each rollout answers."""
    mask_NT: torch.Tensor
    """1 on tokens the model generated, the EOS included; 0 on padding and tool output."""
    lengths_N: torch.Tensor | None = None
    """Generated tokens per rollout; None means `mask_NT.sum(1)`. Differs from it when the mask drops rows."""
    truncated_N: torch.Tensor | None = None
    """True where generation hit the token limit."""
    old_logps_NT: torch.Tensor | None = None
    """Log-probabilities of the sampled tokens under the policy that starts this step (trainer engine)."""
    ref_logps_NT: torch.Tensor | None = None
    """The same under the reference policy."""
    values_NT: torch.Tensor | None = None
    """Critic values V(s_t) read before each token."""
    baseline_N: torch.Tensor | None = None
    """Reward of the greedy completion of the rollout's prompt."""
    max_length: int | None = None
    """The token limit of a completion; None means the width T of `mask_NT`, right only if padded to the limit."""
    seed: int = 0
    """For algorithms that draw random numbers: differs by run seed and step, equal on all ranks."""
    problem_ids: tuple[str, ...] | None = None
    """Of the problem that each group answers: rollout i answers `problem_ids[group_N[i]]`."""
    seen_N: torch.Tensor | None = None
    """How many rollouts of each rollout's problem were judged in earlier steps of the run, over all ranks. Of groups
    that dynamic sampling left out nothing is remembered."""
    solved_N: torch.Tensor | None = None
    """How many of these were correct."""


@dataclass(frozen=True, slots=True)
class Credit:
    """What an algorithm makes of a RolloutBatch. Zero where masked or not judged, never NaN."""

    advantages_NT: torch.Tensor
    returns_NT: torch.Tensor | None = None
    """Targets of the value function; None for algorithms without a critic."""
    loss_mask_NT: torch.Tensor | None = None
    """Replaces the rollout mask in the loss and in its denominators; None keeps it."""
    nll_mask_NT: torch.Tensor | None = None
    """Tokens whose negative log-likelihood joins the loss with weight `LossSpec.nll_coef`, as a mean over these tokens
    of the update; None: no such term."""
    extras_NT: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Anything per token that `Algorithm.token_loss` wants to see again, under a name of its own."""


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """What `Algorithm.token_loss` sees of a micro-batch; rows of one rollout batch in any order and split."""

    logps_BT: torch.Tensor
    """Log-probabilities of the sampled tokens under the policy in training; the only tensor with a gradient."""
    old_logps_BT: torch.Tensor
    """The same under the policy that sampled; equal to `logps_BT` in the first update of a rollout batch."""
    advantages_BT: torch.Tensor
    mask_BT: torch.Tensor
    """The loss mask: 1 on tokens that count. What the loss holds elsewhere is ignored."""
    extras_BT: Mapping[str, torch.Tensor]
    """`Credit.extras_NT` of these rows."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the trainer has to compute before `advantages` is called; it computes nothing else."""

    min_group_size: int = 1
    ref_logps: bool = False
    old_logps: bool = False
    values: bool = False
    greedy_baseline: bool = False
    group_filter: bool = False
    history: bool = False
    """`seen_N` and `solved_N`."""


@dataclass(frozen=True)
class LossConfig:
    """Settings of the policy loss, and the base of an algorithm's Config. With one update per rollout batch the ratio
    is 1 and no clip ever acts."""

    clip_low: NotNegative = 0.2
    """The ratio is clipped at 1 - clip_low; 1 or more: never from below."""
    clip_high: NotNegative = 0.2
    """The ratio is clipped at 1 + clip_high."""
    dual_clip: Annotated[float, Gt(1)] | None = None
    """Cap c > 1: the loss of a negative advantage A is at most -A * c (1912.09729). null: no cap."""
    aggregation: Aggregation = "token-mean"
    """How token losses become one number. With token-mean, long completions weigh more."""
    kl_loss_coef: NotNegative = 0.0
    """Weight of the KL to the reference model in the loss. With 0 no reference model is loaded."""
    kl_loss_kind: KLKind = "k3"
    """Estimator of that KL. The expected gradient of k1 is zero; on-policy, that of k2 is exact."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus, which is subtracted from the loss; with entropy_target, the weight at the start.
    Below 0 entropy is punished."""
    entropy_target: NotNegative | None = None
    """Entropy in nats per token that an adaptive bonus aims at (2505.22312, section 4): after an update below it the
    weight rises by entropy_step, after one above it the weight falls (not below 0), and the bonus acts only below it.
    null: the weight is constant."""
    entropy_step: NotNegative = 0.005
    """How much the weight changes per update."""


@dataclass(frozen=True)
class KLRewardConfig(LossConfig):
    """For algorithms that can subtract the KL to the reference model from the reward instead of adding it to the loss.
    """

    kl_coef: NotNegative = 0.0
    """Weight of the KL that is subtracted from each token's reward (k1 of the policy that sampled, no gradient). 0: no
    KL in the reward."""


@dataclass(frozen=True)
class LossSpec(LossConfig):
    """The policy loss an algorithm asks for."""

    nll_coef: float = 0.0
    """Weight of the likelihood term on `Credit.nll_mask_NT` (VAPO, 2504.05118, eq. 14)."""


@dataclass(frozen=True, slots=True)
class GroupFilter:
    """Dynamic sampling of an algorithm with `Needs.group_filter`: prompts are drawn until enough groups are mixed, that
    is, hold a correct and a wrong rollout (DAPO, 2503.14476, eq. 11). Accuracy decides, never the shaped reward."""

    max_batches: int = 10
    """Generation batches per step, the first included; 0: no limit."""
    when_exhausted: Literal["error", "fewer"] = "error"
    """Stop the run, or train on the mixed groups there are."""


@dataclass(frozen=True, slots=True)
class CriticSpec:
    """How the value model of an algorithm with `Needs.values` is trained."""

    learning_rate: float = 1e-5
    """Of the critic's AdamW group; follows the schedule of the policy's."""
    lr_warmup_steps: int = 0
    """Updates over which it rises from 0."""
    pretraining_steps: int = 0
    """Updates at the start in which only the critic learns (VC-PPO, 2503.01491)."""
    updates_per_rollout: int = 1
    """Critic updates for every update of the policy, on the same rollouts."""
    value_clip: float | None = None
    """The value loss clips values to the old ones +- this; None: no clip."""
    max_grad_norm: float = 1.0
    """Gradients of the critic are scaled down to this norm, apart from the policy's; 0: no clip."""


ConfigT = TypeVar("ConfigT")


class Algorithm(ABC, Generic[ConfigT]):
    """A credit assignment rule with its policy loss. Pure: tensors in, tensors out, no state, no logging."""

    Config: ClassVar[type]
    """A frozen dataclass; its defaults are the vetted setting."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    min_group_size: ClassVar[int] = 1
    """Rollouts per prompt that the formula needs: 2 where it compares the rollouts of one prompt."""
    reads_old_logps: ClassVar[bool] = False
    """Whether the credit is a function of the log-probabilities under the policy that starts the step."""

    @property
    def needs(self) -> Needs:
        """What must be in the RolloutBatch. Default: `min_group_size`, `reads_old_logps`, and what a KL in the config
        takes."""
        config = self.config
        in_loss = isinstance(config, LossConfig) and config.kl_loss_coef != 0
        in_reward = isinstance(config, KLRewardConfig) and config.kl_coef != 0
        return Needs(self.min_group_size, ref_logps=in_loss or in_reward, old_logps=in_reward or self.reads_old_logps)

    @property
    def loss(self) -> LossSpec:
        """The per-token loss and its aggregation. Default: as a config that is a LossConfig says."""
        config = self.config
        if not isinstance(config, LossConfig):
            return LossSpec()
        return LossSpec(**{knob.name: getattr(config, knob.name) for knob in fields(LossConfig)})

    @property
    def critic(self) -> CriticSpec:
        """How the value model is trained; read only with `Needs.values`."""
        return CriticSpec()

    @property
    def group_filter(self) -> GroupFilter:
        """How long groups are drawn; read only with `Needs.group_filter`."""
        return GroupFilter()

    def token_loss(self, tokens: TokenBatch) -> torch.Tensor | None:
        """The policy loss of every token, (B, T), before mask and aggregation; None: the clipped surrogate of `loss`.

        Must give a token the same loss whatever else is in the micro-batch: statistics over more than one rollout
        belong into `advantages`, which sees all of them, and arrive here through `Credit.extras_NT`.
        """
        return None

    @abstractmethod
    def advantages(self, batch: RolloutBatch) -> Credit:
        """Credit of every token of every rollout of one step."""


class Verifier(ABC):
    """Judges completions. Runs inside a worker process that may be killed at any time: keep no state."""

    name: ClassVar[str]
    version: ClassVar[str]
    """Changes whenever any verdict may change; part of the baseline store's key."""
    answer_alone: ClassVar[bool] = True
    """Whether the verdict is about a final answer, which can be given without reasoning; False where the completion is
    itself the derivation or the program."""

    def warm_up(self) -> None:  # noqa: B027
        """Load what the first verdict would wait for. A worker calls it before it times anything; others need not."""

    @abstractmethod
    def verify(self, problem: Problem, text: str) -> Verdict:
        """Judge one completion text. An exception that escapes becomes `harness_error`: not judged, never wrong."""

    @abstractmethod
    def check_gold(self, problem: Problem) -> str | None:
        """None if the gold answer is usable, else one sentence that says what is wrong with it."""

    @classmethod
    def decisive(cls, text: str) -> str:
        """The part of a completion that alone decides its verdict, as a completion; what is equal is judged once.

        Unlike `verify` it runs in the process that asks: linear in the length, for whatever text. Default: all of it.
        """
        return text

    @classmethod
    def answer_key(cls, answer: str) -> str:
        """A canonical form of a gold answer or an extracted one: equal keys are one answer to this verifier.

        Linear in the length, for whatever text. It may miss that two answers are equal; what it calls equal should be.
        """
        return answer.strip()

    @classmethod
    def own_limit(cls, problem: Problem) -> float | None:
        """Seconds after which this verifier itself ends a verdict on `problem`; None: only the Judge's time-out does.

        A problem that asks for as long as that time-out or longer is refused: the Judge would end it first.
        """
        return None

    @classmethod
    def granted(cls, problem: Problem) -> float | None:
        """Seconds of wall clock for a verdict on `problem`, for a verifier that ends its verdicts itself.

        The Judge gives that much if it is more than its own timeout. None: the timeout.
        """
        return None

    def gold_completion(self, problem: Problem) -> str:
        """A completion text that must be judged correct: the gold answer in the form the model is asked for.

        ValueError for an answer that no completion of this problem can give.
        """
        return problem.gold


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Draw sample number `sample` of `problem`."""

    problem: Problem
    sample: int


class CompletionJudge(Protocol):
    """Gives verdicts: `rlvr.judging.judge.Judge`, or a stand-in for it."""

    def judge(self, problems: Sequence[Problem], texts: Sequence[str]) -> list[Verdict]:
        """The verdict on `texts[i]` as an answer to `problems[i]`, for every i, in order.

        Called by one thread at a time, which need not be the main one.
        """
        ...


class Sampler(Protocol):
    """Something that completes prompts: a live trainer model, a checkpoint, a vLLM server."""

    def sample(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> list[Completion]:
        """Completions in the order of `requests`, i.i.d. given the model.

        The draw of each request depends on (seed, stream, problem id, sample index) alone, so another
        batch order or another number of processes draws the same samples up to float rounding.
        """
        ...


@runtime_checkable
class AsyncSampler(Protocol):
    """A sampler whose completions come back one by one, in any order: an endpoint, an engine that batches by itself.

    A probe keeps `probes.batch_size` completions in flight; nothing waits for the slowest of a batch. One process alone
    drives it. `rlvr.models.background.BackgroundSampler` makes one of a coroutine, with `sample` on top.
    """

    def submit(
        self, requests: Sequence[SampleRequest], decoding: Decoding, *, seed: int, stream: str
    ) -> None:
        """Begin to draw these, each as `Sampler.sample` would, and return at once."""
        ...

    def collect(self, timeout: float | None = None) -> list[Completion]:
        """The completions that are ready; waits for the first, at most `timeout` seconds (then []).

        Every submitted request comes back once. Raises what went wrong when one cannot be drawn.
        """
        ...

    def cancel(self) -> None:
        """Forget what is in flight."""
        ...
