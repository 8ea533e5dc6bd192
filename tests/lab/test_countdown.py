"""The countdown task: its answers are exactly the right ones, its splits never meet, its words are its tokens."""

from __future__ import annotations

import random
import re
from itertools import combinations_with_replacement, islice

import pytest
from transformers import AutoTokenizer

from rlvr.lab.countdown import (
    HARD_ANSWERS,
    LARGEST_NUMBER,
    MAX_VALUE,
    NUM_NUMBERS,
    SPLITS,
    derivations,
    problems,
    reachable,
    split_of,
    stream,
)
from rlvr.lab.model import build_tokenizer, vocabulary
from rlvr.types import UserError

STEP = re.compile(r"(0|[1-9]\d*) ([-+*]) (0|[1-9]\d*) = (0|[1-9]\d*)")


def remaining(numbers, text, max_value):
    """The numbers left after the steps of `text`, None if one is not allowed: the rules, written a second time."""
    left = list(numbers)
    for step in text.split(" ; "):
        match = STEP.fullmatch(step)
        if match is None:
            return None
        a, b, c = int(match[1]), int(match[3]), int(match[4])
        for operand in (a, b):
            if operand not in left:
                return None
            left.remove(operand)
        if c > max_value or c != {"+": a + b, "-": a - b, "*": a * b}[match[2]]:
            return None
        left.append(c)
    return left


def every_answer(numbers, max_value):
    """Text -> result, by trying every step over all values, operators and results at every place."""
    results = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}
    values = range(max_value + 1)
    steps = [f"{a} {op} {b} = {results[op](a, b)}" for a in values for b in values for op in "+-*"]
    texts = [step for step in steps if remaining(numbers, step, max_value) is not None]
    for _ in range(len(numbers) - 2):
        texts = [longer for text in texts for step in steps
                 if remaining(numbers, longer := f"{text} ; {step}", max_value) is not None]
    return {text: (remaining(numbers, text, max_value) or [])[0] for text in texts}


@pytest.mark.parametrize(
    "numbers, max_value",
    [((3, 4), 12), ((2, 2, 2), 9), ((5, 1, 3), 9), ((0, 4, 4), 9), ((3, 1, 2, 2), 6), ((1, 1, 1, 1), 4)],
)
def test_derivations_are_all_right_answers_and_no_others(numbers, max_value):
    """Catches a forgotten order of steps or operands, a lost duplicate number, a result beyond the range."""
    truth = every_answer(numbers, max_value)
    assert len(truth) > 0
    for target in range(max_value + 1):
        assert derivations(numbers, target, max_value) == sorted(t for t, result in truth.items() if result == target)
    assert reachable(tuple(sorted(numbers)), max_value) == set(truth.values())


def test_derivations_by_hand():
    """Catches texts that differ from the published form, and steps counted twice for equal numbers."""
    assert derivations([2, 1, 2], 4, 99) == ["1 * 2 = 2 ; 2 * 2 = 4", "1 * 2 = 2 ; 2 + 2 = 4",
                                             "2 * 1 = 2 ; 2 * 2 = 4", "2 * 1 = 2 ; 2 + 2 = 4",
                                             "2 * 2 = 4 ; 1 * 4 = 4", "2 * 2 = 4 ; 4 * 1 = 4",
                                             "2 + 2 = 4 ; 1 * 4 = 4", "2 + 2 = 4 ; 4 * 1 = 4"]
    assert "3 * 5 = 15 ; 15 + 7 = 22 ; 22 - 4 = 18" in derivations([3, 5, 7, 4], 18, 99)
    assert derivations([9, 9], 82, 99) == [] and derivations([9, 9], 81, 80) == []


def test_problems_are_solvable_distinct_and_well_formed():
    """Catches an unsolvable problem, a repeated one (it would count twice in pass@k), a prompt of another length."""
    for split in ("train", "test"):
        found = problems(split, 300)
        assert [p.id for p in found] == [f"countdown/{split}/{i}" for i in range(300)]
        assert len({(tuple(sorted(p.extra["numbers"])), p.gold) for p in found}) == 300
        for problem in found:
            numbers, target = problem.extra["numbers"], int(problem.gold)
            assert problem.prompt == f"{numbers[0]} {numbers[1]} {numbers[2]} {numbers[3]} -> {target} :"
            assert problem.verifier == "countdown" and problem.extra["max_value"] == MAX_VALUE
            assert all(1 <= n <= LARGEST_NUMBER for n in numbers) and 1 <= target <= MAX_VALUE
            answers = derivations(numbers, target, MAX_VALUE)
            assert len(answers) == len(set(answers)) > 0
            assert all(remaining(numbers, text, MAX_VALUE) == [target] for text in answers)


def test_problems_are_prefix_stable_and_seeded():
    """Catches a list that changes with its size, between runs, or not at all with the seed."""
    assert problems("test", 64) == problems("test", 128)[:64]
    assert [p.prompt for p in problems("test", 3)] == ["7 13 7 6 -> 97 :", "7 2 2 13 -> 87 :", "3 8 9 9 -> 11 :"]
    assert [p.prompt for p in problems("train", 3)] == ["5 12 4 13 -> 77 :", "13 7 3 8 -> 16 :", "5 4 9 6 -> 13 :"]
    other = problems("test", 64, seed=1)
    assert other[0].id == "countdown/test-seed1/0"
    assert [p.prompt for p in other] != [p.prompt for p in problems("test", 64)]


def test_splits_share_no_set_of_numbers():
    """Catches leakage: the same numbers in another order, or with another target, in both splits."""
    sets = {split: {tuple(sorted(p.extra["numbers"])) for seed in (0, 1) for p in problems(split, 1000, seed)}
            for split in ("train", "test")}
    assert not sets["train"] & sets["test"]
    assert split_of([4, 1, 3, 2]) == split_of([1, 2, 3, 4])
    # 13 numbers, four drawn with repetition: C(16, 4) = 1820 sets; 9,308 pairs of set and target are held out
    with pytest.raises(UserError, match="9309 problems asked for, it has 9308; ask for fewer"):
        problems("test", 9309)
    with pytest.raises(UserError, match="'dev' does not exist: choose one of train, test"):
        problems("dev", 1)


def test_the_splits_have_as_many_problems_as_they_say() -> None:
    """Too many, and a list of them never ends."""
    counted = dict.fromkeys(SPLITS, 0)
    for numbers in combinations_with_replacement(range(1, LARGEST_NUMBER + 1), NUM_NUMBERS):
        split, targets = split_of(numbers), reachable(numbers, MAX_VALUE) - {0}
        counted[split] += len(targets)
        if split == "test":
            counted["hard"] += sum(len(derivations(numbers, each, MAX_VALUE)) <= HARD_ANSWERS for each in targets)
    assert counted == SPLITS


def test_verifier_agrees_with_the_solver():
    """Catches any text that the verifier accepts and the solver does not list, or the other way round."""
    verifier = pytest.importorskip("rlvr.rewards.countdown").CountdownVerifier()
    rng = random.Random(0)
    words = ["0", "1", "3", "12", "99", "+", "-", "*", "=", ";", "->", ":"]
    accepted = 0
    for problem in islice(stream("test"), 60):
        right = set(derivations(problem.extra["numbers"], int(problem.gold), MAX_VALUE))
        assert all(verifier.verify(problem, text).correct for text in right)
        for text in rng.choices(sorted(right), k=20):
            mutant = text.split(" ")
            for _ in range(rng.randint(1, 2)):
                place = rng.randrange(len(mutant))
                change = rng.choice(["replace", "swap", "copy", "drop"])
                if change == "replace":
                    mutant[place] = rng.choice([*words, *map(str, problem.extra["numbers"]), problem.gold])
                elif change == "swap":
                    other = rng.randrange(len(mutant))
                    mutant[place], mutant[other] = mutant[other], mutant[place]
                elif change == "copy":
                    mutant.insert(place, mutant[place])
                else:
                    del mutant[place]
            changed = " ".join(mutant)
            accepted += changed in right
            assert verifier.verify(problem, changed).correct == (changed in right), (problem.prompt, changed)
    assert 0 < accepted < 1200


def test_text_and_tokens_determine_each_other(tmp_path):
    """Catches a tokenizer that changes when saved, joins or cleans up words, or maps unknown words to a token."""
    build_tokenizer().save_pretrained(tmp_path)
    for tokenizer in (build_tokenizer(), AutoTokenizer.from_pretrained(tmp_path)):
        assert tokenizer.get_vocab() == {word: i for i, word in enumerate(vocabulary())}
        assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token) == ("<eos>", "<eos>", None)
        assert tokenizer.padding_side == "left" and tokenizer.all_special_tokens == ["<eos>"]
        assert tokenizer("3 * 5 = 15 ; -> :").input_ids == [3, 102, 5, 103, 15, 104, 105, 106]
        rng = random.Random(0)
        for _ in range(100):
            ids = [rng.randrange(len(vocabulary()) - 1) for _ in range(rng.randint(1, 24))]
            text = tokenizer.decode([*ids, len(vocabulary()) - 1], skip_special_tokens=True)
            assert text == " ".join(vocabulary()[i] for i in ids)
            assert tokenizer(text).input_ids == ids
        for unknown in ("100", "3*5", "007", "x"):
            with pytest.raises(Exception, match=r"WordLevel error"):
                tokenizer(unknown)


def test_hard_problems_are_the_test_problems_with_at_most_two_answers() -> None:
    first = problems("test", 600)
    hard = [p for p in first if len(derivations(p.extra["numbers"], int(p.gold), MAX_VALUE)) <= 2]
    assert 30 < len(hard) < 60 and problems("hard", len(hard)) == hard
    with pytest.raises(UserError, match=r"'hard'.* it has 666"):
        problems("hard", 100_000)
