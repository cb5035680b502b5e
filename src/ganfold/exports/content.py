"""The forms in which a generator is exported, by name."""

from __future__ import annotations

from pathlib import Path

from ganfold.exports.onnx_file import onnx_bytes
from ganfold.exports.sampler import facts
from ganfold.exports.torch_file import torch_files
from ganfold.runs.run import Run

Content = dict[str, bytes]  # of each file, by its name in the folder; "" where there is no folder


def content_of(run: Run, form: str, licence: str, runtime: Path | None) -> tuple[Content, float]:
    """The files of an export, and its largest difference from `sample`.

    Args:
        form: onnx, torch, web, hub or demo.
        licence: of the generator.
        runtime: of web: the folder of onnxruntime-web.

    Raises:
        GanfoldError: a package is missing, or the GAN cannot be exported exactly.
    """
    said = facts(run, licence)
    if form == "torch":
        return torch_files(run, said)
    model, difference = onnx_bytes(run, said)
    match form:
        case "onnx":
            return {"": model}, difference
        case "web":
            from ganfold.exports.web import page

            return {"": page(said, model, runtime)}, difference
        case "demo":
            from ganfold.exports.demo import space

            return space(said, model), difference
        case _:
            from ganfold.exports.hub import folder

            code, other = torch_files(run, said)
            return folder(run, said, model, code), max(difference, other)
