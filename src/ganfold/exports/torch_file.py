"""A generator as one file of Python that needs PyTorch alone, with its weights beside it."""

from __future__ import annotations

import inspect
import json
import operator
import re
from collections.abc import Mapping
from importlib.resources import files
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, fx

from ganfold.errors import GanfoldError
from ganfold.exports.sampler import Inputs, Sampler, largest_difference, program
from ganfold.gans import noise
from ganfold.runs.run import Run

CODE, WEIGHTS = "generator.py", "generator.safetensors"
SKIPPED = ("_assert", "sym_constrain")  # operations that only check: the inputs' shapes are said in INPUTS
EXAMPLES = (
    "    images = generator.sample(16, seed=0)  # uint8 (16, H, W, C)",
    "    images = generator.sample(len(x), seed=0, {given})  # uint8 (len(x), H, W, C)",
)


def torch_files(run: Run, facts: Mapping[str, Any]) -> tuple[dict[str, bytes], float]:
    """The two files of a run's `sample`, by name, and its largest difference from it.

    Raises:
        GanfoldError: the GAN cannot be exported, or the file's images differ.
    """
    sampler = Sampler(run.gan)
    exported = program(sampler, str(run.path))
    code, weights = _code(exported, sampler, facts), _weights(exported)
    content = save(weights, {"facts": json.dumps(facts)})

    def apply(inputs: Inputs) -> Tensor:
        module = ModuleType("generator")
        module.__file__ = CODE
        exec(compile(code, CODE, "exec", dont_inherit=True), module.__dict__)
        with torch.inference_mode():
            return module.network(weights, *inputs.values())

    return {CODE: code.encode(), WEIGHTS: content}, largest_difference(run, sampler, apply, CODE)


def _weights(exported: torch.export.ExportedProgram) -> dict[str, Tensor]:
    """The weights that the program uses, by the names that `_code` gives them."""
    used = {node.name for node in exported.graph.nodes if node.op == "placeholder" and node.users}
    known = {**exported.state_dict, **exported.constants}
    names = _names(exported)
    return {name: known[name].detach().contiguous().clone() for place, name in names.items() if place in used}


def _names(exported: torch.export.ExportedProgram) -> dict[str, str]:
    """The name of the weight that stands behind each placeholder of the program."""
    signature = exported.graph_signature
    constants = getattr(signature, "inputs_to_lifted_tensor_constants", {})
    return {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **constants}


def _code(exported: torch.export.ExportedProgram, sampler: Sampler, facts: Mapping[str, Any]) -> str:
    inputs = sampler.inputs(1, sampler.grid.traced())
    shown = {name: (_shape(value, sampler), str(value.dtype)) for name, value in inputs.items()}
    fields = [name for name in sampler.fields if name != "label"]
    source = inspect.getsource(noise)
    parts = {
        "GAN": _plain(facts["gan"]),
        "DATA": _plain(facts["protocol"]["data"]),
        "VERSION": _plain(facts["ganfold"]),
        "EXAMPLE": EXAMPLES[bool(fields)].format(given=", ".join(f"{name}=..." for name in fields)),
        "FACTS": json.dumps(facts, indent=1).replace("'", "\\u0027"),
        "INPUTS": repr(shown),
        "NAMES": ", ".join(f"in_{name}" for name in sampler.names),
        "BODY": "\n".join(f"    {line}" for line in _lines(exported, sampler)),
        "NOISE": source[source.index("_GOLDEN") :].rstrip(),
    }
    text = files("ganfold.exports").joinpath("generator.txt").read_text(encoding="utf-8")
    return re.sub("@@([A-Z]+)@@", lambda found: parts[found[1]], text)


def _plain(name: str) -> str:
    """A name of the user's that ends no text of Python."""
    return re.sub(r"[^\w .,:+-]", "_", name)


def _shape(value: Tensor, sampler: Sampler) -> tuple[int | str, ...]:
    is_free = sampler.grid.is_free and value.ndim == 4
    return (value.shape[1], "height", "width") if is_free else tuple(value.shape[1:])


def _lines(exported: torch.export.ExportedProgram, sampler: Sampler) -> list[str]:
    """The program as lines of Python."""
    names = _names(exported)
    shown = {place: f"weights[{name!r}]" for place, name in names.items()}
    shown |= {
        str(place): f"in_{name}"
        for place, name in zip(exported.graph_signature.user_inputs, sampler.names, strict=True)
    }
    lines = []
    for node in exported.graph.nodes:
        if node.op == "output":
            lines.append(f"return {_text(node.args[0][0], shown)}")
        elif node.op == "call_function" and not any(word in str(node.target) for word in SKIPPED):
            arguments = [_text(value, shown) for value in node.args]
            arguments += [f"{name}={_text(value, shown)}" for name, value in node.kwargs.items()]
            lines.append(f"{node.name} = {_function(node.target)}({', '.join(arguments)})")
        elif node.op not in ("placeholder", "call_function"):
            raise GanfoldError(f"{CODE} cannot hold the operation {node.op} of this GAN: export it as onnx")
    return lines


def _function(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload) and target.namespace == "aten":
        return str(target)
    name = getattr(target, "__name__", "")
    if getattr(operator, name, None) is target:
        return f"operator.{name}"
    if getattr(torch, name, None) is target:
        return f"torch.{name}"
    raise GanfoldError(f"{CODE} cannot hold the operation {target} of this GAN: export it as onnx")


def _text(value: Any, shown: Mapping[str, str]) -> str:
    """A value as Python's source."""
    if isinstance(value, fx.Node):
        return shown.get(value.name, value.name)
    if isinstance(value, list | tuple):
        inside = "".join(f"{_text(part, shown)}, " for part in value)
        return f"[{inside[:-2]}]" if isinstance(value, list) else f"({inside})"
    if isinstance(value, torch.device):
        return f"torch.device({str(value)!r})"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return f"float({str(value)!r})"
    return repr(value)
