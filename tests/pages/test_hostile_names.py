"""No name from anywhere becomes markup in a page, and no page asks for anything outside.

Where it was looked for: each text that `report.html` of a run or a study shows. Those are names of classes, files,
folders and columns of the log; options, commands and machines; findings, notes, verdicts and protocols. In the pages
two places take text as it is (`| safe`): the plots, in which matplotlib writes names as SVG.
"""

from __future__ import annotations

import json
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import ganfold
from ganfold.errors import GanfoldError
from ganfold.pages.study_page import write_report
from ganfold.studies.conclusions import ArmRow, Study
from ganfold.studies.statistics import Difference

HOSTILE = [
    "<script>alert(1)</script>", '"onerror="alert(1)', "'onload='alert(1)", "</style>", "</title><b>", "-->", "]]>",
    "{{7*7}}", "{% raw %}", "&lt;i&gt;", "javascript:alert(1)", "<img src=http://x.org/x.png>",
    "url(//x.org)", "\u202egnp.exe", "\x1b[2J\x07", "$\\frac{$", "名前 😀", "\ud800",
]  # fmt: skip
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Structure(HTMLParser):
    """The elements of a page with the names of their attributes, the addresses that they name, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, ...]] = []
        self.drawn: set[tuple[str, ...]] = set()  # in plots, whose ticks depend on the width of their names
        self.addresses: list[str] = []
        self.text = ""
        self._plots = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._plots += tag == "svg"
        element = (tag, *sorted(name for name, _ in attrs))
        if self._plots:
            self.drawn.add(element)
        else:
            self.elements.append(element)
        self.addresses += [value or "" for name, value in attrs if name.rpartition(":")[2] in ("src", "href", "action")]

    def handle_endtag(self, tag: str) -> None:
        self._plots -= tag == "svg"

    def handle_data(self, data: str) -> None:
        self.text += data


def _compared(hostile: str, plain: str) -> Structure:
    """See that a page of hostile names has the elements of one of plain names."""
    one, other = Structure(hostile), Structure(plain)
    assert one.elements == other.elements
    assert one.drawn == other.drawn
    assert all(address.startswith(("data:image/", "#")) for address in one.addresses)
    assert not {tag for tag, *_ in one.elements} & {"script", "iframe", "object", "embed", "form", "link", "base"}
    assert not [name for _, *names in one.elements for name in names if name.startswith("on")]
    return one


def _run_page(folder: Path, name: str) -> str:
    """The page of a run in which all texts are this one."""
    folder.mkdir(parents=True)
    data = {
        "source": name, "fingerprint": "ab" * 16, "images": 900, "held_out": 100, "resolution": 8, "channels": 3,
        "classes": [name + "1", name + "2"], "class_counts": [450, 450],
    }  # fmt: skip
    config = {
        "ganfold": name, "gan": "dcgan", "config": {"lr": 2e-4, "norm": name, name: name}, "settings": {"seed": 0},
        "data": data, "machine": {"torch": name, name: name}, "command": name, "started": name,
    }  # fmt: skip
    found = {
        "classes": {name + "1": 500, name + "2": 500}, "skipped": [{"file": name, "why": name}], "notes": [name],
        "repaired": [{"file": name, "why": f"cut: {name}"}], "warnings": [name], "converted": {name: 3},
    }  # fmt: skip
    state = {"images": 20000, "step": 156, "minutes": 3.5, "status": "stopped", "why": name}
    metric = {"name": name, "better": name, "value": 0.25, "error": 0.01, "floor": 0.002, "floor_error": 0.001}
    evaluation = {"figures": [metric], "classes": {name: [metric]}, "notes": [name], "protocol": {name: name}}
    share = {"share": 0.042, "real": 0.01, "threshold": 0.1, "chance": 0.001}
    copies = {
        "verdict": name, "pixels": share, "features": share, "authenticity": 0.9, "authenticity_real": 0.5, "c_t": -5.0,
        "c_t_real": None, "pairs": [], "notes": [name], "protocol": {"images": name, name: name},
    }  # fmt: skip
    contents = {"config": config, "data": found, "state": state, "evaluation": evaluation, "copies": copies}
    for file, content in contents.items():
        (folder / f"{file}.json").write_text(json.dumps(content))
    rows = [
        {"step": n, "kimg": float(n), f"Loss_{name}": 1.0 + n, "Loss_D": 2.0, f"grad_norm/{name}": 3.0}
        for n in range(1, 20)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ganfold.report(folder).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_the_page_of_a_run_takes_no_markup_from_a_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "a" / (ascii(name) if name == "\ud800" else name.replace("/", "_"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = _compared(_run_page(folder, name), _run_page(tmp_path / "b" / "plain", "plain"))
    shown = "\\ud800" if name == "\ud800" else name
    assert page.text.count(shown) >= 15


def _study_page(folder: Path, name: str) -> str:
    """The page of a study in which all texts are this one."""
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps({"data": name, name: [name]}))
    numbers: dict[str, Any] = {
        "each": [0.5, 0.6], "images": 10.0, "added": 5.0, "accuracy": 0.55, "low": 0.5, "high": 0.6, "macro_f1": 0.5,
        "calibration_error": None, "recall": [[0.5, 0.4, 0.6]] * 2, "seconds": 1.0,
    }  # fmt: skip
    difference = Difference(name, [0.1, 0.2], 0.15, 0.1, 0.2, 0.5, 0.5)
    worth = {"added": [0, 1], "accuracy": [0.5, 0.6], "generated": 5, "worth": 1, "low": 0, "high": 1, "most": 1}
    selection = {"class": name, "made": 1, "agreed": 1, "supported": 1, "copied": 0, "kept": 1, "variety": 0.5}
    study = Study(
        classes=[name, name], verdicts={name: f"helps: {name}"}, best={name: name},
        rows=[ArmRow(name, arm, **numbers) for arm in (name, "GAN")], primary=[difference], controls=[difference],
        exchange={name: worth}, selection=[selection], counts={name: [1, 2]}, notes=[name], protocol={name: name},
        page=folder / "report.html",
    )  # fmt: skip
    assert str(study).isprintable() or "\n" in str(study)
    return write_report(folder, study).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_the_page_of_a_study_takes_no_markup_from_a_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "a" / (ascii(name) if name == "\ud800" else name.replace("/", "_"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = _compared(_study_page(folder, name), _study_page(tmp_path / "b" / "plain", "plain"))
    assert page.text.count("\\ud800" if name == "\ud800" else name) >= 15


def test_an_error_holds_nothing_that_commands_a_terminal() -> None:
    for name in HOSTILE:
        assert not {"\x1b", "\x07", "\u202e", "\ud800", "\n"} & set(str(GanfoldError(f"no {name}\n")))
