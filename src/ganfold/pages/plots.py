"""Plots and images as parts of an HTML page: inline SVG and data URIs."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ganfold.errors import GanfoldError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ["#2563eb", "#dc7b18", "#15976b", "#b0439c", "#6b7280", "#b91c1c"]
STYLE: Any = {  # of matplotlib; a `$` in a name is no mathematics
    "svg.fonttype": "none", "svg.hashsalt": "ganfold", "font.family": "sans-serif", "font.size": 10,
    "text.parse_math": False,
}  # fmt: skip
INK = "#7a7f87"  # legible on white and on near-black


def embedded(path: Path) -> str | None:
    """An image file as a data URI; None if there is no such file. A PNG becomes lossless WebP if that is smaller."""
    if not path.exists():
        return None
    content, kind = path.read_bytes(), path.suffix[1:]
    if kind == "png":
        smaller = io.BytesIO()
        try:
            with Image.open(path) as image:
                image.save(smaller, "WEBP", lossless=True)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow raises
            raise GanfoldError(f"{path} is damaged ({error}): delete it, and the page does without it") from error
        if smaller.tell() < len(content):
            content, kind = smaller.getvalue(), "webp"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def svg(figure: Figure) -> str:
    """A matplotlib figure as an `<svg>` element."""
    text = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that its own font lacks: the reader's browser has them
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def encoded(page: str) -> bytes:
    """A page as UTF-8. What that cannot hold, such as half a surrogate pair, stands as an escape."""
    return page.encode("utf-8", "backslashreplace")
