"""A generator as one HTML file that generates in the browser."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from ganfold.errors import GanfoldError

VERSION = "1.30.0"  # of onnxruntime-web, where the page loads it from an address
ADDRESS = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{VERSION}/dist/"
RUNTIME = {  # its files, with the digests that a browser compares
    "ort.wasm.min.js": "sha384-Bw6URI+Gvoadw0do7/QrSHUC9D1vCYYK5OSqChFyhyV5mzPL4oe2rOAFljAnS8Sq",
    "ort-wasm-simd-threaded.mjs": "sha384-XcXA/MtAf0WpB8e023xQH9CM7RIjiugakT7x99DIwpFf7k56BIFFcAPerIF7FDad",
    "ort-wasm-simd-threaded.wasm": "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
}
LARGEST = 30 * 2**20  # bytes of the page


def page(facts: Mapping[str, Any], model: bytes, runtime: Path | None) -> bytes:
    """The page.

    Args:
        facts: what the generator is; see `exports.sampler.facts`.
        model: the content of the ONNX file.
        runtime: a folder that holds onnxruntime-web, to put inside; None: the page loads it when it is opened.

    Raises:
        GanfoldError: the folder does not hold it, or the page would be too large.
    """
    parts = {
        "TITLE": html.escape(f"{facts['gan']} · {facts['protocol']['data']}"),
        "FACTS": _in_script(json.dumps(facts)),
        "MODEL": _packed(model),
        "RUNTIME": _in_script(json.dumps({name: [ADDRESS + name, digest] for name, digest in RUNTIME.items()})),
        "INSIDE": "",
    }
    if runtime is not None:
        parts["RUNTIME"] = "null"
        parts["INSIDE"] = "\n".join(
            f'<script type="application/octet-stream" id="{name}">{_packed(_read(runtime, name))}</script>'
            for name in RUNTIME
        )
    text = files("ganfold.exports").joinpath("page.html").read_text(encoding="utf-8")
    content = re.sub("@@([A-Z]+)@@", lambda found: parts[found[1]], text).encode()
    if len(content) > LARGEST:
        size = f"{len(content) / 2**20:.0f} MiB"
        raise GanfoldError(f"the page would have {size}, and {LARGEST / 2**20:.0f} are the most: export it as onnx")
    return content


def _packed(content: bytes) -> str:
    """Bytes as text that the page unpacks: gzip, then base64. The same bytes give the same text."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _in_script(text: str) -> str:
    """JSON that may stand in a script of a page, whatever names it holds."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(folder: Path, name: str) -> bytes:
    """A file of onnxruntime-web, in the folder or in its `dist`, where npm puts it."""
    places = [folder / name, folder / "dist" / name, folder / "node_modules" / "onnxruntime-web" / "dist" / name]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise GanfoldError(
            f"--runtime {folder} does not hold {name} of onnxruntime-web: give the folder that "
            "`npm install onnxruntime-web` or an unpacked `npm pack onnxruntime-web` has made"
        )
    return found.read_bytes()
