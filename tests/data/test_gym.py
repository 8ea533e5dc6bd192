"""Tasks of reasoning-gym: problems, splits, the verifier and what it must refuse. `pytest tests/data/test_gym.py`."""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from pathlib import Path
from typing import Any

import pytest

from rlvr.config.data import DataSpec, check_spec
from rlvr.config.recipe import load_recipe
from rlvr.data import _gym_child, gym
from rlvr.data.load import load_problems
from rlvr.data.problem_sets import check_overlap, problem_set_hash
from rlvr.judging.judge import Judge
from rlvr.rewards.gym_answers import may_be_evaluated
from rlvr.rewards.gym_task import GymVerifier, answer_of, gold_of
from rlvr.types import Problem, Reason, UserError

needs_gym = pytest.mark.skipif(importlib.util.find_spec("reasoning_gym") is None, reason="pip install 'rlvr[gym]'")


def load(task: str, size: int = 8, **fields: Any) -> list[Problem]:
    return load_problems(DataSpec(f"gym:{task}", size=size, **fields), where="data.train")


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generate here: starting a process that imports the package takes seconds."""
    def entries(spec: DataSpec, task: str, params: dict[str, Any], seed: int, where: str) -> list[dict[str, Any]]:
        assert spec.size is not None
        return _gym_child.entries(task, params, seed, spec.size, gym.HALVES[spec.split])

    monkeypatch.setattr(gym, "_entries", entries)


@pytest.fixture
def verifier(in_process: None) -> GymVerifier:
    return GymVerifier()


@needs_gym
def test_problems_are_the_same_in_every_process_and_their_golds_pass() -> None:
    """ransom_note iterates over a set, so that an ordinary process gives other problems each time."""
    first, again = load("ransom_note"), load("ransom_note")
    assert first == again
    assert problem_set_hash(first) .startswith("2890ffa0ee9805f2")  # in any process, on any day, of version 0.1.25
    assert [p.id for p in first] == [f"gym:ransom_note/train/0/{i}" for i in range(8)]
    assert {p.verifier for p in first} == {"gym"} and len({p.prompt for p in first}) == 8
    with Judge(workers=1, timeout=30.0) as judge:
        assert judge.check_golds(first) == [None] * 8


@needs_gym
def test_the_splits_share_no_question_whatever_the_seeds(in_process: None) -> None:
    """coin_flip has few different questions: plain seeds repeat a fifth of them."""
    train, other = load("coin_flip", 60), load("coin_flip", 60, seed=1)
    for seed in (0, 2):
        assert check_overlap([*train, *other], load("coin_flip", 60, split="test", seed=seed)) == 0
    assert check_overlap(train, other, allow=True) > 0, "the test could not fail"


@needs_gym
def test_params_template_and_chat(in_process: None) -> None:
    (problem,) = load("leg_counting", 1, params={"min_animals": 2, "max_animals": 2}, chat=True, system="S",
                      template="{prompt}!")
    assert not isinstance(problem.prompt, str)
    assert problem.prompt[0] == {"role": "system", "content": "S"}
    text = problem.prompt[1]["content"]
    assert isinstance(text, str) and text.count(",") == 2 and text.endswith("!")  # one after "now", one between animals
    assert problem.extra["gym"]["params"] == {"min_animals": 2, "max_animals": 2}


@needs_gym
@pytest.mark.parametrize(("fields", "fragment"), [
    ({"task": "leg_countin"}, "reasoning-gym has no task 'leg_countin'; did you mean 'leg_counting'"),
    ({"task": "leg_counting", "params": {"animals": 1}}, "has no setting 'animals' (params); it has min_animals, max_"),
    ({"task": "leg_counting", "params": {"min_animals": -1}}, "refuses these settings: min_animals must be positive"),
    ({"task": "coin_flip", "size": 500}, "different problems of this split in 26,000 draws; ask for fewer"),
])
def test_what_a_task_refuses(in_process: None, fields: dict[str, Any], fragment: str) -> None:
    with pytest.raises(ValueError) as caught:
        load(**fields)
    assert fragment in str(caught.value)


@needs_gym
def test_what_the_process_says_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"^data.train.source: reasoning-gym has no task 'leg_count'; did you [^\n]*$"):
        load("leg_count")
    monkeypatch.setattr(gym, "__file__", str(Path(__file__).with_name("nowhere.py")))
    with pytest.raises(UserError, match=r"^data.train.source: reasoning-gym failed on 'gym:ab' with {}: [^\n]*$"):
        load("ab")


@pytest.mark.parametrize(("fields", "fragment"), [
    ({}, "data.train.size: not set, expected a number: a task of reasoning-gym makes problems without end"),
    ({"size": 4, "split": "hard"}, "data.train.split: found 'hard', expected train or test"),
    ({"size": 4, "params": {"seed": 3}}, "data.train.params.seed: found a setting that is data.train.seed"),
    ({"size": 4, "shuffle": 3}, "data.train.shuffle: found 3, but the source 'gym:ab' is a task of reasoning-gym"),
    ({"source": "x.jsonl", "seed": 3}, "data.train.seed: found 3, but the source 'x.jsonl' is a local file"),
    ({"source": "org/x", "params": {"a": 1}}, "but the source 'org/x' is a hub dataset, which does not use it"),
])
def test_contradicting_settings(fields: dict[str, Any], fragment: str) -> None:
    with pytest.raises(UserError) as caught:
        check_spec(DataSpec(**{"source": "gym:ab", **fields}), "data.train")
    assert fragment in str(caught.value)


def test_a_missing_package_is_one_line_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlvr.data.gym.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^data.train.source: 'gym:ab' needs the package reasoning-gym, .*: pip"):
        load("ab")


@needs_gym
def test_partial_credit_is_wrong(verifier: GymVerifier) -> None:
    """The scorer of `leg_counting` pays 0.01 for any number, that of `spell_backward` more for more right letters."""
    import reasoning_gym

    for task, wrong in (("number_sorting", "['1']"), ("spell_backward", "{gold}x")):
        (problem,) = load(task, 1)
        answer = wrong.format(gold=problem.gold)
        score = reasoning_gym.create_dataset(task).score_answer(answer, problem.extra["gym"]["entry"])
        assert 0 <= score < 1
        verdict = verifier.verify(problem, f"<answer>{answer}</answer>")
        assert (verdict.correct, verdict.reason) == (False, Reason.WRONG_ANSWER)


@needs_gym
def test_tasks_with_many_answers_keep_one_in_their_metadata(verifier: GymVerifier) -> None:
    for task in ("graph_color", "propositional_logic", "rubiks_cube"):
        (problem,) = load(task, 1)
        assert problem.extra["gym"]["entry"]["answer"] is None
        assert verifier.verify(problem, verifier.gold_completion(problem)).correct is True, task


@needs_gym
def test_another_form_of_the_answer_is_right_where_the_scorer_says_so(verifier: GymVerifier) -> None:
    (problem,) = load("polynomial_multiplication", 1)
    other = " + ".join(reversed(problem.gold.replace("- ", "+ -").split(" + ")))
    assert other != problem.gold
    verdict = verifier.verify(problem, f"<answer>{other}</answer>")
    assert (verdict.correct, verdict.reason, verdict.extracted) == (True, Reason.TESTS_PASSED, other)


@needs_gym
def test_an_integral_that_the_task_leaves_open_is_carried_out(verifier: GymVerifier) -> None:
    """Bug: 21 of 150 golds of intermediate_integration were integrals, which no answer may be."""
    assert gold_of({"answer": "3*Integral(x*cos(2*x), x) + C", "metadata": {}}) in (
        "C + 3*x*sin(2*x)/2 + 3*cos(2*x)/4", "3*x*sin(2*x)/2 + 3*cos(2*x)/4 + C")
    import reasoning_gym

    dataset = reasoning_gym.create_dataset("intermediate_integration", seed=0, size=30)
    entry = next(one for one in dataset if "Integral(" in one["answer"])
    problem = Problem("p", "?", gold_of(entry), "gym", {"gym": {"task": "intermediate_integration", "params": {},
                                                                "entry": entry}})
    assert verifier.verify(problem, verifier.gold_completion(problem)).correct is True
    open_one = f"<answer>Integral({entry['metadata']['integrand']}, x)</answer>"
    assert verifier.verify(problem, open_one).correct is False
    complaint = verifier.check_gold(dataclasses.replace(problem, gold="Integral(x**x, x) + C"))
    assert complaint is not None and "is no finished expression" in complaint


@needs_gym
def test_an_answer_runs_no_code_in_the_judge(verifier: GymVerifier, tmp_path: Path) -> None:
    """The scorers of these tasks `eval` the answer: without a guard each of these writes the file."""
    target = tmp_path / "written"
    writes = f"open({str(target)!r}, 'w')"
    bare = [writes, f"[{writes}]", f"exec({writes!r})", f"().__class__ or {writes}", f"(lambda: {writes})()"]
    quoted = [repr(writes), repr(writes).replace("(", "\\x28"), f"{writes.replace('(', '%c')!r} % 40",
              f"sqrt({writes!r})", f"f'{{{writes}}}'" if '"' in writes else f'f"{{{writes}}}"']
    for task in ("binary_matrix", "simple_integration"):
        (problem,) = load(task, 1)
        for attack in [*bare, *quoted]:
            verdict = verifier.verify(problem, f"<answer>{attack}</answer>")
            assert verdict.correct is False and not target.exists(), (task, attack)


@needs_gym
def test_the_attacks_do_work_on_the_bare_scorer(in_process: None, tmp_path: Path) -> None:
    """Else the test above could not fail."""
    import reasoning_gym

    target = tmp_path / "written"
    (problem,) = load("binary_matrix", 1)
    reasoning_gym.create_dataset("binary_matrix").score_answer(f"open({str(target)!r}, 'w')",
                                                               problem.extra["gym"]["entry"])
    assert target.exists()


@pytest.mark.parametrize("answer", ["(1+2)*3 - 4/5", "x**2/2 + sin(2*x)*(C - 1)", "[1, 2, (3)]", "['A', 'B']", "AABCD",
                                    "0 1\n1 0", "3*x**2 - 2*x + 1", "-x*cos(x) + sqrt(x)"])
def test_honest_answers_are_not_refused(answer: str) -> None:
    assert may_be_evaluated(answer)


@pytest.mark.parametrize("answer", ["f(x)", "open(1)", "x.diff(y)", "[open('a')]", "'open\\x281)'", "'a%c' % 40",
                                    "(2)(3", "sin(x=1)", "f'{40:c}'", "sqrt('1')", "(x for x in y)", "(" * 500])
def test_answers_that_could_call_something_are_refused(answer: str) -> None:
    assert not may_be_evaluated(answer)


@needs_gym
def test_a_scorer_that_accepts_nonsense_is_found_before_training(in_process: None) -> None:
    problems = load("game_of_life_halting", 12)
    without_answer = dataclasses.replace(problems[0], gold="")
    with Judge(workers=1, timeout=30.0) as judge:
        complaints = judge.check_golds(problems)
        assert any("gives the full score to '?'" in str(complaint) for complaint in complaints)
        assert "gives no right answer to test its scorer with" in str(judge.check_golds([without_answer]))
        assert "a source `gym:TASK` alone" in str(judge.check_golds([Problem("p", "p", "1", "gym")]))


TRICKS = [
    ("complex_arithmetic", ("nan", "NaN", "nanj", "nan+nanj")), ("coin_flip", ("0", "0.", "0.1", "9" * 30)),
    ("gsm_symbolic", ("{}, 7, 8", "{} zzz", "not {}", "{} or 1", "{} {}", "7 {}")),
    ("word_sorting", ("{}, zzz", "{}, {}")), ("knights_knaves", ("{} zzz", "not {}", "{} {}")),
    ("quantum_lock", ("zzz {}", "{}, 7")), ("sokoban", ("{} zzz", "{}.")), ("survo", ("{}\nzzz", "zzz {}")),
    ("kakurasu", ("{} zzz", "{} 7")), ("letter_jumble", ("{} zzz", "{} {}")), ("time_intervals", ("{} zzz", "{}, 7")),
    ("fraction_simplification", ("{} zzz", "{} = 7")), ("polynomial_equations", ("{}, zzz",)),
    ("advanced_geometry", ("{}, zzz", "{}, 7")), ("puzzle24", ("1*1*4*6", "2*2*2*3", "{} + 0*7", "{} + 0j")),
    ("countdown", ("{} + 0j", "{} or 1")), ("polynomial_multiplication", ("{} or 1", "{} if 1 else 2")),
]


@needs_gym
@pytest.mark.parametrize(("task", "answers"), TRICKS)
def test_a_full_score_for_what_is_no_answer_is_not_believed(
    verifier: GymVerifier, task: str, answers: tuple[str, ...]
) -> None:
    """Bug: `nan` was right on every problem of complex_arithmetic, `0` on most of coin_flip."""
    for problem in load(task, 4):
        for answer in answers:
            said = answer.replace("{}", problem.gold)
            assert verifier.verify(problem, f"<answer>{said}</answer>").correct is False, said
        assert verifier.verify(problem, verifier.gold_completion(problem)).correct is True


@needs_gym
@pytest.mark.parametrize("task", ["countdown", "puzzle24", "polynomial_multiplication", "simple_integration",
                                  "intermediate_integration", "binary_matrix", "n_queens", "coin_flip"])
def test_numbers_without_end_are_not_worked_out(verifier: GymVerifier, task: str) -> None:
    """Bug: `9**9**9` ran until the worker was killed, in eight tasks."""
    (problem,) = load(task, 1)
    begun = time.monotonic()
    for answer in ("9**9**9", "x + 9**9**9", "[9**9**9]", "9999999!", "1<<10**10", "[0]*10**10", "((9**99)**99)**99",
                   "(x+1)**10**6", "((x+1)**99)**99", "9^9^9", "1e999999999", "2**(10**9)", "-2**-(9**9)"):
        assert verifier.verify(problem, f"<answer>{answer}</answer>").correct is False, answer
    assert time.monotonic() - begun < 2.0


@needs_gym
@pytest.mark.parametrize(("task", "form"), [
    ("gsm_symbolic", "${}"), ("gsm_symbolic", "{}.0"), ("coin_flip", " {}"), ("countdown", "({})"),
    ("complex_arithmetic", "({})"), ("word_sorting", "{}"), ("puzzle24", "({})"), ("simple_integration", "({})"),
])
def test_other_spellings_stay_right(verifier: GymVerifier, task: str, form: str) -> None:
    for problem in load(task, 3):
        said = form.replace("{}", problem.gold)
        assert verifier.verify(problem, f"<answer>{said}</answer>").correct is True, said


@needs_gym
def test_a_task_whose_scorer_is_too_kind_is_refused(
    verifier: GymVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried with problems of its own: one problem may accept `0` by chance, a third of them not."""
    (problem,) = load("gsm_symbolic", 1)
    assert verifier.check_gold(problem) is None
    monkeypatch.setattr("rlvr.rewards.gym_task.believable", lambda *_: True)
    complaint = GymVerifier().check_gold(problem)
    assert complaint is not None and "gives the full score to 'THE ANSWER" in complaint
    assert "of 12 problems" in complaint and "\n" not in complaint


@needs_gym
def test_a_scorer_that_raises_could_not_read_the_answer(verifier: GymVerifier) -> None:
    (problem,) = load("prime_factorization", 1)
    assert verifier.verify(problem, "<answer>none</answer>").reason is Reason.UNPARSABLE
    assert verifier.verify(problem, f"<answer>{'9' * 20_001}</answer>").reason is Reason.TOO_LONG


@pytest.mark.parametrize(("text", "answer"), [
    ("<answer> 7 </answer>", "7"), ("<answer>1</answer> or <answer>2</answer> so", "2"), (r"so \boxed{8}", "8"),
    (r"\boxed{8} <answer>9</answer>", "9"), ("<think><answer>1</answer></think> <answer>2</answer>", "2"),
    ("<think><answer>1</answer></think>", Reason.NO_BOX), ("<think> <answer>1</answer>", Reason.UNFINISHED_THINK),
    ("<answer>1", Reason.UNBALANCED), ("1</answer>", Reason.UNBALANCED), ("<answer> </answer>", Reason.EMPTY),
    ("<answer>1</answer> no: <answer>2", Reason.UNBALANCED), ("<answer>a<answer>b</answer>", "b"), ("7", Reason.NO_BOX),
    ("<answer>1\n2</answer>", "1\n2"), (r"\boxed{", Reason.UNBALANCED), (r"\boxed{ }", Reason.EMPTY),
])
def test_where_the_answer_stands(text: str, answer: str | Reason) -> None:
    assert answer_of(text) == answer
    assert answer_of(GymVerifier.decisive(text)) == answer


def test_the_shipped_recipe_names_a_task() -> None:
    recipe = load_recipe("recipes/quickstart/gym_grpo_0.5b.yaml")
    assert recipe.data.train_set.source == recipe.data.probe_set.source == "gym:leg_counting"
    assert (recipe.data.train_set.split, recipe.data.probe_set.split) == ("train", "test")
