"""Every lesson runs, draws and claims; the index leads to anchors that exist; the tables hold recorded rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

import ganfold
from ganfold.errors import GanfoldError
from ganfold.lessons import LESSONS
from ganfold.lessons.catalogue import EXPERIMENTS
from ganfold.lessons.experiment import Claim, Lesson, Outcome, several
from test_docs import blocks

DOCS = Path(__file__).parents[2] / "docs" / "learn"
PARTS = ["Try it", "Look", "Why", "Change one thing", "Further"]
INDEX = {"index.md": ("## Questions\n", "## Errors\n"), "index.zh.md": ("## 问题\n", "## 错误\n")}


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_runs_at_a_hundredth_of_its_budget(name: str, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    lesson = ganfold.learn(name, budget=0.01, out=tmp_path, progress=False)
    assert isinstance(lesson, Lesson)
    assert torch.equal(torch.get_rng_state(), before)
    with Image.open(tmp_path / f"{name}.png") as image:
        assert image.width > 600
        assert len(image.convert("L").getcolors() or []) > 10
    stored = json.loads((tmp_path / f"{name}.json").read_text(), parse_constant=lambda word: pytest.fail(word))
    assert stored["rows"]
    assert len(lesson.claims) >= 3
    said = str(lesson)
    for claim in lesson.claims:
        assert re.search(r"\d", claim.measured), claim
        assert ("THIS DID NOT HAPPEN: " + claim.expected in said) == (not claim.holds)
    assert "0.01 of the full budget" in said


def test_what_did_not_happen_is_said() -> None:
    right, wrong = (Claim("Water is wet.", "It was 3.", holds) for holds in (True, False))
    assert right.line() == "Water is wet. It was 3."
    assert wrong.line() == "THIS DID NOT HAPPEN: Water is wet. It was 3."
    assert not Lesson("the-game", "?", [], [right, wrong], "a.png", {"budget": 1.0}).holds


def outcome(**kids: tuple[float, float]) -> Outcome:
    """An outcome with the KID of two seeds for each variant."""
    made = Outcome()
    for name, values in kids.items():
        for seed, value in enumerate(values):
            made.add(name.replace("_", " "), seed, KID=value)
    return made


def test_a_claim_follows_from_the_rows() -> None:
    from ganfold.lessons.why_convolutions import CONVOLUTIONAL, DENSE, PLAIN, SHUFFLED, claims

    def told(convolutional: tuple[float, float]) -> list[bool]:
        made = Outcome()
        for name, values in {
            f"{DENSE}, {PLAIN}": (0.2, 0.2),
            f"{DENSE}, {SHUFFLED}": (0.2, 0.21),
            f"{CONVOLUTIONAL}, {PLAIN}": (0.1, 0.1),
            f"{CONVOLUTIONAL}, {SHUFFLED}": convolutional,
        }.items():
            for seed, value in enumerate(values):
                made.add(name, seed, KID=value)
        made.add(DENSE, 0, weights=1000)
        made.add(CONVOLUTIONAL, 0, weights=100)
        return [claim.holds for claim in claims(made)]

    assert told((0.3, 0.2)) == [True, True, True]
    assert told((0.1, 0.11)) == [False, True, True]


def test_the_values_of_all_seeds_are_said() -> None:
    assert several([0.5]) == "0.5"
    assert several([0.761, 0.783]) == "0.761 and 0.783"
    assert outcome(a=(1.0, 3.0)).mean("a", "KID") == 2.0


def test_the_list_and_a_wrong_name() -> None:
    assert not any("\n" in line for line in ganfold.learn().lines()), "the command line shows it as an escape"
    assert all(name in str(ganfold.learn()) for name in LESSONS)
    assert EXPERIMENTS.keys() == LESSONS.keys()
    with pytest.raises(GanfoldError, match="there is no experiment 'the-gam'; did you mean 'the-game'"):
        ganfold.learn("the-gam")


@pytest.mark.parametrize("name", LESSONS)
def test_a_page_is_short_and_has_its_parts(name: str) -> None:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert re.findall(r"^## (.+)", text, flags=re.M) == PARTS
    assert f"    ganfold learn {name}\n" in text
    assert f"](pictures/{name}.png)" in text
    assert (DOCS / "pictures" / f"{name}.png").is_file()
    answers = text.partition("## Change one thing")[2].partition("## Further")[0]
    assert answers.count("<details markdown>") == 2
    assert answers.count("<!-- runs -->") == 2
    assert [page for page in LESSONS if f"({page}.md)" in text or "(index.md)" in text]


@pytest.mark.parametrize("index", INDEX)
def test_the_index_answers_every_question_and_every_error(index: str) -> None:
    """`tests/test_docs.py` sees that each anchor exists."""
    text = (DOCS / index).read_text(encoding="utf-8")
    questions, errors = INDEX[index]
    for part, count in ((text.split(questions)[1].split(errors)[0], 34), (text.split(errors)[1], 56)):
        rows = re.findall(r"^\| (\d+) \|.*\]\(([\w-]+)\.md#[\w-]+\) \|$", part, flags=re.M)
        assert [int(number) for number, _ in rows] == list(range(1, count + 1))
        assert {page for _, page in rows} <= LESSONS.keys()


def test_both_indexes_lead_to_the_same_places() -> None:
    found = [re.findall(r"\]\(([\w-]+\.md#[\w-]+)\)", (DOCS / name).read_text(encoding="utf-8")) for name in INDEX]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", LESSONS)
def test_the_exercises_have_answers_that_run(name: str) -> None:
    names: dict[str, object] = {}
    found = [block for block in blocks((DOCS / f"{name}.md").read_text(encoding="utf-8")) if block.runs]
    assert len(found) == 2
    for block in found:
        assert "assert" in block.text
        exec(compile(block.text, name, "exec"), names)


def test_the_loop_on_its_page_is_the_loop_that_runs() -> None:
    import inspect

    from ganfold.lessons.plain import train

    source = [line.split("#")[0].strip() for line in inspect.getsource(train).splitlines()]
    page = (DOCS / "the-loop.md").read_text(encoding="utf-8")
    lines = next(block.text for block in blocks(page) if block.kind == "python" and not block.runs).splitlines()
    shown = [line.strip() for line in lines if line.strip()]
    assert len(shown) == 11
    assert [line for line in shown if line not in source] == []
