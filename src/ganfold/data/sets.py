"""Image sets that hold more than images: pairs, two domains, captions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganfold.data.captions import captions
from ganfold.data.imageset import ImageSet, find, load
from ganfold.data.sources.findings import Finding
from ganfold.data.sources.pairs import halves
from ganfold.errors import GanfoldError


def load_as(
    wants: Literal["images", "pairs", "domains", "captions"],
    source: str | Path,
    target: str | Path | None = None,
    *,
    words: tuple[str, ...] | None = None,
    **how: Any,
) -> ImageSet:
    """The pictures of `source` with all that a GAN `wants`.

    Args:
        wants: "images": see `load`. "pairs": the targets, `inputs` and `partner`. "domains": the pictures of `target`,
            and those of `source` as `inputs`. "captions": `captions` from the metadata.
        source, target: as for `load`.
        words: the vocabulary of captions [every word that comes].
        how: what else `load` takes.

    Raises:
        GanfoldError: what is wanted is not there.
    """
    if wants == "pairs":
        return _pairs(source, how)
    if wants == "domains":
        if not target:
            raise GanfoldError(
                f"two kinds of images are needed: {source} by --data, and what to make of them by --target"
            )
        targets = load(target, **how)
        return replace(targets, inputs=load(source, **(how | {"resolution": targets.resolution})))
    images = load(source, **how)
    return _captioned(images, words, how.get("fit", "crop")) if wants == "captions" else images


def _pairs(source: str | Path, how: dict[str, Any]) -> ImageSet:
    inputs_source, targets_source = halves(find(source), str(source))
    how = how | {"keep_duplicates": True}
    targets = load(targets_source, name=str(source), **how)
    inputs = load(inputs_source, name=str(source), **(how | {"resolution": targets.resolution}))
    place = {name: row for row, name in enumerate(inputs.names)}
    partner = np.array([place.get(name, -1) for name in targets.names])
    alone = dict.fromkeys(np.flatnonzero(partner < 0).tolist(), "its partner is unusable")
    return replace(_without(targets, alone), inputs=inputs, partner=partner)


def _captioned(images: ImageSet, words: tuple[str, ...] | None, fit: str) -> ImageSet:
    found, wrong = captions(images.attributes, images.source, images.names, words)
    cropped = sum(count for what, count in images.findings.converted.items() if what.startswith("not square"))
    if cropped and fit != "stretch":
        raise GanfoldError(
            f"{cropped:,} images of {images.source} are not square, and their boxes are shares of the whole image: "
            "give --fit stretch"
        )
    return replace(_without(images, wrong), captions=found)


def _without(images: ImageSet, wrong: dict[int, str]) -> ImageSet:
    """The set with these images neither trained on nor held out, and named."""
    if not wrong:
        return images
    findings = replace(
        images.findings,
        used=images.findings.used - len(wrong),
        skipped=images.findings.skipped + [Finding(images.names[row], why) for row, why in wrong.items()],
    )
    rows = np.array(list(wrong))
    train, held_out = (np.setdiff1d(part, rows) for part in (images.train, images.held_out))
    if not len(train):
        raise GanfoldError(f"{images.source} holds no usable image ({images.names[rows[0]]}: {wrong[int(rows[0])]})")
    findings.held_out = len(held_out)
    return replace(images, train=train, held_out=held_out, findings=findings)
