"""Image sets that hold more than images: pairs, two domains, captions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganfold.data.cache import default_cache
from ganfold.data.captions import LENGTH, captions_of, text_of, words_of
from ganfold.data.imageset import ImageSet, load
from ganfold.data.remote import open_source
from ganfold.data.sources.findings import Finding, counted
from ganfold.data.sources.pairs import halves
from ganfold.errors import GanfoldError


def load_as(
    data_kind: Literal["images", "pairs", "domains", "captions"],
    source: str | Path,
    target: str | Path | None = None,
    *,
    words: tuple[str, ...] | None = None,
    **options: Any,
) -> ImageSet:
    """Load images with all that a kind of GAN needs of them.

    Args:
        data_kind: "images": as `load` does. "pairs": the targets, with `inputs` and `partner`. "domains": the images of
            `target`, with those of `source` as `inputs`. "captions": the images with `captions` from their metadata.
        source, target: as for `load`; `target` is for "domains" alone.
        words: the vocabulary of the captions [every word in them].
        options: further arguments of `load`.

    Raises:
        GanfoldError: the source does not hold what this kind needs, or `load` fails.
    """
    images = _load(data_kind, source, target, words, options)
    for part in (images, images.inputs) if images.inputs else (images,):
        if len(part.train) < 2:
            raise GanfoldError(
                f"{part.source} holds one image to train on, which is too few: 2 are the least, and hundreds are better"
            )
    return images


def _load(
    data_kind: str,
    source: str | Path,
    target: str | Path | None,
    words: tuple[str, ...] | None,
    options: dict[str, Any],
) -> ImageSet:
    if data_kind == "pairs":
        return _pairs(source, options)
    if data_kind == "domains":
        if not target:
            raise GanfoldError(
                f"two kinds of images are needed: {source} by --data, and what to make of them by --target"
            )
        targets = load(target, **options)
        return replace(targets, inputs=load(source, **(options | {"resolution": targets.resolution})))
    if data_kind == "captions" and options.get("crops") not in (None, "off"):
        raise GanfoldError("captions have places, which are shares of the whole image: leave out --crops")
    images = load(source, **options)
    return _captioned(images, words, options.get("fit", "crop")) if data_kind == "captions" else images


def _pairs(source: str | Path, options: dict[str, Any]) -> ImageSet:
    cache = Path(options.get("cache") or default_cache())
    inputs_source, targets_source = halves(open_source(source, options.get("classes_from", 1), cache), str(source))
    options = options | {"keep_duplicates": True}  # equal targets may have different inputs
    targets = load(targets_source, name=str(source), **options)
    inputs = load(inputs_source, name=str(source), **(options | {"resolution": targets.resolution}))
    row_of = {name: row for row, name in enumerate(inputs.names)}
    partner = np.array([row_of.get(name, -1) for name in targets.names])
    alone = dict.fromkeys(np.flatnonzero(partner < 0).tolist(), "its partner is unusable")
    return replace(_without(targets, alone), inputs=inputs, partner=partner)


def _captioned(images: ImageSet, words: tuple[str, ...] | None, fit: str) -> ImageSet:
    captions, faults = captions_of(images.attributes, images.source, images.names, words)
    cropped = sum(count for what, count in images.findings.converted.items() if what.startswith("not square"))
    if cropped and fit != "stretch":
        raise GanfoldError(
            f"{cropped:,} images of {images.source} are not square, and their boxes are shares of the whole image: "
            "give --fit stretch"
        )
    long = sum(len(words_of(text)) > LENGTH for text in map(text_of, images.attributes or ()))
    if long:
        verb = "is" if long == 1 else "are"
        said = f"{counted(long, 'caption')} {verb} longer than {LENGTH} words: the rest is not used."
        notes = [*images.findings.notes, said]
        images = replace(images, findings=replace(images.findings, notes=notes))
    return replace(_without(images, faults), captions=captions)


def _without(images: ImageSet, faults: dict[int, str]) -> ImageSet:
    """The set with the faulty images neither trained on nor held out; its findings name them."""
    if not faults:
        return images
    findings = replace(
        images.findings,
        used=images.findings.used - len(faults),
        skipped=images.findings.skipped + [Finding(images.names[row], why) for row, why in faults.items()],
    )
    rows = np.array(list(faults))
    train, held_out = (np.setdiff1d(part, rows) for part in (images.train, images.held_out))
    if not len(train):
        raise GanfoldError(f"{images.source} holds no usable image ({images.names[rows[0]]}: {faults[int(rows[0])]})")
    findings.held_out = len(held_out)
    return replace(images, train=train, held_out=held_out, findings=findings)
