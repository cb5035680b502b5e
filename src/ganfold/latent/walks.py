"""Rows of latents to look at: through samples, around them, along directions, between classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganfold.errors import GanfoldError
from ganfold.gans import noise
from ganfold.gans.contract import GAN
from ganfold.latent import paths
from ganfold.latent.directions import Directions

ASIDE = 0.25  # how far the images around the result of arithmetic are from it, as a share (Radford 2015, fig. 7)
MOST = 4096  # samples in the groups of arithmetic


@dataclass(frozen=True)
class Walk:
    """Latents in rows and columns."""

    z: Tensor  # (rows, columns, *latent)
    rows: tuple[str, ...]  # the name of each row
    columns: tuple[str, ...]  # the name of each column
    labels: Tensor | None = None  # int64 (rows, columns), where the generator takes labels
    closed: bool = False  # the end of each row meets its beginning
    joined: bool = False  # the end of each row meets the beginning of the next
    apart: bool = False  # columns are separate things: a film shows each for a while
    shares: tuple[float, ...] = ()  # of each column: how far its first features are from their mean
    notes: tuple[str, ...] = ()  # sentences for the user


def samples(z: Tensor, columns: int, start: int) -> Walk:
    """Samples in rows, with their numbers."""
    shown = z.unflatten(0, (-1, columns))  # type: ignore[no-untyped-call]
    rows = tuple(str(start + row * columns) for row in range(len(shown)))
    return Walk(shown, rows, tuple(f"+{column}" for column in range(columns)), apart=True)


def interpolation(z: Tensor, columns: int, names: tuple[str, ...]) -> Walk:
    """From each sample to the next, and back to the first."""
    return Walk(paths.loop(z, columns), names, ("",) * columns, joined=True)


def neighbours(z: Tensor, columns: int, names: tuple[str, ...], reach: float, seed: int) -> Walk:
    """A closed path around each sample, after the sample itself."""
    around = paths.circle(z, reach, columns - 1, seed)
    turns = tuple(f"{360 * step // (columns - 1)}°" for step in range(columns - 1))
    return Walk(torch.cat([z[:, None], around], 1), names, ("sample", *turns))


def orbit(z: Tensor, columns: int, names: tuple[str, ...], reach: float, seed: int) -> Walk:
    """The same without the sample, for a film."""
    return Walk(paths.circle(z, reach, columns, seed), names, ("",) * columns, closed=True)


def truncation(z: Tensor, columns: int, names: tuple[str, ...], by_features: bool) -> Walk:
    """From the mean, 0, to the sample itself, 1."""
    shares = torch.linspace(0, 1, columns)
    heads = tuple(f"{share:.2g}" for share in shares.tolist())
    each = z[:, None].expand(-1, columns, *z.shape[1:])
    if by_features:
        return Walk(each, names, heads, shares=tuple(shares.tolist()))
    return Walk(each * shares.view(1, -1, *[1] * (z.ndim - 1)), names, heads)


def along(z: Tensor, directions: Directions, columns: int, reach: float) -> Walk:
    """A row for each direction: the component of one latent along it goes from -reach to reach."""
    places = torch.linspace(-reach, reach, columns)
    rows = torch.stack([paths.along(z, vector, places) for vector in directions.vectors])
    heads = tuple(f"{place:+.2g}" if place else "0" for place in places.tolist())
    return Walk(rows, directions.names, heads, notes=directions.notes)


def codes(gan: GAN, z: Tensor, columns: int) -> Walk:
    """A row for each code: one latent with all its values. There are as many columns as a code has values, or more."""
    columns = max(columns, *gan.code_values)
    rows, names = [], []
    for code, values in enumerate(gan.code_values):
        steps = torch.linspace(0, values - 1, columns).round() if values else torch.linspace(-1, 1, columns)
        rows.append(torch.cat([gan.with_code(z[None], code, step) for step in steps.tolist()]))
        names.append(f"code {code}, {f'0 to {values - 1}' if values else '-1 to 1'}")
    return Walk(torch.stack(rows), tuple(names), ("",) * columns)


def mixed_codes(gan: GAN, z: Tensor, names: tuple[str, ...], code: int, most: int) -> Walk:
    """Each sample with each value of a code that has a number of values."""
    count = min(most, gan.code_values[code])
    rows = torch.stack([gan.with_code(z, code, value) for value in range(count)], 1)
    return Walk(rows, names, tuple(f"{code}={value}" for value in range(count)), apart=True)


def mixed_classes(z: Tensor, names: tuple[str, ...], classes: Sequence[str], most: int) -> Walk:
    """Each latent with each class."""
    count = min(most, len(classes))
    labels = torch.arange(count).expand(len(z), count)
    return Walk(z[:, None].expand(-1, count, *z.shape[1:]), names, tuple(classes[:count]), labels, apart=True)


def mixed_samples(z: Tensor, rows: int, columns: int) -> Walk:
    """A square between four samples."""
    return Walk(paths.square(z[:4], rows, columns), ("",) * rows, ("",) * columns)


def read_groups(text: str) -> list[tuple[int, list[int]]]:
    """Groups of samples as signs and numbers: "1,2,3 - 4,5,6 + 7,8,9" -> [(1, [1, 2, 3]), (-1, [4, 5, 6]), ...].

    Raises:
        GanfoldError: the text is not of this form.
    """
    parts = re.split(r"\s*([+-])\s*", text.strip())
    signs = [1, *(1 if sign == "+" else -1 for sign in parts[1::2])]
    groups = [part.replace(" ", "") for part in parts[::2]]
    if not all(re.fullmatch(r"\d{1,12}(,\d{1,12})*", group) for group in groups):
        raise GanfoldError(
            f'groups must be numbers of samples with commas, and + or - between groups, as in "1,2,3 - 4,5,6 + 7,8,9", '
            f"not {text!r:.80}: `ganfold explore RUN samples` shows the numbers"
        )
    found = [(sign, [int(word) for word in group.split(",")]) for sign, group in zip(signs, groups, strict=True)]
    if sum(len(group) for _, group in found) > MOST:
        raise GanfoldError(f"the groups hold more than {MOST:,} samples")
    return found


def arithmetic(groups: Sequence[tuple[int, Tensor]], columns: int, seed: int) -> Walk:
    """Radford 2015, fig. 7: the mean of each group of latents, and their sum with signs.

    Each row of a group shows its first members, and its mean in the last column. In the last row, the last column is
    the result, and those before are latents near it.
    """
    rows, names = [], []
    total = torch.zeros_like(groups[0][1][0])
    for sign, z in groups:
        mean = z.mean(0)
        total += sign * mean
        members = z[torch.arange(columns - 1) % len(z)]
        rows.append(torch.cat([members, paths.mean_of(z)[None]]))
        names.append("-+"[sign > 0] + " mean of " + str(len(z)))
    result = paths.mean_of(total[None])
    key = noise.key_of(seed, "arithmetic")
    aside = ASIDE * noise.normal(key, torch.arange(columns - 1), *total.shape)
    rows.append(torch.cat([result + aside, result[None]]))
    return Walk(torch.stack(rows), (*names, "= result"), (*[""] * (columns - 1), "mean"), apart=True)
