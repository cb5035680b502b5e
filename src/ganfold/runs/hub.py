"""Runs on the Hugging Face hub: `hub:user/name` as a folder of this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ganfold.errors import GanfoldError
from ganfold.runs.forms import FORMS
from ganfold.runs.record import NAME

PREFIX = "hub:"
FILES = [NAME, FORMS, "state.json", "checkpoints/*.safetensors"]  # what a run needs; no code is ever loaded
REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def library() -> Any:
    """The library of the hub.

    Raises:
        GanfoldError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise GanfoldError(
            "huggingface_hub is not installed, and the hub needs it: pip install 'ganfold[hub]'"
        ) from error
    return huggingface_hub


def checked(repository: str) -> str:
    """The name of a repository.

    Raises:
        GanfoldError: it is not of the form user/name.
    """
    if not REPOSITORY.fullmatch(repository):
        raise GanfoldError(f"{repository!r:.80} is no name on the hub: give it as user/name")
    return repository


def downloaded(name: str) -> Path:
    """The folder of a run of the hub, `hub:user/name` or `hub:user/name@revision`, in the library's cache.

    Raises:
        GanfoldError: there is no such run, or no network.
    """
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    hub = library()
    try:
        return Path(hub.snapshot_download(checked(repository), revision=revision or None, allow_patterns=FILES))
    except GanfoldError:
        raise
    except Exception as error:  # no network, no such repository, no right to read it, a full disk ...
        raise GanfoldError(f"cannot load {name} from the Hugging Face hub: {said(error)}") from error


def said(error: Exception) -> str:
    """What an error of the library says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]:.200}" if lines else type(error).__name__
