"""Fill the tables between marks in docs, lab and README from lab/results/*.jsonl.

python lab/scripts/render_tables.py                     # write them
python lab/scripts/render_tables.py --check             # write nothing; fail if a page is stale
python lab/scripts/render_tables.py --draft lab/results/NAME.jsonl     # print a mark for a file of results, to paste
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/**/*.md", "lab/**/*.md")
START, END = "<!-- table:", "<!-- end -->"
MARK = re.compile(r"^<!-- table:(?P<mark>.*?)-->$(?P<body>.*?)(?=^<!-- table:|\Z)", re.S | re.M)
CODE = re.compile(r"^(```|~~~).*?^\1", re.S | re.M)
FIELDS = {"file", "where", "columns", "digits"}
SEEDS = "seeds"  # a column: over how many seeds a line's metrics are
ROOMY = 10_000  # integers get commas from here on

Row = Mapping[str, Any]


class TableError(Exception):
    """One sentence: what is wrong with a mark."""


@dataclass(frozen=True)
class Mark:
    """What a mark asks for."""

    file: str  # of results, seen from the root of the repository
    columns: Mapping[str, str]  # the heading of each key
    where: Mapping[str, Any] = field(default_factory=dict)  # the rows to show; a list: any of these values
    digits: Mapping[str, int] = field(default_factory=dict)  # after the point

    @classmethod
    def read(cls, text: str) -> Mark:
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise TableError(f"its mark is no JSON ({error})") from None
        if not isinstance(fields, dict) or not {"file", "columns"} <= fields.keys() <= FIELDS:
            raise TableError('a mark is an object with "file", "columns" and, if needed, "where" and "digits"')
        return cls(**fields)


def table(mark: Mark, rows: Sequence[Row]) -> str:
    """The rows of a file as the Markdown table that a mark asks for.

    A line holds the seeds of one protocol. If a protocol and a seed come several times, the last row counts. The
    deviation is that of a sample (over n - 1).

    Raises:
        TableError: no row is left, a key is in none of them, or a line would mix protocols.
    """
    rows = [row for row in rows if all(_is_one_of(look_up(row, key), value) for key, value in mark.where.items())]
    if not rows:
        raise TableError(f"no row of {mark.file} has {json.dumps(mark.where)}")
    for key in mark.columns:
        if key != SEEDS and all(look_up(row, key) is None for row in rows):
            raise TableError(f'no shown row of {mark.file} has "{key}"')
    lines = [list(mark.columns.values()), ["---"] * len(mark.columns)]
    for runs in _lines(mark, rows):
        cells = {key: _cell(runs, key, mark.digits.get(key)) for key in mark.columns}
        lines.append([_seeds(runs) if key == SEEDS else cell for key, cell in cells.items()])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def look_up(row: Row, key: str) -> Any:
    """A value of a row: of its protocol, else of its metrics, else its own; None: there is none."""
    for part in (row.get("protocol", {}), row.get("metrics", {}), row):
        if key in part:
            return part[key]
    return None


def _lines(mark: Mark, rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each line of the table: those that differ in nothing but what was measured, and the seed."""
    groups: dict[str, dict[Any, Row]] = {}
    for row in rows:
        shown = {key: _text(look_up(row, key)) for key in mark.columns if key not in row.get("metrics", {})}
        groups.setdefault(json.dumps([shown, row.get("protocol", {})], sort_keys=True), {})[row.get("seed")] = row
    kept = [list(by_seed.values()) for by_seed in groups.values()]
    seen: dict[str, Row] = {}
    for first in (runs[0] for runs in kept):
        shown = {key: _text(look_up(first, key)) for key in mark.columns if key not in first.get("metrics", {})}
        other = seen.setdefault(json.dumps(shown, sort_keys=True), first)
        mine, its = first.get("protocol", {}), other.get("protocol", {})
        hidden = [key for key in {**its, **mine} if its.get(key) != mine.get(key)]
        if hidden:
            raise TableError(
                f'two lines look alike but differ in "{hidden[0]}" ({_text(its.get(hidden[0]))!r} and '
                f'{_text(mine.get(hidden[0]))!r}): make it a column, or choose one in "where"'
            )
    return kept


def _seeds(runs: Sequence[Row]) -> str:
    """The number of seeds of a line. A row whose metrics are means names its own."""
    seeds = {seed for row in runs for seed in row.get(SEEDS) or [row.get("seed")] if seed is not None}
    return str(len(seeds)) if seeds else ""


def _cell(runs: Sequence[Row], key: str, digits: int | None) -> str:
    values = [look_up(row, key) for row in runs]
    numbers = [value for value in values if _is_number(value)]
    is_metric = any(key in row.get("metrics", {}) for row in runs)
    if not numbers or not is_metric:
        return _number(values[0], digits) if _is_number(values[0]) else _text(values[0])
    spread = statistics.stdev(numbers) if len(numbers) > 1 else look_up(runs[0], f"{key}_std")
    text = _number(numbers[0] if len(numbers) == 1 else statistics.mean(numbers), digits)
    if spread is not None:
        text += f" ± {_significant(spread, 2)}" if digits is None else f" ± {spread:.{digits}f}"
    return text + (f" (n = {len(numbers)})" if len(numbers) < len(values) else "")


def _number(value: float, digits: int | None) -> str:
    if digits is not None:
        return f"{value:,.{digits}f}" if abs(value) >= ROOMY else f"{value:.{digits}f}"
    if abs(value) >= ROOMY:
        return f"{value:,.0f}"
    return str(value) if isinstance(value, int) else _significant(value, 4)


def _significant(value: float, digits: int) -> str:
    """A number with so many significant digits and no exponent."""
    return f"{Decimal(f'{value:.{digits}g}'):f}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_one_of(value: Any, requested: Any) -> bool:
    return value == requested or (isinstance(requested, list) and value in requested)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return re.sub(r"\s*\n\s*", " ", text).replace("|", "\\|")


def read_rows(path: Path) -> list[Row]:
    """The rows of a file of results.

    Raises:
        TableError: there is no such file, or a line is no row.
    """
    if not path.is_file():
        raise TableError(f"there is no file {path.name} in {path.parent}")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise TableError(f"line {number} of {path.name} is no JSON") from None
    return rows


def rendered(text: str, name: str, root: Path = ROOT) -> str:
    """A page with its tables filled.

    Args:
        name: of the page, for messages.

    Raises:
        TableError: names the page and the line of the mark.
    """
    code = [match.span() for match in CODE.finditer(text)]

    def filled(match: re.Match[str]) -> str:
        if any(start <= match.start() < end for start, end in code):  # an example of a mark
            return match[0]
        try:
            if END not in match["body"]:
                raise TableError(f"no {END} follows its mark")
            mark = Mark.read(match["mark"])
            filling = table(mark, read_rows(root / mark.file))
        except TableError as error:
            raise TableError(f"{name}, table in line {text.count(chr(10), 0, match.start()) + 1}: {error}") from None
        return f"{START}{match['mark']}-->\n\n{filling}\n\n{END}{match['body'].partition(END)[2]}"

    return MARK.sub(filled, text)


def draft(path: Path) -> str:
    """A mark that shows the protocol's fields that differ, the number of seeds, and all metrics that are numbers."""
    rows = read_rows(path)
    protocols = [row.get("protocol", {}) for row in rows]
    names = dict.fromkeys(name for protocol in protocols for name in protocol)
    keys = [name for name in names if len({_text(protocol.get(name)) for protocol in protocols}) > 1]
    metrics = {name for row in rows for name, value in row.get("metrics", {}).items() if _is_number(value)}
    order = dict.fromkeys(name for row in rows for name in row.get("metrics", {}) if name in metrics)
    keys += [SEEDS, *(name for name in order if not (name.endswith("_std") and name[:-4] in metrics))]
    file = path.resolve()
    name = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else str(path)
    mark = {"file": name, "columns": {key: key for key in keys}}
    return f"{START} {json.dumps(mark, ensure_ascii=False)} -->\n{END}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="[README, docs and lab]")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is stale")
    parser.add_argument("--draft", type=Path, metavar="FILE", help="print a mark for this file of results")
    options = parser.parse_args()
    pages = options.pages or [page for pattern in PAGES for page in sorted(ROOT.glob(pattern))]
    stale = 0
    try:
        if options.draft:
            print(draft(options.draft))
            return 0
        for page in map(Path, pages):
            before = page.read_text(encoding="utf-8")
            name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else str(page)
            after = rendered(before, name)
            if after == before:
                continue
            stale += 1
            if not options.check:
                page.write_text(after, encoding="utf-8")
            print(f"{name} {'is stale: run python lab/scripts/render_tables.py' if options.check else 'rendered'}")
    except TableError as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
