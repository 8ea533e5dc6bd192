"""`rlvr audit`: the numbers, the lists and the exit code, with verifiers whose faults are known.

Run: python -m pytest tests/judging/test_audit.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlvr.cli.main import main
from rlvr.judging.audit import CROSS, Audit, run_audit, table
from rlvr.judging.judge import Judge
from rlvr.judging.wrong_answers import value_key, wrong_answers
from rlvr.statistics.false_positives import audit as bound
from rlvr.types import Problem, UserError
from tests.rewards.test_unit_tests import CALL

GOLDS = ["204", "-7", "0", r"\frac{3}{4}", "(1,2)", "1,-2", r"2\sqrt{3}", r"x^2+2x+1", r"\text{(B)}", "[0, 5)"]
AFTER = ("other unit", "word after the number", "repeated unit", "one name for several values",
         "names in another order")
"""Rules whose answers differ from the gold answer in a unit or in names, which `value_key` leaves aside."""
LOOSE = "tests.support.verifiers_for_tests:SameLength"


def math(golds: list[str], verifier: str = "math") -> list[Problem]:
    return [Problem(f"m/{i}", "?", gold, verifier) for i, gold in enumerate(golds)]


def audit(problems: list[Problem], verifier: str, **settings: Any) -> Audit:
    return run_audit(problems, data="test", verifier=verifier, workers=1, **settings)


def test_the_math_verifier_passes_and_math_verify_alone_does_not() -> None:
    """No wrong answer accepted; the second grader's false chains are in the list of disagreements."""
    found = audit(math(GOLDS), "math")
    assert found.passed and found.rejected_golds == [] and found.accepted == []
    assert found.overall is not None and found.overall.accepted == 0
    assert found.rules[CROSS].wrong_answers == 10 * 9
    n = sum(rule.wrong_answers for rule in found.rules.values())
    assert n == found.overall.wrong_answers == found.speed["verdicts"]
    assert found.overall.rate.high == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-9)  # Clopper-Pearson of 0 in n
    assert found.overall.floor(256) == pytest.approx(1 - 0.05 ** (256 / n), rel=1e-9)
    assert found.second == "math_verify"
    chains = [row for row in found.disagreements if row["answer"] == "205=204"]
    assert [(row["gold"], row["correct"], row["reason"], row["second"]) for row in chains] == [
        ("204", False, "false_equation", True)]


def test_a_verifier_that_accepts_wrong_answers_is_counted_by_rule() -> None:
    """SameLength takes any answer as long as the gold: the counts are those of the answers made."""
    problems = math(["12", "34", "567"])
    found = audit(problems, LOOSE, cross=5)
    expected = [(rule, answer, p.gold) for p in problems for rule, answer in dict.fromkeys(wrong_answers(p.gold))
                if len(answer) == len(p.gold)]
    listed = [(row["rule"], row["answer"], row["gold"]) for row in found.accepted if row["rule"] != CROSS]
    assert sorted(listed) == sorted(expected) and len(expected) > 10
    assert (found.rules[CROSS].accepted, found.rules[CROSS].wrong_answers) == (2, 6)
    assert found.rules[CROSS].rate.high == pytest.approx(0.7287, abs=1e-4)  # 2 of 6, table of the binomial
    assert found.passed and found.second is None and found.disagreements == []


def test_rejected_golds_are_all_listed_and_the_rest_is_audited() -> None:
    found = audit(math(["5", "np.arcsin(10/13)", r"\frac{1}{0}", "7"]), "math", cross=9,
                  second="exact_string")
    assert not found.passed
    assert [row["id"] for row in found.rejected_golds] == ["m/1", "m/2"]
    assert found.rules[CROSS].wrong_answers == 2
    text = table(found)
    assert "gold accepts gold   2 of 4: 2 FAIL" in text and "m/1: " in text and "m/2: " in text


def test_equal_golds_are_no_wrong_answers() -> None:
    """Bug: 1/2 given for 0.5 counts as a false positive."""
    found = audit(math(["0.5", r"\frac{1}{2}", r"\dfrac12", "1,000", "1000"]), "math", cross=9,
                  second="exact_string")
    assert found.rules[CROSS].wrong_answers == 3 * 2 + 2 * 3
    assert found.accepted == []


def test_programs() -> None:
    """For unit tests the wrong answers are programs that solve nothing and those of other problems."""
    double = {"kind": "call", "entry": "double", "cases": [{"args": [2], "expected": 4}]}
    problems = [Problem("add", "?", "def add(a, b):\n    return a + b\n", "unit_tests", {"tests": CALL}),
                Problem("double", "?", "def double(a):\n    return 2 * a\n", "unit_tests", {"tests": double})]
    found = audit(problems, "unit_tests")
    assert found.passed and found.accepted == []
    assert {rule: count.wrong_answers for rule, count in found.rules.items()} == {
        "ends at once": 2, "empty": 2, "returns nothing": 2, "equals everything": 2, CROSS: 2}


def test_every_rule_changes_the_answer() -> None:
    for gold in [*GOLDS, "033", "1,234", "12.5", r"\$5", r"(-\infty, 3]", r"\{1,2\}", "52_8", r"90^\circ", "x=5"]:
        made = list(wrong_answers(gold))
        assert made, gold
        same = [answer for rule, answer in made if value_key(answer) == value_key(gold) and rule not in AFTER]
        assert same == [], gold
    assert ("order changed", "(2, 1)") in wrong_answers("(1,2)")
    assert ("set for tuple", r"\{1, 2\}") in wrong_answers("(1,2)")
    assert ("set for tuple", "(1, 2)") in wrong_answers(r"\{1,2\}")
    assert "set for tuple" not in dict(wrong_answers(r"(-\infty, 3)")) | dict(wrong_answers("[0, 5)"))
    assert ("bracket changed", "(0, 5)") in wrong_answers("[0, 5)")
    choices = [answer for rule, answer in wrong_answers(r"\text{(B)}") if rule == "other choice"]
    assert set(choices) >= {rf"\text{{({x})}}" for x in "ACDE"} and r"\text{(B)}" not in choices


KINDS = [
    ("7", "constant", ["nan", "0", r"\infty", r"\{\}"]), (r"\text{Evelyn}", "constant", ["nan", r"\emptyset"]),
    ("7", "word after the number", [r"7\text{ sevenths}", r"7\text{ point five}", r"7\text{ guess}", "7 zzz"]),
    (r"2\sqrt{3}", "word after the number", [r"2\sqrt{3}\text{ in binary}"]),
    ("7", "repeated unit", ["7" + r"\text{ m}" * 100]),
    ("7", "sign between two answers", ["7≅8", r"7\simeq8", r"8\cong7", "7#8"]),
    ("7", "name of another value", ["[ABC]=8", r"m\angle 2=8", "8=x", r"\text{The answer is not 7}", "**8**"]),
    ("7", "unsolved", ["-x=7", "2x+z=7", "x^2+1=7"]),
    ("7", "option of another value", [r"\textbf{(C)}\ 8", "(C)+7", "C"]),
    ("7", "number in words", [r"\text{eight}", r"\text{five hundred}"]),
    ("(1,2)", "one name for several values", ["x=1, x=2", r"x=1 \text{ or } x=2"]),
    ("x=1,y=2", "one name for several values", ["x=1, x=2", "w=1, w=2"]),
    ("1,2", "names in another order", ["z=1, y=2"]),
    ("7", "list of one", ["[7]", r"\{[7]\}", r"\langle 7 \rangle"]), ("7", "doubled percent", [r"7\%\%"]),
    ("C", "other choice", [r"\textbf{(A)}\ 12", "A. x = 4", r"\text{not (C)}", "2C"]),
    (r"\text{Evelyn}", "other words", [r"\text{not Evelyn}", r"\text{Evely}", r"\text{Evelyn or other}"]),
]


@pytest.mark.parametrize(("gold", "rule", "some"), KINDS, ids=[f"{rule} for {gold}" for gold, rule, _ in KINDS])
def test_wrong_forms_that_a_verifier_once_accepted(judge: Judge, gold: str, rule: str, some: list[str]) -> None:
    """Each kind of answer that once passed is tried by `rlvr audit`, and the math verifier refuses all of them."""
    made = [answer for name, answer in wrong_answers(gold) if name == rule]
    assert set(some) <= set(made)
    verdicts = judge.judge(math([gold]) * len(made), [rf"\boxed{{{answer}}}" for answer in made])
    assert [answer for answer, verdict in zip(made, verdicts, strict=True) if verdict.correct is not False] == []


@pytest.mark.parametrize(("gold", "units"), [
    (r"5\text{ cm}", [r"5\text{ m}", r"5\text{ km}"]), (r"15\mbox{ cm}^2", [r"15\mbox{ m}^2", r"15\mbox{ km}^2"]),
    (r"90^\circ", [r"90\text{ radians}"]), (r"\$18.90", [r"18.90\text{ cents}"]), (r"5\text{ apples}", []),
    (r"0\text{ cm}", []), ("5", []), (r"10\text{ km/h}", [r"10\text{ m/s}"]),
])
def test_other_units_are_wrong_answers_that_the_math_verifier_refuses(
    judge: Judge, gold: str, units: list[str]
) -> None:
    assert [answer for rule, answer in wrong_answers(gold) if rule == "other unit"] == units
    verdicts = judge.judge(math([gold]) * len(units), [rf"\boxed{{{answer}}}" for answer in units])
    assert [verdict.correct for verdict in verdicts] == [False] * len(units)


@pytest.mark.parametrize(("one", "other", "same"), [
    ("0.5", r"\frac{1}{2}", True), ("1,000", "1000", True), ("$5$", "5", True), (r"50\%", "50", True),
    (r"3 \text{ cm}", "3", True), ("1,2", "12", False), ("x", "y", False), ("-3/4", r"-\dfrac{3}{4}", True),
    ("1,-2", "-2, 1", True), ("(1,2)", "(2,1)", False), ("1,2", "1,3", False), ("f(x)=1", "k = 1", True),
])
def test_value_keys(one: str, other: str, same: bool) -> None:
    assert (value_key(one) == value_key(other)) is same


# ------------------------------------------------------------------------------------------------ command line


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "d.jsonl", [{"problem": "p", "answer": gold} for gold in GOLDS[:4]])
    completions = write(tmp_path / "c.jsonl", [
        {"problem_id": "d/0", "text": r"\boxed{204}"}, {"problem_id": "d/0", "text": r"\boxed{205=204}"},
        {"problem_id": "d/1", "text": "I think 8"}])
    code = main(["audit", "--data", data, "--completions", completions, "--cross", "2", "--workers", "1",
                 "-o", str(tmp_path / "out")])
    shown = capsys.readouterr().out
    assert code == 0 and "gold accepts gold   4 of 4" in shown and "all wrong answers" in shown
    tree = json.loads((tmp_path / "out/audit.json").read_text())
    assert (tree["golds_accepted"], tree["rejected_golds"], tree["false_positives"]["accepted"]) == (4, [], 0)
    assert tree["completions"]["judged"] == 3 and tree["completions"]["correct"] == 1
    assert tree["completions"]["agree"] == 2, "math-verify alone accepts the false chain"
    assert tree["completions"]["reasons"] == {"identical": 1, "false_equation": 1, "no_box": 1}
    assert tree["speed"]["p50_ms"] <= tree["speed"]["p99_ms"] <= tree["speed"]["max_ms"]


def test_a_rejected_gold_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "d.jsonl", [{"q": "p", "a": "5"}, {"q": "p", "a": r"\frac{1}{0}"}])
    assert main(["audit", "--data", data, "prompt=q", "gold=a", "--second", "exact_string", "--workers", "1"]) == 1
    assert "1 of 2: 1 FAIL" in capsys.readouterr().out


def test_rows_without_a_gold_answer_are_listed_with_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bug: the audit ended at the first of them, with a word about a recipe's key."""
    data = write(tmp_path / "d.jsonl", [{"problem": "p", "answer": gold} for gold in ("5", "", "7", None)])
    assert main(["audit", "--data", data, "--second", "exact_string", "--workers", "1",
                 "-o", str(tmp_path / "out")]) == 1
    shown = capsys.readouterr().out
    assert "gold accepts gold   2 of 4: 2 FAIL" in shown
    assert "  d.jsonl:2: no gold answer in column 'answer'" in shown.replace(f"{tmp_path}/", "")
    rows = json.loads((tmp_path / "out/audit.json").read_text())["rejected_golds"]
    assert [row["why"].partition(": no")[0].rpartition("/")[2] for row in rows] == ["d.jsonl:2", "d.jsonl:4"]
    none = write(tmp_path / "none.jsonl", [{"problem": "p", "answer": ""}])
    assert main(["audit", "--data", none]) == 2
    assert "none of the 1 rows" in capsys.readouterr().err


def test_the_last_lines_say_what_the_numbers_mean() -> None:
    found = audit(math(GOLDS[:2]), "math", second="exact_string")
    few = table(found).splitlines()
    assert few[-1].startswith("No wrong answer was accepted, but ") and few[-1].endswith(
        "are too few to exclude a rate of 1e-04: that takes 29,956.")  # log 0.05 / log(1 - 1e-4)
    loose = table(audit(math(["12", "34"]), LOOSE)).splitlines()
    assert "wrong answers were ACCEPTED" in loose[-1]
    refused = table(audit(math(["5", r"\frac{1}{0}"]), "math", second="exact_string")).splitlines()
    assert refused[-2].startswith("Not usable: 1 gold answers were rejected (exit code 1)")
    found.overall = bound(40_000, 0)
    assert table(found).endswith("No wrong answer was accepted: fewer than 7.5e-05 of such answers are (95%).")


def test_wrong_programs_of_a_task_with_input_are_wrong() -> None:
    """Bug: a program without functions came back unchanged as one that "returns nothing", and was right."""
    tests = {"kind": "stdin", "cases": [{"input": "1 2", "output": "3"}]}
    gold = "print(sum(map(int, input().split())))"
    quoting = 'def add(a, b):\n    """\n```\n>>> add(1, 2)\n```\n"""\n    return a + b\n'
    found = audit([Problem("s", "?", gold, "unit_tests", {"tests": tests}),
                   Problem("f", "?", "```python\ndef add(a, b): return a + b\n```", "unit_tests", {"tests": CALL}),
                   Problem("q", "?", quoting, "unit_tests", {"tests": CALL})], "unit_tests", cross=0)
    assert found.passed and found.accepted == []
    assert {rule: count.wrong_answers for rule, count in found.rules.items()} == {
        "ends at once": 3, "empty": 3, "returns nothing": 2, "equals everything": 2}


@pytest.mark.parametrize(("completions", "fragment"), [
    ([], "c.jsonl: found no rows, expected at least one completion"),
    ([{"problem_id": "x"}], "c.jsonl:1: no field 'text'; expected problem_id, text (found: problem_id)"),
    ([{"problem_id": "x", "text": None}], "c.jsonl:1: text is NoneType, expected the completion as text"),
    ([{"problem_id": "x", "text": ""}], "problem 'x' is not in --data (1 of 1 completions; ids there are like 'd/0')"),
    ([{"id": "d/0", "text": ""}], "no field 'problem_id'; expected problem_id, text (found: id, text)"),
])
def test_mistakes_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], completions: list[dict[str, Any]], fragment: str
) -> None:
    data = write(tmp_path / "d.jsonl", [{"problem": "p", "answer": "5"}])
    assert main(["audit", "--data", data, "--completions", write(tmp_path / "c.jsonl", completions)]) == 2
    error = capsys.readouterr().err
    assert fragment in error and error.count("\n") == 1


def test_plain_graders(judge: Judge) -> None:
    """What they are for: one accepts too much, the other too little."""
    texts = [r"\boxed{5}", r"\boxed{5.0}", "it is 5", r"\boxed{6=5}", r"\boxed{6}"]
    seen = {name: [verdict.correct for verdict in judge.judge(math(["5"] * 5, name), texts)]
            for name in ("math", "math_verify", "exact_string")}
    with pytest.raises(UserError, match="unknown name 'math_verfy'"):
        judge.judge(math(["5"], "math_verfy"), ["5"])
    assert seen == {"math": [True, True, False, False, False], "math_verify": [True, True, True, True, False],
                    "exact_string": [True, False, False, False, False]}


def test_wrong_answers_that_no_completion_can_give_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """Bug: `audit --data lab` ended in a traceback at a target that another problem's numbers do not reach."""
    reached = [Problem("a", "?", "5", "countdown", extra={"numbers": [2, 3]}),
               Problem("b", "?", "6", "countdown", extra={"numbers": [2, 3]}),
               Problem("c", "?", "9", "countdown", extra={"numbers": [4, 5]})]
    found = audit(reached, "countdown")
    assert found.passed and found.rules[CROSS].wrong_answers == 2  # 6 for a, 5 for b; c's 9 and the others' for c: none
    assert found.left_out >= 4 and found.as_dict()["left_out"] == found.left_out and found.accepted == []
    assert f"left out            {found.left_out} answers" in table(found)
    assert main(["audit", "--data", "lab", "size=3", "split=test", "--cross", "2", "--workers", "1"]) == 0
    assert "left out" in capsys.readouterr().out
