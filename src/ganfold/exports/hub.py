"""A run as a folder for the Hugging Face hub: what `ganfold.load` opens, exports of it, and a model card."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ganfold.errors import GanfoldError
from ganfold.exports.sampler import public_name
from ganfold.files import read_object
from ganfold.gans.registry import GANS
from ganfold.images import grids
from ganfold.interface.result import version
from ganfold.metrics.copies import Copies
from ganfold.metrics.evaluation import Evaluation
from ganfold.runs import checkpoint
from ganfold.runs.forms import FORMS
from ganfold.runs.record import NAME, RunRecord
from ganfold.runs.run import Run

PIPELINES = {"generation": "unconditional-image-generation", "captions": "text-to-image"}
OF_IMAGES = "image-to-image"
SHOWN = 16  # images in the grid of the card
UNSAID = "unknown"  # licence


def folder(run: Run, facts: Mapping[str, Any], model: bytes, code: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of the folder, by name.

    The paths of the owner's machine and the command are left out of the record.

    Args:
        facts: what the generator is; see `exports.sampler.facts`.
        model: the ONNX file.
        code: the files for PyTorch alone.
    """
    content = {"model.onnx": model, **code, **_run_files(run)}
    if not run.gan.conditioned_on_images:
        content["samples.png"] = _grid(run)
    content["README.md"] = card(run, facts, "samples.png" in content).encode()
    return content


def _run_files(run: Run) -> dict[str, bytes]:
    """A run folder with the averaged generator as its only checkpoint."""
    record = run.record
    inputs = record.data.inputs and replace(record.data.inputs, source=public_name(record.data.inputs.source))
    data = replace(record.data, source=public_name(record.data.source), inputs=inputs)
    config = {**record.config, **({"target": data.source} if record.option("target") else {})}
    origin = record.origin and replace(record.origin, file=public_name(record.origin.file))
    public: RunRecord = replace(record, data=data, config=config, origin=origin, command="", machine={})
    content = {NAME: _json(public.to_dict())}
    if (run.path / FORMS).exists():
        content[FORMS] = (run.path / FORMS).read_bytes()
    state = {name: run.state[name] for name in ("images", "minutes", "status", "why", "best") if name in run.state}
    if state:
        content["state.json"] = _json(state)
    with TemporaryDirectory() as scratch:
        path = checkpoint.place(Path(scratch), run.counters["steps"])
        tensors = {f"gan.{name}": tensor for name, tensor in run.gan.state_dict().items()}
        checkpoint.write(path, tensors, run.counters)
        content[f"checkpoints/{path.name}"] = path.read_bytes()
    return content


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _grid(run: Run) -> bytes:
    images = run.sample(SHOWN)
    file = io.BytesIO()
    grids.grid(images, scale=grids.enlargement(images)).save(file, "PNG")
    return file.getvalue()


def card(run: Run, facts: Mapping[str, Any], has_grid: bool) -> str:
    """The model card, from what the run knows of itself."""
    gan, data = facts["gan"], facts["protocol"]["data"]
    head = {
        "license": facts["license"],
        "library_name": "ganfold",
        "pipeline_tag": PIPELINES.get(facts["task"], OF_IMAGES),
        "tags": ["gan", "onnx", "ganfold"],
    }
    entry = GANS.get(gan)
    lines = ["---", *(f"{name}: {json.dumps(value)}" for name, value in head.items()), "---", ""]
    lines += [f"# {_plain(gan)} on {_plain(data)}", ""]
    lines += [f"{entry.summary if entry else 'A GAN from outside of ganfold.'} Trained and exported by "
              f"[ganfold](https://github.com/ganfold/ganfold) {version()}.", ""]  # fmt: skip
    lines += ["![Images of the generator](samples.png)", ""] if has_grid else []
    for title, part in (
        ("Use it", _use(facts)),
        ("Data", _data(run, facts)),
        ("Training", _training(run, facts)),
        ("Metrics", _metrics(run)),
        ("Copies of training images", _copies(run)),
        ("Limits", _limits(run, facts)),
        ("Licence", _licence(facts)),
    ):
        lines += [f"## {title}", "", *part, ""]
    return "\n".join(lines).rstrip() + "\n"


def _use(facts: Mapping[str, Any]) -> Iterator[str]:
    inputs = ", ".join(f"`{entry['name']}`" for entry in facts["inputs"])
    yield from ("With ganfold (put the name of this repository in place of USER/NAME):", "", "```python")
    yield from ("import ganfold", "", 'run = ganfold.load("hub:USER/NAME")')
    if facts["task"] == "generation":
        yield "images = run.sample(16, seed=0)  # uint8 (16, H, W, C)"
    yield from ("```", "")
    yield f"Without ganfold: `model.onnx` for any ONNX runtime (opset 18; inputs: {inputs}; output: `images`"
    yield "in [-1, 1]), or `generator.py`, which needs PyTorch alone and holds an example."


def _data(run: Run, facts: Mapping[str, Any]) -> Iterator[str]:
    data = run.record.data
    yield f"- {data.images:,} images of {data.resolution} x {data.resolution} px, and {data.held_out:,} held out"
    yield f"- Source: {_plain(facts['protocol']['data'])}; fingerprint {data.fingerprint[:16]}"
    if run.classes:
        counts = zip(run.classes, data.class_counts, strict=True)
        yield "- Classes: " + ", ".join(f"{_plain(name)} ({count:,})" for name, count in counts)
    if run.record.settings.flips:
        yield "- Each image was mirrored with probability 1/2."


def _training(run: Run, facts: Mapping[str, Any]) -> Iterator[str]:
    if state := run.state:
        yield f"- {state['images'] / 1000:,.1f} kimg in {state['minutes']:,.1f} minutes"
    yield f"- Checkpoint: {facts['protocol']['checkpoint']}; seed {run.record.settings.seed}"
    yield "- Options: " + ", ".join(f"{name} {_plain(str(value))}" for name, value in run.record.config.items())


def _metrics(run: Run) -> Iterator[str]:
    evaluation = _read(run.path / "evaluation.json", Evaluation)
    if evaluation is None:
        yield "This run was not evaluated (`ganfold evaluate`)."
        return
    if evaluation.metrics:
        yield from ("| metric | generated | real images (floor) | better |", "|---|---|---|---|")
        for metric in evaluation.metrics:
            yield f"| {metric.name} | {metric.value:.4g} | {metric.floor:.4g} | {metric.better} |"
        yield ""
    for task in evaluation.task:
        values = ", ".join(f"{_plain(name)} {value:.4g}" for name, value in task.values.items())
        yield f"- {task.name} ({task.better} is better): {values}"
    shown = ("features", "count", "seed", "checkpoint", "ganfold", "date")
    kept = [f"{name} {_plain(str(evaluation.protocol[name]))}" for name in shown if name in evaluation.protocol]
    yield from ("", *map(_plain, evaluation.notes[:1]), "", f"Protocol: {'; '.join(kept)}")


def _copies(run: Run) -> Iterator[str]:
    copies = _read(run.path / "copies.json", Copies)
    yield _plain(copies.verdict) if copies else "Nobody has looked for copies of training images (`ganfold copies`)."


def _limits(run: Run, facts: Mapping[str, Any]) -> Iterator[str]:
    data = run.record.data
    yield f"- The generator knows nothing but its {data.images:,} training images, and has their gaps and biases."
    if facts["task"] in ("generation", "captions", "inpainting"):
        yield f"- Images have {data.resolution} x {data.resolution} px."
    if not data.held_out:
        yield "- No image was held out of training: metrics cannot show whether it learnt its images by heart."
    if words := facts["words"]:
        yield f"- It knows {len(words):,} words. Others are left out."


def _licence(facts: Mapping[str, Any]) -> Iterator[str]:
    if facts["license"] == UNSAID:
        yield "Nobody has said under which licence this generator is. Its training images may have terms of their own."
    else:
        yield f"{_plain(facts['license'])}, as the person says who exported it. ganfold itself is MIT."


def _read(path: Path, kind: Any) -> Any:
    """A result that was saved beside the run; None where there is none."""
    if not path.exists():
        return None
    try:
        return kind.from_dict(read_object(path))
    except (KeyError, TypeError, AttributeError) as error:
        raise GanfoldError(f"{path} is damaged ({error}): delete it, or measure again") from error


def _plain(text: str) -> str:
    """Text of the user's as Markdown that means nothing else."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", re.sub(r"\s+", " ", text))
