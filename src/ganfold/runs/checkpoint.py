"""Checkpoints: one safetensors file each. Its header holds the counters as JSON, and a digest over everything."""

from __future__ import annotations

import hashlib
import json
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
        GanfoldError: the file is cut short, altered or no checkpoint; names the file to delete.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = header["state"]
        if header["digest"] != _digest(tensors, text):
            raise ValueError("its content does not match its digest")
        return tensors, json.loads(text)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
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


def restore(network: nn.Module, tensors: dict[str, Tensor], whose: str | Path = "this checkpoint") -> None:
    """Load a network's weights.

    Args:
        whose: names the owner of the weights in the error.

    Raises:
        GanfoldError: they do not fit, for example after a change of ganfold.
    """
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise GanfoldError(
            f"the networks of {whose} are not those that this version of ganfold builds: use the version that "
            "config.json of the run names, or train anew into another folder"
        ) from error
