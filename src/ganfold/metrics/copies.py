"""`ganfold copies`: do the samples lie nearer to training images than new real images do, and which are most alike?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import ganfold
from ganfold import data
from ganfold import device as devices
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.files import write_json
from ganfold.images import grids
from ganfold.metrics.features import Extractor, extractor
from ganfold.metrics.memorisation import authenticity, c_t, copy_share, nearest, nearest_in_pixels, pixel_bank
from ganfold.runs.run import Run, as_run

SHOWN = 24  # pairs on the page
MOST_REALS = 1000  # held-out images that are measured, or as many as samples if those are more
FEW_REALS = 102  # below it the 1 % quantile is the smallest of the held-out distances
STRICT = 0.1  # of the median held-out distance: a threshold below it comes from near-duplicates among the reals
SURE = 0.01  # a share above the held-out images' own by chance less often than this is called near-copies
LEANING = -3.0  # standard deviations of C_T

Space = Literal["pixels", "features"]


@dataclass(frozen=True)
class Share:
    """How many samples are near-copies in one space."""

    share: float | None  # of the samples, 0 to 1, nearer to a training image than the threshold; None: no threshold
    real: float | None  # the same of the held-out images
    threshold: float | None  # the 1 % quantile of the held-out images' distances
    chance: float | None  # probability of such a share if samples were new real images (Fisher's exact test)


@dataclass(frozen=True)
class Pair:
    """A sample and the training image that it is most like."""

    sample: str  # its number of the seed, or its file
    training: str  # its file
    space: Space  # where they are nearest, by the threshold's measure
    distance: float
    is_copy: bool | None  # under the threshold; None: there is none
    mirrored: bool  # the training image had to be


@dataclass(frozen=True)
class Copies:
    """What `copies` found: every figure beside what new real images get in the samples' place."""

    verdict: str
    pixels: Share
    features: Share
    authenticity: float  # share of samples, 0 to 1 (Alaa 2022)
    authenticity_real: float | None
    c_t: float | None  # standard deviations (Meehan 2020); None: too few images
    c_t_real: float | None  # of one half of the held-out images against the other
    pairs: list[Pair]  # the samples most like a training image, the most alike first
    notes: list[str]
    protocol: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Copies:
        """What `to_json` gave, back again."""
        spaces = {name: Share(**content[name]) for name in ("pixels", "features")}
        return cls(**(content | spaces | {"pairs": [Pair(**pair) for pair in content["pairs"]]}))

    def lines(self) -> list[str]:
        """Verdict, table and notes, for the console."""
        rows = [("", "samples", "new real images"), ("nearer than 99 % of held-out images", "", "")]
        rows += [
            (f"  in {name}", _percent(found.share), _percent(found.real))
            for name, found in (("pixels", self.pixels), ("features", self.features))
        ]
        rows += [
            ("authentic (AuthPct)", _percent(self.authenticity), _percent(self.authenticity_real)),
            ("C_T (below -3: copying)", _number(self.c_t), _number(self.c_t_real)),
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        protocol = "Protocol: " + "; ".join(f"{k} {v}" for k, v in self.protocol.items())
        return [self.verdict, "", *table, "", *self.notes, *([""] if self.notes else []), protocol]


def copies(
    images: str | Path | Run,
    reference: str | Path | None = None,
    *,
    features: str = "efficientnet",
    weights: str | Path | None = None,
    count: int = 1000,
    seed: int = 0,
    held_out: float | None = None,
    checkpoint: str = "best",
    device: str = "auto",
    out: str | Path | None = None,
    progress: bool = True,
) -> Copies:
    """Look for near-copies of training images among generated ones, and write `copies.json` and `copies.png`.

    Distances to the nearest training image are set beside those of real images that were not trained on: in pixels,
    over shifts and mirror images (`metrics.memorisation.pixel_views`), and in features, over mirror images.

    Args:
        images: a run, or a folder, zip or array file of images that anything has made.
        reference: of such images those that were trained on; a run knows its own.
        features, weights: what looks at the images; see `ganfold.metrics.features.extractor`.
        count: samples of a run, or at most so many of the generated images.
        seed: which samples, which of the generated images and which held-out ones.
        held_out: share of the reference, 0 to 0.5, that stands for new real images [0.1]; a run knows its own.
        checkpoint: "best" or "last", of a run.
        device: where to compute.
        out: folder for both files [the run's; for folders the current one].
        progress: show a bar while images are prepared.

    Raises:
        GanfoldError: no such images, others than were trained on, too few of them, features that cannot be had.
    """
    if count < 1:
        raise GanfoldError(f"count must be 1 or more, not {count}")
    looking = extractor(features, weights, devices.choose(device))
    if run := as_run(images, checkpoint):
        if reference is not None or held_out is not None:
            raise GanfoldError(f"{run.path} is a run and knows what it held out: leave out --reference and --held-out")
        sets, out = _of_run(run, count, seed, progress), out or run.path
    elif reference is None:
        raise GanfoldError(f"{images} is not a run: give --reference, the images that were trained on")
    else:
        sets = _of_folders(Path(images), reference, count, seed, held_out, progress)  # type: ignore[arg-type]
    found, page = _compare(sets, looking, seed)
    out = Path(out or ".")
    grids.save_png(page, out / "copies.png", {"verdict": found.verdict})
    write_json(out / "copies.json", found.to_json())
    return found


@dataclass(frozen=True)
class _Sets:
    samples: np.ndarray  # uint8 (N, C, H, W)
    names: list[str]  # of the samples
    reals: ImageSet
    train: np.ndarray  # int64, ascending: those that samples may have copied
    held_out: np.ndarray  # int64, ascending: those that stand for new real images; some or all may be in `train` too
    notes: list[str]
    protocol: dict[str, Any]


def _of_run(run: Run, count: int, seed: int, progress: bool) -> _Sets:
    reals = run.images(progress)
    held_out, notes = reals.held_out, []
    split = "held-out images were never trained on"
    if not len(held_out):
        held_out = data.drawn(reals.train, len(reals.train) // 2, seed)
        notes = ["Nothing was held out: half of the training images stand for new ones, each against all the others."]
        split = "each of half of the training images against all the others"
    return _Sets(
        samples=np.ascontiguousarray(run.sample(count, seed).transpose(0, 3, 1, 2)),
        names=[f"sample {number}" for number in range(count)],
        reals=reals,
        train=reals.train,
        held_out=data.drawn(held_out, max(count, MOST_REALS), seed),
        notes=notes,
        protocol={"run": f"{run.config['gan']}, {run.checkpoint}", "split": split},
    )


def _of_folders(
    generated: Path, reference: str | Path, count: int, seed: int, held_out: float | None, progress: bool
) -> _Sets:
    made = data.load(generated, held_out=0, keep_duplicates=True, progress=progress)
    reals = data.load(
        reference,
        # the smaller of both: an enlarged sample would differ from its original by being blurred
        resolution=lambda native: min(native, made.resolution),
        held_out=0.1 if held_out is None else held_out,
        progress=progress,
    )
    if (made.resolution, made.channels) != (reals.resolution, reals.channels):
        made = data.load(
            generated,
            resolution=reals.resolution,
            channels=reals.channels,
            held_out=0,
            keep_duplicates=True,
            progress=progress,
        )
    chosen = data.drawn(np.arange(len(made)), count, seed)
    drawn = data.drawn(reals.held_out, max(count, MOST_REALS), seed)
    note = (
        f"It is not known which of {reference} were not trained on: {len(drawn):,} of them stand for new real images, "
        "each compared with all the others."
    )
    return _Sets(
        samples=made.images[chosen],
        names=[made.names[i] for i in chosen.tolist()],
        reals=reals,
        train=np.arange(len(reals)),
        held_out=drawn,
        notes=[note] if len(drawn) else [],
        protocol={"generated": made.fingerprint, "split": "each held-out image against all other images"},
    )


@dataclass(frozen=True)
class _Nearest:
    """Of each sample in one space."""

    distance: Tensor  # float32 (N,)
    index: Tensor  # int64 (N,), number in `_Sets.train`
    mirrored: Tensor  # bool (N,)


def _compare(sets: _Sets, looking: Extractor, seed: int) -> tuple[Copies, Image.Image]:
    reals, train, held_out = sets.reals, sets.train, sets.held_out
    if len(reals.train) < 2:
        raise GanfoldError(f"{reals.source} holds only {len(reals.train)} image to compare with: at least 2 are needed")
    trained, new = reals.images[train], reals.images[held_out]
    # a held-out image that is itself among those that it is compared with is no neighbour of its own
    skip = torch.from_numpy(np.searchsorted(train, held_out)) if np.isin(held_out, train).any() else None
    in_pixels = pixel_bank(trained).to(looking.device)
    in_features = looking.cached(trained)
    features, new_features = looking(sets.samples), looking.cached(new) if len(new) else in_features[:0]
    found: dict[Space, _Nearest] = {
        "pixels": _Nearest(*nearest_in_pixels(sets.samples, in_pixels)),
        "features": _either(features, looking(_mirror(sets.samples)), in_features),
    }
    real: dict[Space, Tensor] = {}
    if len(new):
        real["pixels"] = nearest_in_pixels(new, in_pixels, skip)[0]
        real["features"] = _either(new_features, looking.cached(_mirror(new)), in_features, skip).distance
    shares = {space: _share(near.distance, real.get(space)) for space, near in found.items()}
    seen = in_features if skip is None else in_features[~np.isin(train, held_out)]
    halves = new_features[::2], new_features[1::2]
    score = c_t(features, new_features, seen, seed) if len(new) else None
    notes = [*sets.notes]
    if (sets.samples == sets.samples[0]).all() and len(sets.samples) > 1:
        notes.insert(0, "All generated images are one and the same: the generator has collapsed.")
    if 0 < len(new) < FEW_REALS:
        notes.append(f"With {len(new)} held-out images the threshold is their smallest distance: it is a rough one.")
    for space, distances in real.items():
        if (shares[space].threshold or 0) < STRICT * distances.median().item():
            notes.append(
                f"In {space} some held-out images nearly equal training images: the threshold is a strict one."
            )
    pairs = _most_alike(sets, found, shares)
    verdict = _verdict(shares, score, len(sets.samples), len(new))
    if _copied(shares):
        notes.append(
            "Samples that are mostly of one kind, whose real images lie close together too, can raise this share "
            "without copying: look at the page."
        )
    result = Copies(
        verdict=verdict,
        pixels=shares["pixels"],
        features=shares["features"],
        authenticity=authenticity(features, seen),
        authenticity_real=authenticity(new_features, seen) if len(new) else None,
        c_t=score,
        c_t_real=c_t(*halves, seen, seed) if len(new) else None,
        pairs=[pair for pair, _, _ in pairs],
        notes=notes,
        protocol={
            **looking.protocol(),
            "images": f"{len(sets.samples):,} samples, {len(train):,} training and {len(new):,} held-out ones, "
            f"{reals.resolution} px",
            "searched": "mirror images, and in pixels shifts of up to a 16th of the side",
            **sets.protocol,
            "data": reals.fingerprint,
            "seed": seed,
            "ganfold": ganfold.__version__,
        },
    )
    return result, _page(result, sets.samples[[n for _, n, _ in pairs]], trained[[row for _, _, row in pairs]])


def _either(plain: Tensor, mirrored: Tensor, bank: Tensor, skip: Tensor | None = None) -> _Nearest:
    """Of an image and its mirror image the one that is nearer."""
    (far, row), (far_mirrored, row_mirrored) = nearest(plain, bank, skip), nearest(mirrored, bank, skip)
    is_mirrored = far_mirrored < far
    return _Nearest(torch.minimum(far, far_mirrored), torch.where(is_mirrored, row_mirrored, row), is_mirrored)


def _mirror(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images[..., ::-1])


def _share(samples: Tensor, held_out: Tensor | None) -> Share:
    from scipy.stats import fisher_exact

    if held_out is None:
        return Share(None, None, None, None)
    share, threshold = copy_share(samples, held_out)
    real, _ = copy_share(held_out, held_out)
    copied, new = round(share * len(samples)), round(real * len(held_out))
    table = [[copied, len(samples) - copied], [new, len(held_out) - new]]
    return Share(share, real, threshold, float(fisher_exact(table, alternative="greater")[1]))


def _most_alike(sets: _Sets, found: dict[Space, _Nearest], shares: dict[Space, Share]) -> list[tuple[Pair, int, int]]:
    """The samples nearest to a training image in either space, each distance measured by its space's threshold.

    Returns:
        Pairs, the most alike first, with the sample's number and that in `sets.train`.
    """
    spaces = list(found)
    units = [shares[space].threshold or found[space].distance.median().item() or 1.0 for space in spaces]
    relative = torch.stack([found[space].distance / unit for space, unit in zip(spaces, units, strict=True)])
    least, which = relative.min(0)
    pairs = []
    for number in least.argsort(stable=True)[:SHOWN].tolist():
        space = spaces[int(which[number])]
        near, limit = found[space], shares[space].threshold
        distance, row = near.distance[number].item(), int(near.index[number])
        pair = Pair(
            sample=sets.names[number],
            training=sets.reals.names[int(sets.train[row])],
            space=space,
            distance=distance,
            is_copy=None if limit is None else distance < limit,
            mirrored=bool(near.mirrored[number]),
        )
        pairs.append((pair, number, row))
    return pairs


def _page(found: Copies, samples: np.ndarray, trained: np.ndarray) -> Image.Image:
    trained = np.stack(
        [real[..., ::-1] if pair.mirrored else real for pair, real in zip(found.pairs, trained, strict=True)]
    )
    captions = []
    for pair in found.pairs:
        limit = (found.pixels if pair.space == "pixels" else found.features).threshold
        words = f"{pair.space} {pair.distance:.3g}"
        if limit is not None:
            words += f", {'under' if pair.is_copy else 'not under'} {limit:.3g}"
        captions.append([pair.sample, pair.training + (" (mirrored)" if pair.mirrored else ""), words])
    return grids.pairs(
        samples.transpose(0, 2, 3, 1),
        trained.transpose(0, 2, 3, 1),
        captions,
        marked=[bool(pair.is_copy) for pair in found.pairs],
        head=[found.verdict, "Left: generated. Right: the training image nearest to it."],
    )


def _copied(shares: dict[Space, Share]) -> dict[Space, float]:
    """The shares that chance does not explain."""
    return {
        space: found.share
        for space, found in shares.items()
        if found.share and found.share > 0.01 and found.chance is not None and found.chance < SURE
    }


def _verdict(shares: dict[Space, Share], score: float | None, count: int, new: int) -> str:
    if not new:
        return (
            "nothing was held out, so there is no threshold to tell copies by: only the authenticity and the nearest "
            "pairs can be shown; give --held-out 0.1 to have one"
        )
    if copied := _copied(shares):
        space, share = max(copied.items(), key=lambda item: item[1])
        than = "99 % of held-out images do" if new >= FEW_REALS else f"any of the {new} held-out images does"
        return (
            f"near-copies found: {share:.1%} of {count:,} samples lie nearer to a training image than {than} "
            f"(in {space})".replace("%", " %", 1)
        )
    if score is not None and score < LEANING:
        return (
            "no near-copies at this threshold, but the samples lie closer to the training images than new real images "
            f"do (C_T = {score:.1f}): they lean on what they saw"
        )
    under = max(round((found.share or 0) * count) for found in shares.values())
    beyond = f" beyond what chance explains ({under:,} under it: see copies.png)" if under else ""
    return f"near-copies: none found at this threshold among {count:,} samples{beyond}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
