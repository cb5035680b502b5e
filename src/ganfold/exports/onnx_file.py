"""A generator as an ONNX file, checked in ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from ganfold.errors import GanfoldError
from ganfold.exports.sampler import Apply, Inputs, Sampler, largest_difference, program, quiet
from ganfold.runs.run import Run

OPSET = 18
MISSING = "is not installed, and an ONNX file needs it: pip install 'ganfold[export]'"


def onnx_bytes(run: Run, facts: Mapping[str, Any]) -> tuple[bytes, float]:
    """The content of an ONNX file of a run's `sample`, and its largest difference from it.

    Its inputs are `latents` and the fields of the condition, by name. The number of images is free; height and width
    are free where the GAN allows it.

    Raises:
        GanfoldError: a package is missing, the GAN cannot be exported, or the file's images differ.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise GanfoldError(f"{error.name} {MISSING}") from error
    sampler = Sampler(run.gan)
    exported = program(sampler, str(run.path))
    with quiet(), torch.no_grad():
        made = torch.onnx.export(
            exported,
            dynamo=True,
            opset_version=OPSET,
            input_names=sampler.names,
            output_names=["images"],
            verbose=False,
        )
    assert made is not None
    model: Any = made.model_proto
    _name_axes(model, sampler)
    del model.graph.value_info[:]  # the shapes of all maps inside: runtimes find them themselves
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content, largest_difference(run, sampler, runtime(content), "the ONNX file")


def _name_axes(model: Any, sampler: Sampler) -> None:
    """Call the free axes batch, height and width."""
    for value in (*model.graph.input, *model.graph.output):
        names = ["batch", None, "height", "width"] if sampler.grid.is_free else ["batch"]
        for axis, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            if name and not axis.dim_value:
                axis.dim_param = name if value in model.graph.input or name == "batch" else f"image_{name}"


def runtime(content: bytes) -> Apply:
    """ONNX Runtime on the CPU with this file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def apply(inputs: Inputs) -> torch.Tensor:
        (images,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        return torch.from_numpy(images)

    return apply
