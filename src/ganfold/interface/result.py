"""What a verb returns: an object that prints itself, and gives itself as a dictionary, as JSON, and to a notebook."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from ganfold.errors import printable

LARGEST_INLINE = 4 * 2**20  # bytes of an image that a notebook is given inline


class Result:
    """A result that prints itself. A subclass is a dataclass with `lines`; with `protocol` where it measures."""

    def lines(self) -> list[str]:
        """Plain sentences and tables for a terminal."""
        raise NotImplementedError

    def image_files(self) -> list[Path]:
        """Image files that belong to the result, for a notebook."""
        return []

    def __str__(self) -> str:
        return "\n".join(map(printable, self.lines()))

    def __repr__(self) -> str:
        first = next((line for line in self.lines() if line.strip()), "")
        return f"<{type(self).__name__}: {printable(first.strip())}>"

    def to_dict(self) -> dict[str, Any]:
        """All fields, with the protocol; only what JSON knows."""
        fields: dict[str, Any] = asdict(self)  # type: ignore[call-overload]
        content: dict[str, Any] = json.loads(json.dumps(fields, default=str))
        return content

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def _repr_html_(self) -> str:
        """What a notebook shows: the text as printed, and the images."""
        shown = "".join(inline(path) for path in self.image_files())
        return f"<pre>{html.escape(str(self))}</pre>{shown}"


class Written(type(Path())):  # type: ignore[misc]  # the concrete class of this system: only that can be derived from
    """The path of what a verb wrote. It is a `Path`, prints itself, and a notebook shows its images."""

    def lines(self) -> list[str]:
        return [str(self)]

    def to_dict(self) -> dict[str, Any]:
        return {"path": str(self)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def _repr_html_(self) -> str:
        files = sorted(self.rglob("*.png"))[:16] if self.is_dir() else [self]
        return f"<pre>{html.escape(str(self))}</pre>{''.join(inline(path) for path in files)}"


def inline(path: Path) -> str:
    """An `<img>` that holds the file; nothing for a file that is no image, too large or not there."""
    kind = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}.get(path.suffix.lower())
    if not kind or not path.is_file() or path.stat().st_size > LARGEST_INLINE:
        return ""
    return f'<img src="data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}">'


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as lines with aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def protocol_line(protocol: Mapping[str, Any]) -> str:
    """All that one must know to compare a result with another."""
    return "Protocol: " + "; ".join(f"{name} {value}" for name, value in protocol.items())


def stamp() -> dict[str, str]:
    """The version and the date, for a protocol."""
    return {"ganfold": version(), "date": datetime.now(UTC).date().isoformat()}


@cache
def version() -> str:
    """The version of the installed package."""
    try:
        return installed_version("ganfold")
    except PackageNotFoundError:  # run from its source, not installed
        return "unknown"
