"""Checkpoints: one safetensors file each. Its header holds the counters as JSON, and a digest over everything."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.files import write_atomically

KEPT = 2
BEST = "best.safetensors"  # the one of the lowest KID, beside the newest


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53  # JSON knows integers of any length, and tensors do not


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_time(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value) and value >= 0


def _is_meter(value: Any) -> bool:
    """Whether this is the JSON of `Meter.state`: for each group a count, and the names of its scalars."""
    if not isinstance(value, dict) or not all(isinstance(value.get(part), dict) for part in ("counts", "names")):
        return False
    counts, names = value["counts"], value["names"]
    return (
        counts.keys() == names.keys()
        and all(_is_count(count) and count > 0 for count in counts.values())
        and all(isinstance(of, list) and all(isinstance(name, str) for name in of) for of in names.values())
    )


def _is_best(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(_is_number(value.get(key)) for key in ("KID", "kimg")))


def _is_rescues(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, dict)
        and _is_time(row.get("at"))
        and _is_time(row.get("to"))
        and isinstance(row.get("why"), str)
        for row in value
    )


OF_TRAINER: dict[str, Callable[[Any], bool]] = {"steps": _is_count, "draws": _is_count, "meter": _is_meter}
OF_LOOP: dict[str, Callable[[Any], bool]] = {"seconds": _is_time, "log_bytes": _is_count}
IF_THERE: dict[str, Callable[[Any], bool]] = {
    "parts": lambda value: _is_count(value) and value > 0,
    "checkups": _is_count,
    "best": _is_best,
    "rescues": _is_rescues,
}
"""What each counter of a training must be. Those of `IF_THERE` came with later versions."""


def save(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
    """Write `folder/step-<step>.safetensors`, then delete all but the last two; see `write`."""
    path = place(folder, step)
    write(path, tensors, state)
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def place(folder: Path, step: int) -> Path:
    """The file of the checkpoint of a step. Later steps sort after it."""
    return folder / f"step-{step:09d}.safetensors"


def write(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write one checkpoint atomically.

    Raises:
        GanfoldError: no space is left, or the folder cannot be written; earlier files stay as they are.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(state, sort_keys=True)
    header = {"state": text, "digest": _digest(tensors, text)}

    def fill(temporary: Path) -> None:
        try:
            save_file(tensors, temporary, header)
        except SafetensorError as error:  # the Rust side wraps errors of the operating system
            number = _errno(str(error))
            raise OSError(number, str(error)) from error

    write_atomically(path, fill)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the state of a checkpoint, verified to the last bit.

    Raises:
        GanfoldError: the file is cut short, altered or no checkpoint, or a counter is missing or of a wrong type; names
            the file to delete.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = header["state"]
        if header["digest"] != _digest(tensors, text):
            raise ValueError("its content does not match its digest")
        state = json.loads(text)
        if wrong := wrong_counter(state, [*OF_TRAINER, *OF_LOOP]):
            raise ValueError(wrong)
        return tensors, state
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        earlier = [p for p in checkpoints(path.parent) if p < path]
        remedy = f"delete it to go on from {earlier[-1].name}" if earlier else "no earlier one is left: begin anew"
        raise GanfoldError(f"the checkpoint {path} is damaged ({error}): {remedy}") from error


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _errno(message: str) -> int:
    """The number in Rust's "... (os error 28)"; 5, an I/O error, if it has none."""
    _, found, rest = message.rpartition("os error ")
    return int(rest.split(")")[0]) if found else 5


def wrong_counter(state: Any, wanted: Iterable[str] = OF_TRAINER) -> str:
    """What is wrong with the counters of a training: the first that is missing, or not what it must be; "" if none is.

    Args:
        state: the JSON of a checkpoint.
        wanted: the counters that must be there.
    """
    if not isinstance(state, dict):
        return "its state is no table of counters"
    if missing := [name for name in wanted if name not in state]:
        return f"{missing[0]} is missing in its state"
    tests = OF_TRAINER | OF_LOOP | IF_THERE
    bad = [name for name, test in tests.items() if name in state and not test(state[name])]
    return f"{bad[0]} in its state is {repr(state[bad[0]])[:40]}" if bad else ""


def wrong_tensor(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """The first of `tensors` that is missing, not expected, or of another shape or type; "" if there is none."""
    for name, wanted in expected.items():
        if name not in tensors:
            return f"{name!r} is missing"
        found = tensors[name]
        if found.shape != wanted.shape:
            return f"{name!r} has the shape {tuple(found.shape)} and not {tuple(wanted.shape)}"
        if found.dtype != wanted.dtype:
            return f"{name!r} has the type {found.dtype} and not {wanted.dtype}"
    return next((f"{name!r} belongs to nothing" for name in tensors if name not in expected), "")


def misfit(whose: str | Path, wrong: str) -> GanfoldError:
    """The error for the content of a checkpoint that is whole, and does not fit."""
    return GanfoldError(
        f"{whose} does not fit the networks that this version of ganfold builds ({wrong}): use the version that "
        "config.json of the run names, or train anew into another folder"
    )


def restore(network: nn.Module, tensors: dict[str, Tensor], whose: str | Path = "this checkpoint") -> None:
    """Load a network's weights.

    Args:
        whose: names the owner of the weights in the error.

    Raises:
        GanfoldError: they do not fit, for example after a change of ganfold. The network is as it was.
    """
    if wrong := wrong_tensor(tensors, network.state_dict()):
        raise misfit(whose, wrong)
    network.load_state_dict(tensors)
