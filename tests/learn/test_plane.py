"""The plane to play on is one file that asks nothing of another host."""

from __future__ import annotations

import re
from pathlib import Path

PLANE = (Path(__file__).parents[2] / "docs" / "learn" / "plane.html").read_text(encoding="utf-8")


def test_it_loads_nothing() -> None:
    assert re.findall(r"https?:|//[a-z]+\.|\b(?:src|import|fetch|XMLHttpRequest)\b", PLANE) == []
    assert re.findall(r"""href=["']([^"']+)""", PLANE) == ["./"]


def test_every_control_is_named_and_used() -> None:
    controls = set(re.findall(r'<(?:select|button|canvas|output) id="(\w+)"', PLANE))
    script = PLANE.partition("<script>")[2]
    used = set(re.findall(r'\$\("(\w+)"\)', script)) | set(re.findall(r'"(data|loss|rounds|seed)"', script))
    assert controls == used
    assert PLANE.count("<label>") == PLANE.count("<select ")


def test_every_loss_has_its_three_parts_and_its_option() -> None:
    losses = re.findall(r"^  (\w+): \{ real: .+ fake: .+ made: ", PLANE, flags=re.M)
    options = re.findall(r'<option value="(\w+)"', PLANE.partition('id="loss"')[2].partition("</select>")[0])
    assert losses == options
    assert len(losses) == 5
