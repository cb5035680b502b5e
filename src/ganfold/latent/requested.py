"""Latents as a user requests them: a file, codes, and how near to the mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from ganfold.errors import GanfoldError, did_you_mean
from ganfold.gans.contract import GAN
from ganfold.interface.options import Pairs

MOST = 1_000_000  # latents of a file
LARGEST = float(np.finfo(np.float32).max)


def pairs(option: str, given: Pairs, example: str) -> dict[str, float]:
    """Names and finite numbers, as in "0=3".

    Raises:
        GanfoldError: something is not of this form, or a name comes twice.
    """
    if isinstance(given, str):
        given = [given]
    items = list(given.items()) if isinstance(given, Mapping) else [word.rpartition("=")[::2] for word in given]
    found: dict[str, float] = {}
    for name, value in items:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or name == "":
            word = f"{name}={value!s:.40}" if name != "" else f"{value!s:.40}"
            raise GanfoldError(f"{option} {word} holds no name and number: give it as in {option} {example}")
        if str(name) in found:
            raise GanfoldError(f"{option} gives {name} twice")
        found[str(name)] = number
    return found


def check_codes(gan: GAN, name: str, codes: Mapping[str, float]) -> dict[int, float]:
    """The codes by their numbers, where the generator has these codes and they can have these values.

    Args:
        name: of the run, for errors.

    Raises:
        GanfoldError: they cannot.
    """
    values = gan.code_values
    if codes and not values:
        raise GanfoldError(f"{name} has no codes: its GAN learns none; `ganfold gans` lists those that do")
    checked = {}
    for word, value in codes.items():
        if word not in map(str, range(len(values))):
            raise GanfoldError(
                f"{name} has no code {word!r:.40}: its codes are {', '.join(map(str, range(len(values))))}"
            )
        number = int(word)
        if values[number] and value not in range(values[number]):
            raise GanfoldError(f"code {word} of {name} is a whole number from 0 to {values[number] - 1}, not {value:g}")
        if not values[number] and not -1 <= value <= 1:
            raise GanfoldError(f"code {word} of {name} is a number from -1 to 1, not {value:g}")
        checked[number] = value
    return checked


def check_shares(classes: Sequence[str], name: str, shares: Mapping[str, float]) -> list[float]:
    """A share for each class, 0 where none is requested.

    Raises:
        GanfoldError: there is no such class, a share is negative, or all are 0.
    """
    if not classes:
        raise GanfoldError(f"{name} takes no labels: it has no classes to share images among")
    for word, share in shares.items():
        if word not in classes:
            raise GanfoldError(f"no class {word!r:.60} in {name}{did_you_mean(word, classes)}")
        if share < 0:
            raise GanfoldError(f"the share of the class {word} is {share:g}: give 0 or more")
    if not sum(shares.values()) > 0:
        raise GanfoldError("all shares are 0: give one class a share above 0")
    return [shares.get(word, 0.0) for word in classes]


def changed(gan: GAN, z: Tensor, codes: Mapping[int, float], truncation: float) -> Tensor:
    """Latents (N, *latent) nearer to the mean of all latents, which is zero, and with codes set."""
    z = z * truncation
    for code, value in codes.items():
        z = gan.with_code(z, code, value)
    return z


def read_latents(path: str | Path, latent: tuple[int, ...]) -> np.ndarray:
    """The latents of a .npy file: float32 (N, *latent). Nothing but numbers is read, and no more than fits.

    Raises:
        GanfoldError: the file is damaged, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise GanfoldError(f"there is no file {path}: give a .npy of latents, such as `ganfold explore` writes")
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, OverflowError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise GanfoldError(f"cannot read latents from {path}: {reason:.120}") from error
    shape = f"(N, {', '.join(map(str, latent))})"
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        kind = getattr(values, "dtype", "an archive")
        raise GanfoldError(f"{path} holds {kind}: latents are real numbers, float32 {shape}, in a .npy file")
    if values.shape == latent:
        values = values[None]
    if values.shape[1:] != latent or not len(values):
        raise GanfoldError(f"{path} holds the shape {values.shape}, and this generator takes {shape}")
    if len(values) > MOST:
        raise GanfoldError(f"{path} holds {len(values):,} latents: give at most {MOST:,} at once")
    if not (np.abs(values) <= LARGEST).all():
        raise GanfoldError(f"{path} holds infinity, NaN or a number beyond 32 bits: latents are finite")
    return np.asarray(values, np.float32)
