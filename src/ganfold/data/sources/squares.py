"""Squares cut from images at their own scale. The squares of one image stay together on one side of the split."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from ganfold.data.sources.decode import Unusable, look, upright
from ganfold.data.sources.findings import counted
from ganfold.data.sources.source import Listing, Source, key_of
from ganfold.errors import GanfoldError

VERSION = 1  # raise it when the code below cuts other squares: the cache then makes them again
LARGEST = 1024  # px a side of a square: the highest resolution of a prepared image


@dataclass(frozen=True)
class Squares:
    """Squares of raw images that lie end to end in a file.

    A row of the table, int64 (N, 6), is a square: where its image begins, height, width and channels of the image, and
    the square's first row and column.
    """

    path: Path
    table: Path
    side: int

    @cached_property
    def _open(self) -> tuple[np.ndarray, np.ndarray]:
        return np.memmap(self.path, np.uint8, "r"), np.asarray(np.load(self.table, mmap_mode="r"))

    def read(self, index: int) -> np.ndarray:
        values, table = self._open
        start, height, width, channels, top, left = table[index].tolist()
        image = values[start : start + height * width * channels].reshape(height, width, channels)
        square = np.ascontiguousarray(image[top : top + self.side, left : left + self.side])
        return square[..., 0] if channels == 1 else square


def native(source: Source, resolution: int) -> Source:
    """The images of a source as squares at their own scale, which leave room for random crops of `resolution`.

    A square has twice the resolution a side, or less where an image is smaller; smaller images than the resolution are
    left out.
    """

    def listing(scratch: Path) -> Listing:
        whole = source.list(scratch)
        sides = _shorter_sides(whole)
        large = {place: side for place, side in sides.items() if side >= resolution}
        if whole.labels is not None:  # an image without a label is not usable
            large = {place: side for place, side in large.items() if whole.labels[place] >= 0}
        if not large:
            raise GanfoldError(f"no image is {resolution} px or more on its shorter side: give --crops off")
        side = min(2 * resolution, LARGEST, *large.values())
        for place in sorted(place for place, side in sides.items() if side < resolution):
            whole.skip(str(whole.names[place]), f"too small for crops: under {resolution} px on the shorter side")
        made = cut(whole, scratch, side, side, places=sorted(large))
        into = f"{counted(len(made.names), 'square')} of {side} px"
        images = counted(len(set(made.groups.tolist())) if made.groups is not None else 0)
        made.notes.append(f"{images} cut at their own scale into {into}, for crops of {resolution} px.")
        return made

    return Source(key_of("squares", source.key, VERSION, resolution), listing, source.has_levels)


def cut(
    whole: Listing,
    scratch: Path,
    side: int,
    step: int,
    *,
    scales: Sequence[int] = (1,),
    places: Iterable[int] | None = None,
) -> Listing:
    """Cut images of a listing into squares. Each image is decoded once. One that cannot be decoded is skipped.

    Args:
        whole: the images.
        scratch: a folder for the decoded images.
        side: of the squares, in px; no image may be smaller at any scale.
        step: from one square to the next, in px, at most.
        scales: by what each image is divided before it is cut.
        places: the numbers of the images [all].
    """
    table, origin, names = [], [], []
    offset = 0
    with open(scratch / "squares.bin", "wb") as file:
        for place in range(len(whole.names)) if places is None else places:
            try:
                image = upright(whole.reader.read(place))
            except (Unusable, OSError) as error:
                whole.skip(str(whole.names[place]), _reason(error))
                continue
            for scale in scales:
                pixels = np.asarray(_smaller(image, scale))
                height, width = pixels.shape[:2]
                corners = [(top, left) for top in _starts(height, side, step) for left in _starts(width, side, step)]
                mark = f" / {scale}" if scale > 1 else ""
                for top, left in corners:
                    table.append((offset, height, width, pixels.size // (height * width), top, left))
                    origin.append(place)
                    names.append(f"{whole.names[place]}{mark} at {left},{top}")
                file.write(pixels.tobytes())
                offset += pixels.size
    np.save(scratch / "squares.npy", np.array(table, np.int64).reshape(-1, 6))
    of = np.array(origin, np.int64)
    return replace(
        whole,
        reader=Squares(scratch / "squares.bin", scratch / "squares.npy", side),
        names=names,
        labels=None if whole.labels is None else whole.labels[of],
        rows=whole.rows and (whole.rows[0], whole.rows[1][of]),
        size=len(names) * side**2 * 3,
        groups=of,
    )


def _shorter_sides(listing: Listing) -> dict[int, int]:
    """The shorter side of each image with a good header, in px, by its number. The others are skipped, and named."""
    sides = {}
    for place, name in enumerate(listing.names):
        try:
            width, height, _ = look(listing.reader.read(place))
            sides[place] = min(width, height)
        except (Unusable, OSError) as error:
            listing.skip(str(name), _reason(error))
    return sides


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, Unusable) else f"unreadable: {getattr(error, 'strerror', None) or error}"


def _starts(length: int, side: int, step: int) -> list[int]:
    """Where squares begin along an image: evenly spread from edge to edge, so that each pixel is in one."""
    count = math.ceil((length - side) / step) + 1
    return np.linspace(0, length - side, count).round().astype(int).tolist()


def _smaller(image: Image.Image, scale: int) -> Image.Image:
    if scale == 1:
        return image
    return image.resize((image.width // scale, image.height // scale), Image.Resampling.LANCZOS)
