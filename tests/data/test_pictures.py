"""Rows with pictures: columns of Geometry3K, MathVista and MathVision with made-up content, and `image:` of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from rlvr.config.data import DataSpec
from rlvr.data.images import decode
from rlvr.data.load import load_problems
from rlvr.data.problem_sets import check_overlap, problem_set_hash, question
from rlvr.rewards.visual_answer import VisualVerifier
from rlvr.types import Problem, UserError
from tests.support.tiny_vision import picture

GEOMETRY3K = {
    "images": [{"bytes": picture(1), "path": None}], "problem": "<image>Find $x$.", "answer": r"2 \sqrt { 3 }",
}
MATHVISTA_FREE = {
    "pid": "1", "question": "What is the age gap? (Unit: years)", "image": "images/1.jpg",
    "decoded_image": {"bytes": picture(2), "path": "1.jpg"}, "choices": None, "unit": "years", "precision": 1.0,
    "answer": "4.2", "question_type": "free_form", "answer_type": "float", "metadata": {"category": "general-vqa"},
    "query": "Hint: ...\nQuestion: What is the age gap? (Unit: years)",
}
MATHVISTA_CHOICE = MATHVISTA_FREE | {
    "pid": "2", "choices": ["2.4", "4.2"], "precision": None, "question_type": "multi_choice", "answer_type": "text",
}
MATHVISION_FREE = {
    "id": "3", "question": "How many dots are in <image1>?", "options": [], "image": "images/3.jpg",
    "decoded_image": {"bytes": picture(3), "path": "3.jpg"}, "answer": "7", "solution": None, "level": 1,
    "subject": "counting",
}
MATHVISION_CHOICE = MATHVISION_FREE | {
    "id": "4", "question": "Which of <image1> and <image2> is larger?", "options": ["A", "B"], "answer": "B",
}
VISTA: dict[str, Any] = {"prompt": "question", "image": "decoded_image", "choices": "choices", "id": "pid",
                         "extra": ("precision",)}
MATHVISION: dict[str, Any] = {"prompt": "question", "image": "decoded_image", "choices": "options", "id": "id"}


def load(folder: Path, rows: list[dict[str, Any]], **fields: Any) -> list[Problem]:
    path = folder / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    spec = DataSpec(str(path), chat=True, verifier="visual_answer", **fields)
    return load_problems(spec, where="data.train")


def content(problem: Problem) -> Any:
    assert not isinstance(problem.prompt, str)
    return problem.prompt[-1]["content"]


def judged(problem: Problem, answer: str) -> bool | None:
    verifier = VisualVerifier()
    assert verifier.check_gold(problem) is None
    assert verifier.verify(problem, verifier.gold_completion(problem)).correct
    return verifier.verify(problem, rf"\boxed{{{answer}}}").correct


def test_geometry3k(tmp_path: Path) -> None:
    (problem,) = load(tmp_path, [GEOMETRY3K], prompt="problem", image="images", template="{prompt} Box it.")
    assert content(problem) == [{"type": "image"}, {"type": "text", "text": "Find $x$. Box it."}]
    assert problem.images == (picture(1),)
    assert judged(problem, r"\sqrt{12}") and judged(problem, "3.46") is False


def test_mathvista(tmp_path: Path) -> None:
    free, choice = load(tmp_path, [MATHVISTA_FREE, MATHVISTA_CHOICE], **VISTA)
    assert content(free) == [{"type": "image"}, {"type": "text", "text": "What is the age gap? (Unit: years)"}]
    assert judged(free, "4.18") and judged(free, "B") is False
    assert content(choice)[1]["text"].endswith("(Unit: years)\n(A) 2.4\n(B) 4.2")
    assert judged(choice, "B") and judged(choice, "4.2") and judged(choice, "A") is False


def test_mathvision(tmp_path: Path) -> None:
    free, choice = load(tmp_path, [MATHVISION_FREE, MATHVISION_CHOICE], **MATHVISION)
    assert content(free) == [{"type": "text", "text": "How many dots are in "}, {"type": "image"},
                             {"type": "text", "text": "?"}]
    # two numbered tags and one picture: it holds both, and the tags are their names
    text = "Which of <image1> and <image2> is larger?\n(A) A\n(B) B"
    assert content(choice) == [{"type": "image"}, {"type": "text", "text": text}]
    assert judged(free, "7") and judged(choice, "B") and judged(choice, "A") is False


def test_multiple_choice_can_be_dropped_before_rows_are_counted(tmp_path: Path) -> None:
    rows = [MATHVISTA_CHOICE, MATHVISTA_FREE, MATHVISTA_CHOICE | {"pid": "5"}, MATHVISTA_FREE | {"pid": "6"}]
    problems = load(tmp_path, rows, multiple_choice="drop", size=2, **VISTA)
    assert [p.id for p in problems] == ["1", "6"] and "choices" not in problems[0].extra
    assert [p.id for p in load(tmp_path, rows, multiple_choice="drop", skip=1, **VISTA)] == ["6"]
    with pytest.raises(UserError, match=r"data.train.choices: found null, expected the column of the options"):
        load(tmp_path, rows, multiple_choice="drop")


def test_images_of_a_hub_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = datasets.Features({"images": [datasets.Image()], "problem": datasets.Value("string"),
                                  "answer": datasets.Value("string")})
    rows = datasets.Dataset.from_list([GEOMETRY3K], features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows)
    spec = DataSpec("hiyouga/geometry3k", image="images", chat=True, verifier="visual_answer")
    (problem,) = load_problems(spec, where="data.train")
    assert decode(problem.images[0]).tobytes() == decode(picture(1)).tobytes()  # through PIL, pixel by pixel


def test_files_sizes_blank_and_transparent(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 20), (255, 0, 0, 0)).save(tmp_path / "a.png")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"problem": "Find x.", "answer": 1, "image": "a.png"}) + "\n")

    def one(**fields: Any) -> Problem:
        return load_problems(DataSpec(str(tmp_path / "rows.jsonl"), image="image", chat=True, **fields), where="d")[0]

    image = decode(one().images[0])
    assert image.size == (40, 20) and image.getpixel((0, 0)) == (255, 255, 255)  # a page, not black
    assert decode(one(image_max_pixels=200).images[0]).size == (20, 10)
    blank = decode(one(blank_images=True).images[0])
    assert blank.size == (40, 20) and blank.getcolors() == [(800, (255, 255, 255))]


def test_refusals_say_what_is_wrong(tmp_path: Path) -> None:
    def message(row: dict[str, Any], **fields: Any) -> str:
        with pytest.raises(UserError) as caught:
            load(tmp_path, [GEOMETRY3K | row], **({"prompt": "problem", "image": "images"} | fields))
        return str(caught.value)

    assert "found 1 picture(s) for 2 tag(s) <image>" in message({"problem": "<image><image>"})
    assert "not a picture that can be read" in message({"images": [{"bytes": b"x", "path": None}]})
    assert "found no picture" in message({"images": []})
    assert "no picture file" in message({"images": ["nowhere.png"]})
    assert "no column 'picture'" in message({}, image="picture")
    assert "data.train.image: found null with settings of pictures" in message({}, image=None, blank_images=True)
    with pytest.raises(UserError, match="with chat: false; set chat: true"):
        load_problems(DataSpec("x.parquet", image="images"), where="data.train")


def test_the_same_question_about_another_picture_is_another_problem(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"prompt": "problem", "image": "images"}
    one = load(tmp_path, [GEOMETRY3K], template="Q: {prompt}", **fields)
    other = load(tmp_path, [GEOMETRY3K | {"images": [{"bytes": picture(9), "path": None}]}], **fields)
    again = load(tmp_path, [GEOMETRY3K], **fields)
    assert question(other[0]).startswith("Find $x$.\n")
    assert check_overlap(one, other, train_template="Q: {prompt}") == 0
    with pytest.raises(UserError, match=r"1 of 1 probe problems are also in data.train"):
        check_overlap(one, again, train_template="Q: {prompt}")
    assert problem_set_hash(other) != problem_set_hash(again)

