"""Pairs of images, as two sources in one order: the inputs, and the targets to be made from them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from ganfold.data.sources.decode import Raw, Unusable, look, upright
from ganfold.data.sources.readers import Chosen, Reader
from ganfold.data.sources.source import Listing, Source
from ganfold.errors import GanfoldError

FOLDERS = (("a", "b"), ("input", "target"), ("inputs", "targets"), ("traina", "trainb"), ("x", "y"))
"""Names, in lower case, of the folder of inputs and the folder of targets."""


@dataclass(frozen=True)
class Half:
    """The left or the right half of each image of another reader."""

    reader: Reader
    left: bool

    def read(self, index: int) -> Raw:
        image = upright(self.reader.read(index))
        middle = image.width // 2
        return np.asarray(
            image.crop((0, 0, middle, image.height) if self.left else (middle, 0, 2 * middle, image.height))
        )


def halves(source: Source, name: str) -> tuple[Source, Source]:
    """The inputs and the targets of a source of pairs.

    The source holds two folders of files with equal names, or images that show input and target side by side. What is
    no pair is skipped, and named in the findings of both.

    Args:
        source: the pairs.
        name: what the user calls the source, for the error.

    Raises:
        GanfoldError: when listed, if there is no pair.
    """

    def half(part: int) -> Source:
        def listing(scratch: Path) -> Listing:
            whole = source.list(scratch)
            folders = _folders(whole)
            pairs = _side_by_side(whole, part, name) if folders is None else _two_folders(whole, part, *folders)
            return replace(pairs, labels=None, classes=(), rows=None)

        return Source(f"{source.key}-{('input', 'target')[part]}", listing)

    return half(0), half(1)


def _folders(listing: Listing) -> tuple[str, str] | None:
    """The folders of inputs and of targets, as they are written; None if there are none with such names."""
    tops = {PurePosixPath(name).parts[0] for name in listing.names if "/" in name}
    if len(tops) == 1:
        return None
    by_name = {top.lower(): top for top in tops}
    for pair in FOLDERS:
        if set(pair) <= by_name.keys():
            return by_name[pair[0]], by_name[pair[1]]
    return None


def _two_folders(listing: Listing, part: int, first: str, second: str) -> Listing:
    """The inputs (`part` 0) or targets (1) of the pairs in two folders."""
    folders: list[dict[str, int]] = [{}, {}]  # name without folder and suffix -> place
    for place, name in enumerate(listing.names):
        top, _, rest = name.partition("/")
        if top in (first, second):
            key = unicodedata.normalize("NFC", str(PurePosixPath(rest).with_suffix("")))
            if key in folders[top == second]:
                listing.skip(name, "its partner is taken: another file of that name lies beside it")
            else:
                folders[top == second][key] = place
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
    names = [str(listing.names[pair[1]]) for pair in kept]  # the target's name in both parts: `load_as` joins by it
    return replace(listing, reader=Chosen(listing.reader, indices), names=names)


def _side_by_side(listing: Listing, part: int, source: str) -> Listing:
    """The inputs (`part` 0, left) or targets (1, right) of images that hold both."""
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
            "A), or images twice as wide as high that hold both side by side; or let --input make A of each image"
        )
    names = [str(listing.names[place]) for place in kept]
    return replace(listing, reader=Half(Chosen(listing.reader, np.array(kept)), part == 0), names=names)


def _size(reader: Reader, place: int) -> tuple[int, int] | None:
    """Width and height; None where the image cannot be read. `prepare` reports that."""
    try:
        width, height, _ = look(reader.read(place))
    except Unusable:
        return None
    return width, height
