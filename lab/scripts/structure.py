"""Counts that say how a checkout is built: rooms, arrows, circles, long functions, and how far GAN files differ.

    python lab/scripts/structure.py [ROOT]

A room is a folder of `src/ganfold` that holds modules, or a module beside them. An arrow is an import from one room
to another; `import_module` with a name in quotes counts as one. Nothing is imported or run.
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

DIFFS = [("dcgan", "gan"), ("dcgan", "wgan"), ("wgan", "wgan_gp"), ("dcgan", "rsgan")]
STRING_READ = re.compile(r"""(?:config|record|trained|about|before|run\.config)\[["']\w+["']\]""")


def modules(source: Path) -> dict[str, Path]:
    """Each module's dotted name and its file."""
    names = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a file imports, in any of the three ways.

    A lazy door is no dependency: in a module with a `__getattr__` of its own, what that function imports is left out,
    and so is the block that repeats it for type checkers.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = [node for outer in tree.body for node in (outer.body if isinstance(outer, ast.If) else [outer])]
    doors: list[ast.stmt] = [n for n in top if isinstance(n, ast.FunctionDef) and n.name == "__getattr__"]
    if doors:
        doors += [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    behind = {id(inner) for door in doors for inner in ast.walk(door)}
    for node in ast.walk(tree):
        if id(node) in behind:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "import_module":
            yield from (a.value for a in node.args if isinstance(a, ast.Constant) and a.value in known)


def room(name: str, known: dict[str, Path]) -> str:
    """The folder that a module lies in; a module at the top is a room by itself."""
    if known[name].name == "__init__.py":
        return name
    parent = name.rpartition(".")[0]
    return name if parent == "ganfold" else parent


def circles(arrows: set[tuple[str, str]]) -> list[list[str]]:
    """Groups of rooms that can be reached from each other."""
    reached: dict[str, set[str]] = {a: set() for pair in arrows for a in pair}
    for start in reached:
        stack = [start]
        while stack:
            here = stack.pop()
            for a, b in arrows:
                if a == here and b not in reached[start]:
                    reached[start].add(b)
                    stack.append(b)
    groups = {frozenset(b for b in reached[a] if a in reached[b]) for a in reached if a in reached[a]}
    return sorted(sorted(group) for group in groups)


def functions(path: Path) -> Iterator[tuple[int, str]]:
    """The length in lines and the name of each function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or 0) - node.lineno + 1, f"{path.name}:{node.name}"


def changed_lines(one: Path, other: Path) -> int:
    """Lines that a diff takes away or adds."""
    old, new = (path.read_text(encoding="utf-8").splitlines() for path in (one, other))
    return sum(line[:1] in "+-" and line[:3] not in ("+++", "---") for line in difflib.unified_diff(old, new, n=0))


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2]
    source = root / "src" / "ganfold"
    known = modules(source)
    rooms = {room(name, known) for name in known}
    arrows, strings = set(), 0
    for name, path in known.items():
        strings += len(re.findall(r"import_module\(", path.read_text(encoding="utf-8")))
        for target in imported(path, known):
            a, b = room(name, known), room(target, known)
            if a != b:
                arrows.add((a, b))
    long = sorted((f for path in known.values() for f in functions(path)), reverse=True)
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in known.values())
    reads = sum(len(STRING_READ.findall(path.read_text(encoding="utf-8"))) for path in known.values())
    print(f"modules {len(known)}, lines {lines}")
    print(f"rooms {len(rooms)}: {' '.join(sorted(r.removeprefix('ganfold.') for r in rooms))}")
    print(f"arrows between rooms {len(arrows)}")
    print(f"circles {len(circles(arrows))}: {circles(arrows)}")
    print(f"calls of import_module {strings}")
    print(f"reads of a record by strings {reads}")
    print(f"functions over 60 lines {sum(n > 60 for n, _ in long)}; longest: {long[:8]}")
    for one, other in DIFFS:
        paths = [source / "gans" / f"{name}.py" for name in (one, other)]
        sizes = [len(path.read_text(encoding="utf-8").splitlines()) for path in paths]
        print(f"diff {one}.py {other}.py: {changed_lines(*paths)} changed lines of {sizes[0]} and {sizes[1]}")


if __name__ == "__main__":
    main()
