"""`ganfold check`: the findings as a result, and the contact sheet only where it is requested."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
from PIL import Image

import ganfold
from ganfold.data import Findings
from ganfold.verbs.check import check


def test_the_findings_print_themselves(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    findings = check(squares, progress=False)
    assert isinstance(findings, Findings)
    assert str(findings).splitlines() == findings.lines()
    assert findings.lines()[0] == f"{squares}: 96 images found, 96 used."
    assert repr(findings) == f"<Findings: {squares}: 96 images found, 96 used.>"
    assert json.loads(findings.to_json()) == findings.to_dict()
    assert Findings.from_dict(findings.to_dict()) == findings
    assert list(tmp_path.iterdir()) == []  # nothing is written unasked


def test_a_contact_sheet_is_written_where_it_is_requested(squares: Path, tmp_path: Path) -> None:
    findings = check(squares, resolution=16, contact_sheet=str(tmp_path / "sheet.png"), progress=False)
    assert findings.lines()[-1] == f"An image of some of them: {tmp_path / 'sheet.png'}"
    assert findings.image_files() == [tmp_path / "sheet.png"]
    assert "contact_sheet" not in findings.to_dict()
    assert Image.open(tmp_path / "sheet.png").format == "PNG"


def test_all_findings_are_written_where_it_is_requested(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.linear_gradient("L").save(folder / "good.png")
    for i in range(40):
        (folder / f"bad{i}.png").write_text("text")
    findings = check(folder, out=tmp_path / "findings.json", progress=False)
    content = json.loads((tmp_path / "findings.json").read_text())
    assert len(content["skipped"]) == 40
    assert content == findings.to_dict()
    assert "written" not in content
    assert any(line.endswith(f"and 20 more in {tmp_path / 'findings.json'}") for line in findings.lines())
    assert any(line.endswith("and 20 more (--out FILE names all)") for line in check(folder, progress=False).lines())


def test_the_level_of_the_class_folders_can_be_chosen(tmp_path: Path) -> None:
    for name in ("animals/birds", "animals/mammals", "plants/trees"):
        (tmp_path / "s" / name).mkdir(parents=True)
        Image.radial_gradient("L").resize((16, 16 + len(name))).save(tmp_path / "s" / name / "x.png")
    first, second = (check(tmp_path / "s", classes_from=level, progress=False) for level in (1, 2))
    assert first.lines()[2] == "2 classes: animals 2, plants 1."
    assert "(--classes-from 2): birds 1, mammals 1, trees 1." in "\n".join(first.lines())
    assert second.lines()[2] == "3 classes: birds 1, mammals 1, trees 1."
    with pytest.raises(ganfold.GanfoldError, match="classes_from must be 1 or more, not 0"):
        check(tmp_path / "s", classes_from=0)


def test_the_parameters_are_those_of_the_command(squares: Path) -> None:
    names = ["data", "resolution", "channels", "fit", "held_out", "classes_from"]
    names += ["cache", "progress", "contact_sheet", "unpack", "out"]
    assert list(inspect.signature(check).parameters) == names
    with pytest.raises(ganfold.GanfoldError, match="check has no option 'resolutoin'; did you mean 'resolution'"):
        check(squares, resolutoin=16)  # type: ignore[call-arg]
