"""`load`: the images of any source, by its path or name, as one memory-mapped array."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data.cache import Prepared, default_cache
from ganfold.data.captions import Captions
from ganfold.data.prepare import LoadOptions, check_resolution, prepare
from ganfold.data.sources.decode import Fit
from ganfold.data.sources.findings import Findings
from ganfold.data.sources.lookup import find_source
from ganfold.data.sources.source import Source
from ganfold.data.sources.strings import Rows
from ganfold.errors import GanfoldError, did_you_mean


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
    keep_duplicates: bool = False,
    cache: str | Path | None = None,
    progress: bool = True,
) -> ImageSet:
    """Prepare the images of a source, or find them in the cache.

    Args:
        source: a folder or zip of images, an `.npz` or `.npy`, files of MNIST, CIFAR-10 or STL-10, parquet or
            webdataset files, or a `Source`; as a `str` also a bundled set (avatars, digits, scenes), one class of it
            (avatars/toon-head), a hub id (owner/name), or NAME:REST for a source of an installed package.
        name: what to call the source [as it is given].
        resolution: height and width in px, 8 to 1024; or a function that makes it of the median shorter side of the
            images [that median].
        channels: 1 grey, 3 RGB, 4 RGBA [1 if all images are grey, or 3].
        fit: how images that are not square become square: "crop", "pad" or "stretch".
        held_out: share of images never trained on, 0 to 0.5 [0.1, at most 5,000; 0 under 500 images].
        keep_duplicates: use images with equal pixels more than once, as of a generator that repeats itself.
        cache: the folder of prepared sets [`$GANFOLD_CACHE`, or `~/.cache/ganfold`].
        progress: show a bar while images are prepared, if stderr is a terminal.

    Raises:
        GanfoldError: there is no such source, it holds no usable image, or an argument is out of range.
    """
    _check_options(resolution, channels, fit, held_out)
    prepared = prepare(
        source if isinstance(source, Source) else find_source(source),
        name or str(source),
        LoadOptions(resolution, channels, fit, held_out, keep_duplicates),
        Path(cache) if cache else default_cache(),
        progress=progress,
    )
    return _image_set(prepared, name or str(source))


def _check_options(
    resolution: int | Callable[[int], int] | None, channels: int | None, fit: Fit, held_out: float | None
) -> None:
    if isinstance(resolution, int):
        check_resolution(resolution)
    if channels not in (None, 1, 3, 4):
        raise GanfoldError(f"channels {channels} is none of 1 (grey), 3 (colour), 4 (colour and transparency)")
    if fit not in ("crop", "pad", "stretch"):
        raise GanfoldError(f"fit {fit!r} is none of crop, pad, stretch{did_you_mean(fit, ['crop', 'pad', 'stretch'])}")
    if held_out is not None and not 0 <= held_out <= 0.5:
        raise GanfoldError(f"held-out {held_out} is out of range: a fraction from 0 to 0.5")


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


def native(source: str | Path, *, cache: str | Path | None = None, progress: bool = True) -> int:
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
