"""Imports point one way, and the rooms stay few."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from structure import circles, functions, imported, modules, room

SOURCE = Path(__file__).parents[1] / "src" / "ganfold"
LAYERS = {  # a room imports only rooms of lower layers
    "errors": 0, "interface": 1, "files": 1, "device": 1, "data.sources": 2, "images": 3, "networks": 4, "data": 4,
    "gans": 5, "latent": 6, "runs": 7, "metrics": 8, "training": 9, "tasks": 9, "studies": 10, "pages": 11,
    "lessons": 11, "exports": 11, "verbs": 12, "": 13, "cli": 14, "__main__": 15,
}  # fmt: skip
BY_STRING = {"__init__.py", "gans/__init__.py", "gans/registry.py"}  # the only files that import by a string


def arrows() -> set[tuple[str, str, str]]:
    """Each import between rooms: from, to, and the file."""
    known = modules(SOURCE)
    found = set()
    for name, path in known.items():
        here = room(name, known).removeprefix("ganfold").removeprefix(".")
        for target in imported(path, known):
            there = room(target, known).removeprefix("ganfold").removeprefix(".")
            if here != there:
                found.add((here, there, str(path.relative_to(SOURCE))))
    return found


def test_imports_point_one_way() -> None:
    wrong = [f"{file} imports {there}" for here, there, file in arrows() if LAYERS[there] >= LAYERS[here]]
    assert sorted(wrong) == []


def test_every_room_has_a_layer_and_the_rooms_are_few() -> None:
    known = modules(SOURCE)
    rooms = {room(name, known).removeprefix("ganfold").removeprefix(".") for name in known}
    assert rooms == LAYERS.keys()
    assert len(rooms) <= 22
    pairs = {(here, there) for here, there, _ in arrows()}
    assert len(pairs) < 120
    assert circles(pairs) == []


def test_only_the_registry_and_the_doors_import_by_a_string() -> None:
    said = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", getattr(node.func, "attr", "")) in ("import_module", "__import__")
    }
    assert said <= BY_STRING


@pytest.mark.parametrize(
    "text",
    ["import ganfold.cli", "from ganfold import cli", "from ganfold.cli import main", "import_module('ganfold.cli')"],
)
def test_no_way_to_import_is_overlooked(text: str, tmp_path: Path) -> None:
    known = modules(SOURCE)
    (tmp_path / "file.py").write_text(text)
    assert list(imported(tmp_path / "file.py", known)) == ["ganfold.cli"]


def test_no_function_is_longer_than_sixty_lines() -> None:
    long = [f"{name}: {lines}" for path in modules(SOURCE).values() for lines, name in functions(path) if lines > 60]
    assert long == []


def test_nothing_outside_the_gans_knows_a_gan_by_name() -> None:
    from ganfold.gans.registry import DEFAULT, GANS

    names = set(GANS) | {entry.class_name for entry in GANS.values()}
    wrong = []
    for path in SOURCE.rglob("*.py"):
        where = path.relative_to(SOURCE)
        if where.parts[0] in ("gans", "networks"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in names - {DEFAULT, "gan"}:  # "gan" is a word too
                wrong.append(f"{where}:{node.lineno} {node.value!r}")
    assert wrong == []
