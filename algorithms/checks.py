"""Properties that every algorithm has to have, for the tests of a plug-in:

    from rlvr.algorithms.checks import check_algorithm

    def test_my_algorithm() -> None:
        check_algorithm(MyAlgorithm(MyConfig()))

Numbers have to be checked against numbers: nothing here knows what the formula should be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch

from rlvr.interfaces import Algorithm, Credit, RolloutBatch, TokenBatch

PROMPTS, TOKENS = 5, 6
SEEDS = range(4)
SEQUENCE_FIELDS = ("mask_NT", "old_logps_NT", "ref_logps_NT", "values_NT")


def check_algorithm(algorithm: Algorithm[Any]) -> None:
    """AssertionError with one sentence on the first property that `algorithm` lacks; takes well under a second.

    Call it once per configuration worth testing. The properties are the functions in `CHECKS`.
    """
    for check in CHECKS:
        check(algorithm)


def sample_batch(algorithm: Algorithm[Any], seed: int = 0) -> RolloutBatch:
    """Float64 rollouts of five prompts, shuffled: mixed, all right, all wrong, one right, and one with not judged ones.

    Ragged lengths from 0 to 6, a tool token in the middle, shaped rewards in [0, 1.5], every optional tensor given.
    """
    size = max(4, algorithm.needs.min_group_size)
    n = PROMPTS * size
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    group_N = torch.arange(n) // size
    place_N = torch.arange(n) % size
    right_N = torch.stack([place_N % 2 == 0, place_N >= 0, place_N < 0, place_N == 1, place_N < 2])[group_N, range(n)]
    accuracy_N = right_N.double()
    accuracy_N[(group_N == 4) & (place_N % 2 == 1)] = math.nan
    lengths_N = torch.randint(1, TOKENS + 1, (n,), generator=generator)
    lengths_N[[2, size, n - 2]] = torch.tensor([0, TOKENS, TOKENS])
    mask_NT = (torch.arange(TOKENS) < lengths_N.unsqueeze(1)).double()
    mask_NT[lengths_N == TOKENS, 2] = 0
    batch = RolloutBatch(
        accuracy_N=accuracy_N, rewards_N=accuracy_N + 0.25 * (place_N % 3 == 0), group_N=group_N, mask_NT=mask_NT,
        lengths_N=lengths_N, truncated_N=lengths_N == TOKENS, old_logps_NT=-normal(n, TOKENS).abs(),
        ref_logps_NT=-normal(n, TOKENS).abs(), values_NT=normal(n, TOKENS), baseline_N=(group_N % 2).double(),
        max_length=TOKENS, seed=seed, seen_N=4.0 * group_N.double(), solved_N=group_N.double() - (group_N > 0).double(),
    )
    return take(batch, torch.randperm(n, generator=generator))


def check_shapes_and_finiteness(algorithm: Algorithm[Any]) -> None:
    """Credit has the shape of the mask, is finite everywhere and 0 where masked out or not judged."""
    batch = sample_batch(algorithm)
    ones_N, nan_N = torch.ones_like(batch.rewards_N), torch.full_like(batch.rewards_N, math.nan)
    first_N = torch.stack([(batch.group_N == g).long().argmax() for g in batch.group_N])
    lonely_N = torch.where(first_N == torch.arange(len(first_N)), ones_N, nan_N)
    no_tokens = {f: getattr(batch, f)[:, :0] for f in SEQUENCE_FIELDS}
    dirty = {f: getattr(batch, f).masked_fill(batch.mask_NT == 0, math.nan) for f in SEQUENCE_FIELDS[1:]}
    for case, given in (
        ("an ordinary batch", batch),
        ("a batch with all completions right", replace(batch, accuracy_N=ones_N, rewards_N=ones_N)),
        ("a batch with all completions wrong", replace(batch, accuracy_N=0 * ones_N, rewards_N=0 * ones_N)),
        ("a batch with equal rewards of 0.9", replace(batch, accuracy_N=ones_N, rewards_N=0.9 * ones_N)),
        ("a batch with one judged rollout per group", replace(batch, accuracy_N=lonely_N, rewards_N=lonely_N)),
        ("a batch without any judged rollout", replace(batch, accuracy_N=nan_N, rewards_N=nan_N)),
        ("a batch with every token masked out", replace(batch, mask_NT=torch.zeros_like(batch.mask_NT))),
        ("a batch with NaN in masked-out slots", replace(batch, **dirty)),
        ("a batch of zero tokens width", replace(batch, **no_tokens)),
    ):
        credit = _credit(algorithm, given, case)
        counts_NT = given.mask_NT.bool() & ~given.accuracy_N.isnan().unsqueeze(1)
        for name, x in _tensors(credit).items():
            _require(algorithm, x.shape == given.mask_NT.shape,
                     f"{name} has shape {tuple(x.shape)} on {case}, expected {tuple(given.mask_NT.shape)}")
            _require(algorithm, bool(x.isfinite().all()), f"{name} is not finite on {case}")
            where = "masked out" if bool((x[given.mask_NT == 0] != 0).any()) else "not judged"
            zero_NT = given.mask_NT.bool() if name == "loss_mask_NT" else counts_NT  # a loss mask may keep such rows
            _require(algorithm, bool((x[~zero_NT] == 0).all()), f"{name} is not zero where {where}, on {case}")
            if name in ("loss_mask_NT", "nll_mask_NT"):
                _require(algorithm, bool(((x == 0) | (x == 1)).all()), f"{name} holds other values than 0 and 1")


def check_dtype(algorithm: Algorithm[Any]) -> None:
    """Floating-point results come in the dtype of the input."""
    batch = sample_batch(algorithm)
    for dtype in (torch.float32, torch.float64):
        given = replace(batch, **{f: x.to(dtype) for f, x in _fields(batch).items() if x.is_floating_point()})
        for name, x in _tensors(_credit(algorithm, given, str(dtype))).items():
            _require(algorithm, x.dtype == dtype or not x.is_floating_point(), f"{name} is {x.dtype} for {dtype} input")
        loss_BT = _token_loss(algorithm, given)
        if loss_BT is not None:
            _require(algorithm, loss_BT.dtype == dtype, f"token_loss is {loss_BT.dtype} for {dtype} input")


def check_purity(algorithm: Algorithm[Any]) -> None:
    """The same batch gives the same credit, is left as it was, and PyTorch's global random state is not touched."""
    batch, untouched = sample_batch(algorithm), sample_batch(algorithm)
    state = torch.random.get_rng_state()
    first = _credit(algorithm, batch, "an ordinary batch")
    _require(algorithm, torch.equal(state, torch.random.get_rng_state()),
             "the global random state was used; draw from a torch.Generator seeded with batch.seed")
    _same(algorithm, _credit(algorithm, batch, "an ordinary batch"), _tensors(first), "when called twice")
    for name, x in _fields(batch).items():
        _require(algorithm, torch.equal(x.nan_to_num(7.0), _fields(untouched)[name].nan_to_num(7.0)),
                 f"advantages changed batch.{name} in place")


def check_row_order(algorithm: Algorithm[Any]) -> None:
    """Permuting the rollouts permutes their credit: groups go by id and never by position.

    An algorithm whose credit changes with `batch.seed` draws random numbers; with it, the rollouts of one group keep
    their order, and only the groups are interleaved in another way.
    """
    for seed in SEEDS:
        batch = sample_batch(algorithm, seed)
        order = torch.randperm(len(batch.group_N), generator=torch.Generator().manual_seed(100 + seed))
        if _draws(algorithm, batch):
            slots = batch.group_N[order].argsort(stable=True)
            order[slots] = batch.group_N.argsort(stable=True)
        expected = {name: x[order] for name, x in _tensors(_credit(algorithm, batch, "an ordinary batch")).items()}
        _same(algorithm, _credit(algorithm, take(batch, order), "permuted rows"), expected,
              "for a rollout when the rows of the batch are permuted")


def check_group_ids(algorithm: Algorithm[Any]) -> None:
    """Group ids are names: a constant added to them, or gaps between them, change nothing."""
    batch = sample_batch(algorithm)
    expected = _tensors(_credit(algorithm, batch, "an ordinary batch"))
    for group_N in (batch.group_N + 1000, batch.group_N * 37 - 5):
        _same(algorithm, _credit(algorithm, replace(batch, group_N=group_N), "other group ids"), expected,
              "with other names for the same groups")


def check_padding(algorithm: Algorithm[Any]) -> None:
    """Columns that are masked out, in front, in the middle or behind, change nothing, whatever they hold."""
    batch = sample_batch(algorithm)
    columns = torch.tensor([1, 2, 4, 5, 6, 8])

    def widen(x_NT: torch.Tensor, fill: float) -> torch.Tensor:
        wide_NT = torch.full((len(x_NT), 10), fill, dtype=x_NT.dtype)
        wide_NT[:, columns] = x_NT
        return wide_NT

    expected = {name: widen(x, 0.0) for name, x in _tensors(_credit(algorithm, batch, "an ordinary batch")).items()}
    for fill in (5.0, math.nan):
        wide = {f: widen(getattr(batch, f), 0.0 if f == "mask_NT" else fill) for f in SEQUENCE_FIELDS}
        _same(algorithm, _credit(algorithm, replace(batch, **wide), "added columns"), expected,
              f"when masked-out columns of {fill} are added")


def check_not_judged_rows(algorithm: Algorithm[Any]) -> None:
    """What stands in the rows of rollouts that were not judged reaches no other rollout."""
    batch = sample_batch(algorithm)
    missing_N = batch.accuracy_N.isnan()
    garbage = {f: getattr(batch, f).masked_fill(missing_N.unsqueeze(1), 99.0) for f in SEQUENCE_FIELDS[1:]}
    clean = _tensors(_credit(algorithm, batch, "an ordinary batch"))
    got = _credit(algorithm, replace(batch, **garbage), "garbage in rows that were not judged")
    _same(algorithm, got, clean, "with other numbers in the rows that were not judged")


def check_groups_of_one(algorithm: Algorithm[Any]) -> None:
    """An algorithm that accepts groups of one rollout (`needs.min_group_size` of 1) learns something from them."""
    if algorithm.needs.min_group_size > 1:
        return
    batch = sample_batch(algorithm)
    alone = replace(batch, group_N=torch.arange(len(batch.group_N)))
    advantages_NT = _credit(algorithm, alone, "groups of one rollout").advantages_NT
    _require(algorithm, bool(advantages_NT.isfinite().all()), "advantages_NT is not finite on groups of one rollout")
    _require(algorithm, bool((advantages_NT != 0).any()),
             "groups of one rollout get no credit at all, so needs.min_group_size has to be 2 or more")


def check_token_loss(algorithm: Algorithm[Any]) -> None:
    """A token's loss is finite, has a finite gradient and depends on no other row nor on masked-out slots."""
    batch = sample_batch(algorithm)
    tokens = _token_batch(algorithm, batch)
    loss_BT, gradient_BT = _loss_and_gradient(algorithm, tokens)
    if loss_BT is None:
        return
    kept_BT = tokens.mask_BT != 0
    for i in range(len(kept_BT)):
        row = torch.tensor([i])
        alone_BT, alone_gradient_BT = _loss_and_gradient(algorithm, _take_tokens(tokens, row))
        assert alone_BT is not None
        for what, one, all_ in (("token_loss", alone_BT, loss_BT), ("its gradient", alone_gradient_BT, gradient_BT)):
            _require(algorithm, _close(one[kept_BT[row]], all_[row][kept_BT[row]]),
                     f"{what} of a token depends on other rows of the micro-batch; statistics over rollouts "
                     "belong into advantages, and arrive through Credit.extras_NT")
    dirty = replace(tokens, logps_BT=tokens.logps_BT.masked_fill(~kept_BT, math.nan),
                    old_logps_BT=tokens.old_logps_BT.masked_fill(~kept_BT, math.nan))
    dirty_BT, dirty_gradient_BT = _loss_and_gradient(algorithm, dirty)
    assert dirty_BT is not None
    _require(algorithm, _close(dirty_BT[kept_BT], loss_BT[kept_BT]) and _close(dirty_gradient_BT, gradient_BT),
             "token_loss or its gradient changes with what stands in masked-out slots")
    for shift in (0.0, 1000.0, -1000.0):
        far = replace(tokens, logps_BT=tokens.old_logps_BT + shift)
        far_BT, far_gradient_BT = _loss_and_gradient(algorithm, far)
        assert far_BT is not None
        _require(algorithm, bool(far_BT[kept_BT].isfinite().all() and far_gradient_BT.isfinite().all()),
                 f"token_loss or its gradient is not finite at a log-ratio of {shift:g}")


CHECKS: tuple[Callable[[Algorithm[Any]], None], ...] = (
    check_shapes_and_finiteness, check_dtype, check_purity, check_row_order, check_group_ids, check_padding,
    check_not_judged_rows, check_groups_of_one, check_token_loss,
)


def take(batch: RolloutBatch, rows: torch.Tensor) -> RolloutBatch:
    """These rows of a batch, in this order."""
    return replace(batch, **{f: x[rows] for f, x in _fields(batch).items()})


def _require(algorithm: Algorithm[Any], holds: bool, sentence: str) -> None:
    if not holds:
        raise AssertionError(f"{type(algorithm).__name__}: {sentence}")


def _credit(algorithm: Algorithm[Any], batch: RolloutBatch, case: str) -> Credit:
    try:
        return algorithm.advantages(batch)
    except Exception as error:
        message = f"{type(algorithm).__name__}: advantages raises {type(error).__name__} on {case}: {error}"
        raise AssertionError(message) from error


def _fields(batch: RolloutBatch) -> dict[str, torch.Tensor]:
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return {name: x for name, x in values.items() if isinstance(x, torch.Tensor)}


def _tensors(credit: Credit) -> dict[str, torch.Tensor]:
    named = {"advantages_NT": credit.advantages_NT, "returns_NT": credit.returns_NT,
             "loss_mask_NT": credit.loss_mask_NT, "nll_mask_NT": credit.nll_mask_NT}
    return {name: x for name, x in named.items() if x is not None} | {
        f"extras_NT[{name!r}]": x for name, x in credit.extras_NT.items()
    }


def _close(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.allclose(actual.double(), expected.double(), rtol=1e-9, atol=1e-12, equal_nan=False)


def _same(algorithm: Algorithm[Any], credit: Credit, expected: dict[str, torch.Tensor], when: str) -> None:
    got = _tensors(credit)
    _require(algorithm, got.keys() == expected.keys(), f"other parts of Credit are filled in {when}")
    for name, x in expected.items():
        _require(algorithm, got[name].shape == x.shape and _close(got[name], x), f"{name} differs {when}")


def _draws(algorithm: Algorithm[Any], batch: RolloutBatch) -> bool:
    first, *others = [_tensors(algorithm.advantages(replace(batch, seed=seed))) for seed in range(8)]
    return any(not torch.equal(other[name], x) for other in others for name, x in first.items())


def _token_batch(algorithm: Algorithm[Any], batch: RolloutBatch) -> TokenBatch:
    credit = _credit(algorithm, batch, "an ordinary batch")
    assert batch.old_logps_NT is not None and batch.ref_logps_NT is not None
    mask_NT = batch.mask_NT if credit.loss_mask_NT is None else credit.loss_mask_NT
    return TokenBatch(
        logps_BT=batch.old_logps_NT + 0.1 * batch.ref_logps_NT, old_logps_BT=batch.old_logps_NT,
        advantages_BT=credit.advantages_NT, mask_BT=mask_NT, extras_BT=credit.extras_NT,
    )


def _take_tokens(tokens: TokenBatch, rows: torch.Tensor) -> TokenBatch:
    return TokenBatch(
        tokens.logps_BT[rows], tokens.old_logps_BT[rows], tokens.advantages_BT[rows], tokens.mask_BT[rows],
        {name: x[rows] for name, x in tokens.extras_BT.items()},
    )


def _token_loss(algorithm: Algorithm[Any], batch: RolloutBatch) -> torch.Tensor | None:
    return algorithm.token_loss(_token_batch(algorithm, batch))


def _loss_and_gradient(algorithm: Algorithm[Any], tokens: TokenBatch) -> tuple[torch.Tensor | None, torch.Tensor]:
    logps_BT = tokens.logps_BT.clone().requires_grad_()
    loss_BT = algorithm.token_loss(replace(tokens, logps_BT=logps_BT))
    if loss_BT is None:
        return None, logps_BT
    _require(algorithm, loss_BT.shape == logps_BT.shape,
             f"token_loss has shape {tuple(loss_BT.shape)}, expected {tuple(logps_BT.shape)}")
    _require(algorithm, loss_BT.requires_grad, "token_loss has no gradient with respect to logps_BT")
    kept_BT = torch.where(tokens.mask_BT != 0, loss_BT, torch.zeros_like(loss_BT))
    (gradient_BT,) = torch.autograd.grad(kept_BT.sum(), logps_BT)
    return loss_BT.detach(), gradient_BT
