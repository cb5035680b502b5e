"""Pairs of pictures, as two sources of one order: what is made from, and what it should become."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps

from ganfold.data.sources.decode import Raw, Unusable, look
from ganfold.data.sources.readers import Chosen, Reader
from ganfold.data.sources.source import Listing, Source
from ganfold.errors import GanfoldError

FOLDERS = (("a", "b"), ("input", "target"), ("inputs", "targets"), ("traina", "trainb"), ("x", "y"))
"""Names, in small letters, of two folders of which the second is to be made from the first."""


@dataclass(frozen=True)
class Half:
    """The left or the right half of each picture of another reader."""

    reader: Reader
    left: bool

    def read(self, index: int) -> Raw:
        raw = self.reader.read(index)
        look(raw)  # says what is wrong, if anything
        raw = self.reader.read(index)  # a stream has been read
        with Image.open(raw) if not isinstance(raw, np.ndarray) else Image.fromarray(raw) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode not in ("L", "RGB", "RGBA"):
                upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
            middle = upright.width // 2
            half = upright.crop(
                (0, 0, middle, upright.height) if self.left else (middle, 0, 2 * middle, upright.height)
            )
            return np.asarray(half)


def halves(source: Source, name: str) -> tuple[Source, Source]:
    """Inputs and targets of a source of pairs: two folders with equal names, or pictures that hold both side by side.

    What cannot be used of it is skipped and named in both.
    """

    def of(part: int) -> Source:
        def listing(scratch: Path) -> Listing:
            found = source.list(scratch)
            columns = _folders(found)
            made = _side_by_side(found, part, name) if columns is None else _two_folders(found, part, *columns)
            return replace(made, labels=None, classes=(), rows=None)

        return Source(f"{source.key}-{('input', 'target')[part]}", listing)

    return of(0), of(1)


def _folders(listing: Listing) -> tuple[str, str] | None:
    """The two folders, as written, whose names say that they hold pairs."""
    tops = {PurePosixPath(name).parts[0] for name in listing.names if "/" in name}
    if len(tops) == 1:
        return None
    by_name = {top.lower(): top for top in tops}
    for pair in FOLDERS:
        if set(pair) <= by_name.keys():
            return by_name[pair[0]], by_name[pair[1]]
    return None


def _two_folders(listing: Listing, part: int, first: str, second: str) -> Listing:
    folders: list[dict[str, int]] = [{}, {}]  # name without folder and suffix -> place
    for place, name in enumerate(listing.names):
        top, _, rest = name.partition("/")
        if top in (first, second):
            folders[top == second][str(PurePosixPath(rest).with_suffix(""))] = place
    for own, other, missing in ((0, 1, second), (1, 0, first)):
        for key in sorted(folders[own].keys() - folders[other].keys()):
            listing.skip(str(listing.names[folders[own][key]]), f"no partner: no file of that name in {missing}")
    kept = []
    for key in sorted(folders[0].keys() & folders[1].keys()):
        one, two = folders[0][key], folders[1][key]
        sizes = [_size(listing.reader, place) for place in (one, two)]
        if None not in sizes and sizes[0] != sizes[1]:
            texts = [f"{size[0]} x {size[1]}" for size in sizes if size]
            listing.skip(str(listing.names[one]), f"its partner has another size: {texts[0]} and {texts[1]} px")
        else:
            kept.append((one, two))
    if not kept:
        raise GanfoldError(f"{first} and {second} hold no pair: the files of a pair have equal names and sizes")
    indices = np.array([pair[part] for pair in kept])
    names = [str(listing.names[pair[1]]) for pair in kept]  # both by the target's, so that the two can be joined
    return replace(listing, reader=Chosen(listing.reader, indices), names=names)


def _side_by_side(listing: Listing, part: int, source: str) -> Listing:
    kept = []
    for place, name in enumerate(listing.names):
        size = _size(listing.reader, place)
        if size and size[0] != 2 * size[1]:
            listing.skip(str(name), f"not a pair side by side: {size[0]} x {size[1]} px is not twice as wide as high")
        else:
            kept.append(place)
    if not kept:
        raise GanfoldError(
            f"{source} holds no pairs: give it two sub-folders A and B with files of equal names (B is to be made from "
            "A), or pictures twice as wide as high that hold both side by side; or let --input make A of each picture"
        )
    names = [str(listing.names[place]) for place in kept]
    return replace(listing, reader=Half(Chosen(listing.reader, np.array(kept)), part == 0), names=names)


def _size(reader: Reader, place: int) -> tuple[int, int] | None:
    """Width and height; None where it cannot be read, which preparing will say."""
    try:
        width, height, _ = look(reader.read(place))
    except Unusable:
        return None
    return width, height
