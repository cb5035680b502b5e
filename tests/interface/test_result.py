"""Results print themselves, and give themselves as a dictionary, as JSON, and to a notebook."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import ganfold
from ganfold.cli import main
from ganfold.interface.result import Result, Written, protocol_line, table


@dataclass(frozen=True, repr=False)
class Tasting(Result):
    verdict: str
    protocol: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        return [self.verdict, protocol_line(self.protocol)]


TASTED = Tasting("good <enough>", {"seed": 0, "images": "5 in each set"}, ("a",))


def test_a_result_prints_itself() -> None:
    assert str(TASTED) == "good <enough>\nProtocol: seed 0; images 5 in each set"
    assert repr(TASTED) == "<Tasting: good <enough>>"


def test_a_result_is_a_dictionary_and_json() -> None:
    assert TASTED.to_dict() == {"verdict": "good <enough>", "protocol": TASTED.protocol, "notes": ["a"]}
    assert json.loads(TASTED.to_json()) == TASTED.to_dict()


def test_a_notebook_gets_text_that_is_no_markup() -> None:
    assert "good &lt;enough&gt;" in TASTED._repr_html_()


def test_a_table_has_columns() -> None:
    assert table([("a", "bbb"), ("aaaa", "b")]) == ["a     bbb", "aaaa  b"]


def test_what_was_written_is_a_path_that_shows_its_images(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.new("RGB", (2, 2)).save(file)
    for written in (Written(file), Written(tmp_path)):
        assert isinstance(written, Path)
        assert str(written) in str(written.lines())
        assert json.loads(written.to_json()) == {"path": str(written)}
        assert "data:image/png;base64," in written._repr_html_()
    (tmp_path / "a.txt").write_text("no image")
    assert "<img" not in Written(tmp_path / "a.txt")._repr_html_()


@pytest.mark.parametrize("words", [["check", "{data}"], ["gans"], ["env"]])
def test_json_on_the_command_line_is_json_and_nothing_else(
    words: list[str], squares: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*(word.format(data=squares) for word in words), "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ganfold {ganfold.__version__}\n"


def test_the_help_has_the_verbs_in_the_order_of_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    order = [said.index(f"  {verb} ") for verb in ("check", "plan", "train", "sample", "evaluate", "report", "study")]
    assert order == sorted(order)


def test_an_unknown_verb_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian", "--data", "x"]) == 2
    assert capsys.readouterr().err.startswith("ganfold: there is no command 'trian'; did you mean 'train'?")
