"""Right answers of the base, rehearsed while the policy trains: recipe section `train.rehearse`.

    loss  +=  coef * mean over stored answers y of  -(1 / |y|) sum_t log pi(y_t | x, y_<t)

Before the first update the model draws answers to the training problems, and those that are right are stored. As they
were drawn from the base, the term is KL(base || policy) on them, up to a constant and the mean over tokens: a policy
that forgets one of the base's ways of being right pays for it, which the usual KL(policy || base) hardly notices. With
`answers: mastered` it is the forward KL of DPH-RL (2509.07430); there the problems of the store leave the policy's
loss, here a group that is all right has no gradient anyway. `rare` and `all` apply it to what the base seldom gets
right: its own pass@k, distilled.

Stored answers are tokenized anew from their texts, which can give other tokens than were drawn.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rlvr.config.rehearsal import RehearsalSpec
from rlvr.interfaces import CompletionJudge, SampleRequest
from rlvr.models.prompts import prompt_ids
from rlvr.models.seeded import row_key
from rlvr.runs.files import append_jsonl, read_jsonl
from rlvr.training.forward import sequences
from rlvr.training.loss import aggregate
from rlvr.training.objective import Measured
from rlvr.training.trainer import RLVRTrainer
from rlvr.types import Completion, Decoding, Problem, UserError, Verdict

PREFIX = "rehearsed_"
"""Before the names that TRL gives the tensors of rollouts, for those of stored answers."""


class Drawn(NamedTuple):
    """What the base drew for one problem."""

    problem_id: str
    samples: int
    right: list[str]
    """Texts of the right answers that ended by themselves."""


class Store:
    """Right answers by problem. `draw` takes every problem equally often, however few of its answers are right."""

    def __init__(self, drawn: Iterable[Drawn], answers: Literal["all", "rare", "mastered"]) -> None:
        def belongs(one: Drawn) -> bool:
            mastered = len(one.right) == one.samples
            return bool(one.right) and (answers == "all" or mastered == (answers == "mastered"))

        self.answers = {one.problem_id: one.right for one in drawn if belongs(one)}
        self.problems = sorted(self.answers)

    def draw(self, key: int) -> tuple[str, str]:
        """Problem id and answer, a function of `key`."""
        rng = random.Random(key)
        problem = rng.choice(self.problems)
        return problem, rng.choice(self.answers[problem])


class RehearsingTrainer(RLVRTrainer):
    """`RLVRTrainer` with a stored answer beside every rollout in the loss; `Rehearsal` gives it the store."""

    store: Store | None = None
    rehearsal_coef = 0.0

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        tensors = super()._generate_and_score_completions(inputs)
        return tensors | self.rehearsed(len(self.step.rows)) if self.model.training else tensors

    def rehearsed(self, count: int) -> dict[str, torch.Tensor]:
        """Tensors of `count` stored answers, one for every rollout of this process."""
        assert self.store is not None
        first, step = self.accelerator.process_index * count, f"step {self.state.global_step}"
        drawn = [self.store.draw(row_key(self.rollout_seed, "rehearse", step, first + i)) for i in range(count)]
        prompts = [prompt_ids(self.processing_class, self.reward.problems[problem], self.chat_template)
                   for problem, _ in drawn]
        answers = [[*self.processing_class.encode(text, add_special_tokens=False), self.eos_token_ids[0]]
                   for _, text in drawn]
        names = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")
        tensors = dict(zip(names, (*padded(prompts, left=True), *padded(answers, left=False)), strict=True))
        return {f"{PREFIX}{name}": tensor.to(self.accelerator.device) for name, tensor in tensors.items()}

    def part_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        return super().part_loss(model, inputs) + self.rehearsal_coef * self.rehearsal_loss(model, inputs)

    def rehearsal_loss(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        """The micro-batch's share of the mean over the stored answers of the update."""
        rows = sequences({name.removeprefix(PREFIX): x for name, x in inputs.items() if name.startswith(PREFIX)})
        logps_BT, _, _ = self._get_per_token_logps_and_entropies(model, *rows)
        mask_BT = rows.attention_mask[:, -rows.response_tokens :]
        self.means.add({"train/rehearsal_nll": Measured(-logps_BT.detach(), mask_BT)})
        world = self.accelerator.num_processes
        of_update = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps * world
        return aggregate(-logps_BT, mask_BT, "seq-mean-token-mean", num_tokens=1, num_sequences=of_update,
                         world_size=world)


class Rehearsal(TrainerCallback):
    """Fills the store of a trainer before its first update; a resumed run reads it from `file`."""

    def __init__(
        self, spec: RehearsalSpec, trainer: RehearsingTrainer, *, problems: Sequence[Problem], judge: CompletionJudge,
        decoding: Decoding, file: Path, resumed: bool,
    ) -> None:
        self.spec, self.trainer, self.judge, self.decoding = spec, trainer, judge, decoding
        self.problems = problems[: spec.problems]
        self.file, self.resumed = file, resumed
        trainer.rehearsal_coef = spec.coef

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self.resumed:
            drawn = self._draw()
            if state.is_world_process_zero:
                self.file.unlink(missing_ok=True)
                append_jsonl(self.file, [one._asdict() for one in drawn])
        elif not self.file.is_file():
            raise UserError(f"{self.file} is missing: the run began without train.rehearse, or the file was removed; "
                            "resume with the run's own recipe, or restore the file")
        else:
            drawn = self._stored()
        self.trainer.store = store = Store(drawn, self.spec.answers)
        if not store.problems:
            right = sum(bool(one.right) for one in drawn)
            raise UserError(f"found none in {self.spec.samples} answers to each of {len(drawn)} problems ({right} have "
                            f"a right one), expected some for answers: {self.spec.answers}; draw more samples, or "
                            "answers: all", where="train.rehearse")

    def _stored(self) -> list[Drawn]:
        """What the run drew when it began. UserError unless every problem has its row: with fewer the run would go on
        as another one."""
        rows = read_jsonl(self.file)
        if [row.get("problem_id") for row in rows] != [problem.id for problem in self.problems] or not all(
                isinstance(row.get("samples"), int) and isinstance(row.get("right"), list) for row in rows):
            raise UserError(f"{self.file}: found {len(rows)} rows, expected one with problem_id, samples and right for "
                            f"each of the {len(self.problems)} training problems; the file is damaged, or the problems "
                            "have changed: restore the one or the other, or start the run anew")
        return [Drawn(row["problem_id"], row["samples"], row["right"]) for row in rows]

    def _draw(self) -> list[Drawn]:
        trainer, world = self.trainer, self.trainer.accelerator.num_processes
        size = trainer.prompts_per_step * trainer.num_generations // world
        requests = [SampleRequest(problem, i) for problem in self.problems for i in range(self.spec.samples)]
        sampler, found = trainer.live_sampler(), []
        with trainer.probing():
            for round_start in range(0, len(requests), size * world):
                start = round_start + trainer.accelerator.process_index * size
                mine = requests[start : start + size]  # none at the end for some, as all must ask equally often
                completions = sampler.sample(mine, self.decoding, seed=trainer.rollout_seed, stream="rehearse")
                verdicts = self.judge.judge([request.problem for request in mine], [one.text for one in completions])
                found += zip(completions, verdicts, strict=True)
        all_found: list[tuple[Completion, Verdict]] = gather_object(found)
        trainer.progress.generated_rollouts += len(all_found)
        trainer.progress.generated_tokens += sum(completion.num_tokens or 0 for completion, _ in all_found)
        right: defaultdict[str, list[str]] = defaultdict(list)
        for completion, verdict in sorted(all_found, key=lambda pair: (pair[0].problem_id, pair[0].sample)):
            if verdict.correct and not completion.truncated:
                right[completion.problem_id].append(completion.text)
        return [Drawn(problem.id, self.spec.samples, right[problem.id]) for problem in self.problems]


def padded(rows: Sequence[Sequence[int]], *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids, 0 where there are none, and their mask; both (B, L)."""
    width = max(map(len, rows))
    ids, mask = torch.zeros(2, len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(len(row))
        ids[i, place], mask[i, place] = torch.tensor(row), 1
    return ids, mask
