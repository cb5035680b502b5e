"""A generator as a Gradio Space: a folder that Hugging Face runs, or `python app.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from ganfold.exports.hub import UNSAID

GRADIO = "6.31.0"


def space(facts: Mapping[str, Any], model: bytes) -> dict[str, bytes]:
    """The files of the Space, by name. `app.py` reads all it must know from the metadata of the ONNX file."""
    head = {
        "title": f"{facts['gan']} on {facts['protocol']['data']}",
        "sdk": "gradio",
        "sdk_version": GRADIO,
        "app_file": "app.py",
    }
    head |= {"license": facts["license"]} if facts["license"] != UNSAID else {}
    lines = ["---", *(f"{name}: {json.dumps(value)}" for name, value in head.items()), "---", ""]
    lines += ["A generator of [ganfold](https://github.com/ganfold/ganfold), run by ONNX Runtime.", ""]
    lines += ["    pip install -r requirements.txt", "    python app.py", ""]
    needed = f"gradio=={GRADIO}\nnumpy\nonnxruntime\npillow\n"
    app = files("ganfold.exports").joinpath("app.txt").read_bytes()
    return {
        "README.md": "\n".join(lines).encode(),
        "requirements.txt": needed.encode(),
        "app.py": app,
        "model.onnx": model,
    }
