"""`load`: the images of any source, by its path or name, as one memory-mapped array."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganfold.data.cache import Prepared, default_cache
from ganfold.data.captions import Captions
from ganfold.data.prepare import LoadOptions, check_resolution, prepare
from ganfold.data.remote import open_source
from ganfold.data.sources import squares
from ganfold.data.sources.decode import Fit
from ganfold.data.sources.findings import Findings
from ganfold.data.sources.source import Source
from ganfold.data.sources.strings import Rows
from ganfold.errors import GanfoldError, did_you_mean

Crops = int | Literal["native", "off"]
"""What training cuts from at random: images of this many px a side; images at their own scale; nothing."""


@dataclass(frozen=True)
class ImageSet:
    """Images ready for training: all that are used, the training part and the held-out part together."""

    images: np.ndarray  # uint8 (N, C, H, W), a memory map
    labels: np.ndarray | None  # int64 (N,), a memory map: numbers into `classes`; None: there are no classes
    classes: tuple[str, ...]  # (): there are no classes
    attributes: (
        Sequence[dict[str, Any]] | None
    )  # metadata of image i, read from disk when it is used; None: no metadata
    names: Sequence[str]  # where image i came from: its file in the source, or "images[17]"
    train: np.ndarray  # int64, ascending: the images to train on
    held_out: np.ndarray  # int64, ascending: the images that never enter training; may be empty
    fingerprint: str  # hexadecimal digest of pixels, labels, classes and held-out part
    source: str  # as the user wrote it
    findings: Findings  # the data doctor's report
    inputs: ImageSet | None = None  # what these images are to be made from, for "pairs" and "domains" of `load_as`
    partner: np.ndarray | None = None  # int64 (N,): the row of `inputs` that belongs to image i; None: not paired
    captions: Captions | None = None  # texts and places, for "captions" of `load_as`
    wider: np.ndarray | None = None  # uint8 (N, C, S, S): training cuts anywhere in it, `images` are its middles
    crops: Crops | None = None  # how `wider` was made; None: there is none

    @property
    def resolution(self) -> int:
        """Height and width in pixels."""
        return int(self.images.shape[2])

    @property
    def channels(self) -> int:
        """1 grey, 3 RGB, 4 RGBA."""
        return int(self.images.shape[1])

    @property
    def class_counts(self) -> list[int]:
        """The number of training images of each class; [] if there are no classes."""
        return [] if self.labels is None else np.bincount(self.labels[self.train], minlength=len(self.classes)).tolist()

    def __len__(self) -> int:
        return len(self.images)


def load(
    source: str | Path | Source,
    *,
    name: str | None = None,
    resolution: int | Callable[[int], int] | None = None,
    channels: int | None = None,
    fit: Fit = "crop",
    held_out: float | None = None,
    classes_from: int = 1,
    keep_duplicates: bool = False,
    crops: Crops | None = None,
    cache: str | Path | None = None,
    progress: bool = True,
) -> ImageSet:
    """Prepare the images of a source, or find them in the cache.

    Args:
        source: a folder or zip of images, an `.npz` or `.npy`, files of MNIST, CIFAR-10 or STL-10, parquet or
            webdataset files, or a `Source`; as a `str` also a bundled set (avatars, digits, photos, scenes), one class
            of it (avatars/toon-head), a hub id (owner/name), an address in object storage (s3://bucket/photos.zip), or
            NAME:REST for a source of an installed package.
        name: what to call the source [as it is given].
        resolution: height and width in px, 8 to 1024; or a function that makes it of the median shorter side of the
            images [that median].
        channels: 1 grey, 3 RGB, 4 RGBA [1 if all images are grey, or 3].
        fit: how images that are not square become square: "crop", "pad" or "stretch".
        held_out: share of images never trained on, 0 to 0.5 [0.1, at most 5,000; 0 under 500 images].
        classes_from: the level of nested folders that are the classes: 1 the first, 2 the second.
        keep_duplicates: use images with equal pixels more than once, as of a generator that repeats itself.
        crops: what training cuts random squares of `resolution` from: images made this many px a side; "native":
            images at their own scale, whose squares are held out together; None or "off": no crops.
        cache: the folder of prepared sets [`$GANFOLD_CACHE`, or `~/.cache/ganfold`].
        progress: show a bar while images are prepared, if stderr is a terminal.

    Raises:
        GanfoldError: there is no such source, it holds no usable image, or an argument is out of range.
    """
    _check_options(resolution, channels, fit, held_out, classes_from)
    called, place = name or str(source), Path(cache) if cache else default_cache()
    found = source if isinstance(source, Source) else open_source(source, classes_from, place)

    def prepared(source: Source, resolution: int | Callable[[int], int] | None) -> ImageSet:
        options = LoadOptions(resolution, channels, fit, held_out, keep_duplicates)
        return _image_set(prepare(source, called, options, place, progress=progress), called)

    if crops is None or crops == "off":
        return prepared(found, resolution)
    if resolution is None:
        raise GanfoldError("crops need a resolution: give the side of a crop in px")
    if isinstance(crops, int):
        check_resolution(crops)
        images = prepared(found, crops)
        side = resolution if isinstance(resolution, int) else resolution(images.findings.native["median"])
        if side > crops:
            raise GanfoldError(f"crops of {side} px cannot be cut from images of {crops} px: make --crops larger")
        return _middles(images, side, crops)
    if crops != "native":
        raise GanfoldError(f"crops {crops!r} is none of native, off and a number of px")
    side = resolution if isinstance(resolution, int) else resolution(native(found, cache=cache, progress=progress))
    return _middles(prepared(squares.native(found, side), None), side, crops)


def _middles(images: ImageSet, side: int, crops: Crops) -> ImageSet:
    """The set with the middles of its images, and the images themselves to cut from."""
    start = (images.resolution - side) // 2
    middles = images.images[:, :, start : start + side, start : start + side]
    return replace(images, images=middles, wider=images.images, crops=crops)


def _check_options(
    resolution: int | Callable[[int], int] | None,
    channels: int | None,
    fit: Fit,
    held_out: float | None,
    classes_from: int,
) -> None:
    if isinstance(resolution, int):
        check_resolution(resolution)
    if channels not in (None, 1, 3, 4):
        raise GanfoldError(f"channels {channels} is none of 1 (grey), 3 (colour), 4 (colour and transparency)")
    if fit not in ("crop", "pad", "stretch"):
        raise GanfoldError(f"fit {fit!r} is none of crop, pad, stretch{did_you_mean(fit, ['crop', 'pad', 'stretch'])}")
    if held_out is not None and not 0 <= held_out <= 0.5:
        raise GanfoldError(f"held-out {held_out} is out of range: a fraction from 0 to 0.5")
    if classes_from < 1:
        raise GanfoldError(f"classes_from {classes_from} is out of range: 1 is the first level of folders")


def _image_set(prepared: Prepared, name: str) -> ImageSet:
    trained = np.ones(len(prepared.images), bool)
    trained[prepared.held_out] = False
    prepared.findings.source = name  # the entry may have been made when the source was written in another way
    return ImageSet(
        images=prepared.images,
        labels=prepared.labels,
        classes=tuple(prepared.findings.classes),
        attributes=Rows(prepared.rows) if prepared.rows else None,
        names=prepared.names,
        train=np.flatnonzero(trained),
        held_out=prepared.held_out,
        fingerprint=prepared.fingerprint,
        source=name,
        findings=prepared.findings,
    )


def native(source: str | Path | Source, *, cache: str | Path | None = None, progress: bool = True) -> int:
    """The median shorter side of a source's images in px, from their headers alone; see `load`."""
    sides: list[int] = []

    def stop(side: int) -> int:
        sides.append(side)
        raise _Stop

    with contextlib.suppress(_Stop):
        load(source, resolution=stop, cache=cache, progress=progress)
    return sides[0]


class _Stop(Exception):
    """Ends `load` before it decodes the images."""


def drawn(indices: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most `count` of the indices, drawn without replacement by the seed, in ascending order."""
    return np.sort(np.random.default_rng(seed).permutation(indices)[:count])
