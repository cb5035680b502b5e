"""A Markdown table of an experiment's rows: the mean and the standard deviation of each metric over seeds.

python lab/scripts/tables.py lab/results/NAME.jsonl [--columns KID recall]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Rows of one experiment, as `harness.record` makes them, as a Markdown table.

    A line of the table holds the rows of one protocol, and names the fields in which the protocols differ. If a
    protocol and a seed come several times, the last row counts. The deviation is that of a sample (over n - 1).

    Args:
        columns: the metrics to show [all that are numbers].
    """
    names = dict.fromkeys(name for row in rows for name in row["protocol"])
    fields = [name for name in names if len({_text(row["protocol"].get(name)) for row in rows}) > 1]
    groups: dict[tuple[str, ...], dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        key = tuple(_text(row["protocol"].get(name)) for name in fields)
        groups.setdefault(key, {})[row["seed"]] = row["metrics"]
    metrics = columns or list(dict.fromkeys(n for row in rows for n, v in row["metrics"].items() if _is_number(v)))
    lines = [[*fields, "seeds", *metrics], ["---"] * (len(fields) + 1 + len(metrics))]
    for key, by_seed in groups.items():
        cells = [_cell([measured.get(name) for measured in by_seed.values()]) for name in metrics]
        lines.append([*key, str(len(by_seed)), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(values: Sequence[Any]) -> str:
    numbers = [value for value in values if _is_number(value)]
    if not numbers:
        return ""
    mean = f"{statistics.mean(numbers):.4g}"
    spread = f" ± {statistics.stdev(numbers):.2g}" if len(numbers) > 1 else ""
    return mean + spread + (f" (n = {len(numbers)})" if len(numbers) < len(values) else "")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return text.replace("|", "\\|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--columns", nargs="+", default=[], help="the metrics to show [all that are numbers]")
    options = parser.parse_args()
    print(table([json.loads(line) for line in options.file.read_text(encoding="utf-8").splitlines()], options.columns))


if __name__ == "__main__":
    main()
