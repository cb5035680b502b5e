"""The GANs, one file for each paper. `contract.py` says what such a file holds; `check` tests it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ganfold.gans.registry import GANS, Entry, Origin, find, installed, name_of, origin_of

if TYPE_CHECKING:
    from ganfold.training.conformance import check

__all__ = ["GANS", "Entry", "Origin", "check", "find", "installed", "name_of", "origin_of"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "check":  # it needs the trainer, and so torch: imported when it is used
            return import_module("ganfold.training.conformance").check
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
