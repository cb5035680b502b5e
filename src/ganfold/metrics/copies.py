"""Near-copies: are samples nearer to training images than new real images are, and which are most alike?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganfold import data
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.images import grids
from ganfold.interface.result import Result, protocol_line, table, version
from ganfold.metrics.evaluation import samples_of
from ganfold.metrics.features import Extractor
from ganfold.metrics.memorisation import ROWS, authenticity, c_t, copy_share, nearest, nearest_in_pixels, pixel_bank
from ganfold.runs.run import Run
from ganfold.runs.team import ALONE, Team

SHOWN = 24  # pairs on the page
MOST_REALS = 1000  # held-out images to measure, unless there are more samples
FEW_REALS = 102  # with fewer held-out images, the 1 % quantile of their distances is the smallest one
STRICT = 0.1  # of the median held-out distance: a lower threshold comes from near-duplicates among the real images
SURE = 0.01  # a larger share than the held-out images' own is called copying if its chance is below this
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
    """A sample and the training image that is most like it."""

    sample: str  # the sample's number, or its file
    training: str  # the training image's file
    space: Space  # where they are nearest, each distance measured in units of its space's threshold
    distance: float
    is_copy: bool | None  # whether the distance is below the threshold; None: no threshold
    mirrored: bool  # whether the training image was mirrored to match


@dataclass(frozen=True, repr=False)
class Copies(Result):
    """How near samples are to training images, beside how near new real images are."""

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
    page: Path | None = field(default=None, compare=False)  # the image file that shows the pairs, once written

    def to_dict(self) -> dict[str, Any]:
        """The content of `copies.json`."""
        content = super().to_dict()
        del content["page"]
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Copies:
        """The copies that `to_dict` turned into a dictionary."""
        spaces = {name: Share(**content[name]) for name in ("pixels", "features")}
        return cls(**(content | spaces | {"pairs": [Pair(**pair) for pair in content["pairs"]]}))

    def lines(self) -> list[str]:
        """The verdict, the table, the notes and the protocol."""
        rows = [("", "samples", "new real images"), ("nearer than 99 % of held-out images", "", "")]
        rows += [
            (f"  in {name}", _percent(share.share), _percent(share.real))
            for name, share in (("pixels", self.pixels), ("features", self.features))
        ]
        rows += [
            ("authentic (AuthPct)", _percent(self.authenticity), _percent(self.authenticity_real)),
            ("C_T (below -3: copying)", _number(self.c_t), _number(self.c_t_real)),
        ]
        lines = [self.verdict, "", *table(rows), "", *self.notes, *([""] if self.notes else [])]
        shown = [f"The pairs most alike: {self.page}"] if self.page else []
        return [*lines, protocol_line(self.protocol), *shown]

    def image_files(self) -> list[Path]:
        """The page that shows the pairs."""
        return [self.page] if self.page else []


@dataclass(frozen=True)
class Sets:
    """Samples, and the real images that they are compared with."""

    samples: np.ndarray  # uint8 (N, C, H, W)
    names: list[str]  # of the samples
    reals: ImageSet
    train: np.ndarray  # int64, ascending: images that samples may have copied
    held_out: np.ndarray  # int64, ascending: images that stand for new real ones; `train` may hold some or all of them
    notes: list[str]
    protocol: dict[str, Any]


def sets_of_run(run: Run, count: int, seed: int, progress: bool, team: Team = ALONE) -> Sets:
    """Samples of a run, its training images, and those that it held out.

    Args:
        run: makes the samples.
        count: number of samples.
        seed: decides which samples and which held-out images are used.
        progress: show a bar while images are prepared.
        team: the processes that share the sampling.

    Raises:
        GanfoldError: the images that the run was trained on are gone, or others are there now.
    """
    reals = team.in_turn(lambda: run.images(progress))
    held_out, notes = reals.held_out, []
    split = "held-out images were never trained on"
    if not len(held_out):
        held_out = data.drawn(reals.train, len(reals.train) // 2, seed)
        notes = ["Nothing was held out: half of the training images stand for new ones, each against all the others."]
        split = "each of half of the training images against all the others"
    return Sets(
        samples=samples_of(run, count, seed, team),
        names=[f"sample {number}" for number in range(count)],
        reals=reals,
        train=reals.train,
        held_out=data.drawn(held_out, max(count, MOST_REALS), seed),
        notes=notes,
        protocol={"run": f"{run.record.gan}, {run.checkpoint}", "split": split},
    )


def sets_of_folders(
    generated: str | Path, reference: str | Path, count: int, seed: int, held_out: float | None, progress: bool
) -> Sets:
    """Generated images of any origin, and the real images that their generator was trained on.

    Args:
        generated, reference: a folder, zip or array of images each.
        count: most generated images to use.
        seed: decides which generated images and which held-out images are used.
        held_out: share of the reference that stands for new real images; None: 0.1.
        progress: show a bar while images are prepared.

    Raises:
        GanfoldError: there are no such images.
    """
    made = data.load(generated, held_out=0, keep_duplicates=True, progress=progress)
    reals = data.load(
        reference,
        # the smaller of both sizes: an enlarged sample would differ from its original by its blur
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
    return Sets(
        samples=made.images[chosen],
        names=[made.names[i] for i in chosen.tolist()],
        reals=reals,
        train=np.arange(len(reals)),
        held_out=drawn,
        notes=[*([note] if len(drawn) else []), *reals.findings.as_reference()],
        protocol={"generated": made.fingerprint, "split": "each held-out image against all other images"},
    )


@dataclass(frozen=True)
class _Nearest:
    """The training image nearest to each of N images, in one space."""

    distance: Tensor  # float32 (N,)
    index: Tensor  # int64 (N,), its place in `Sets.train`
    mirrored: Tensor  # bool (N,)


@dataclass(frozen=True)
class _Looked:
    """Features, float32 (N, D), and the nearest training images in pixels."""

    trained: Tensor
    samples: Tensor
    samples_mirrored: Tensor
    new: Tensor  # of the held-out images; no rows without any
    new_mirrored: Tensor
    samples_in_pixels: _Nearest
    new_in_pixels: _Nearest | None
    skip: Tensor | None  # for each held-out image its place among the training images, where it is one of them


@dataclass(frozen=True)
class _Measured:
    """Features and distances of samples and of new real images."""

    features: Tensor  # float32 (N, D), of the samples
    new_features: Tensor  # float32 (n, D), of the held-out images
    train_features: Tensor  # float32 (M, D), of the training images that are not held out
    samples: dict[Space, _Nearest]
    reals: dict[Space, Tensor]  # distances of the held-out images, float32 (n,); {} without held-out images


def compare(sets: Sets, extractor: Extractor, seed: int) -> tuple[Copies, Image.Image]:
    """Compare samples and held-out images with the training images, in pixels and in features.

    Args:
        sets: the images.
        extractor: gives the features; pixels are compared on its device.
        seed: of the k-means in C_T.

    Returns:
        The result, and an image of the pairs most alike.

    Raises:
        GanfoldError: there are fewer than 2 training images.
    """
    if len(sets.reals.train) < 2:
        count = len(sets.reals.train)
        raise GanfoldError(f"{sets.reals.source} holds only {count} image to compare with: at least 2 are needed")
    looked = _looked(sets, extractor)
    return extractor.team.once(lambda: _compared(sets, _measured(sets, looked), extractor, seed))


def _compared(sets: Sets, measured: _Measured, extractor: Extractor, seed: int) -> tuple[Copies, Image.Image]:
    features, new, trained = measured.features, measured.new_features, measured.train_features
    shares = {space: _share(near.distance, measured.reals.get(space)) for space, near in measured.samples.items()}
    score = c_t(features, new, trained, seed) if len(new) else None
    alike = _most_alike(sets, measured.samples, shares)
    copies = Copies(
        verdict=_verdict(shares, score, len(sets.samples), len(new)),
        pixels=shares["pixels"],
        features=shares["features"],
        authenticity=authenticity(features, trained),
        authenticity_real=authenticity(new, trained) if len(new) else None,
        c_t=score,
        c_t_real=c_t(new[::2], new[1::2], trained, seed) if len(new) else None,
        pairs=[pair for pair, _, _ in alike],
        notes=_notes(sets, measured.reals, shares),
        protocol={
            **extractor.protocol(),
            "images": f"{len(sets.samples):,} samples, {len(sets.train):,} training and {len(sets.held_out):,} "
            f"held-out ones, {sets.reals.resolution} px",
            "searched": "mirror images, and in pixels shifts of up to a 16th of the side",
            **sets.protocol,
            "data": sets.reals.fingerprint,
            "seed": seed,
            "ganfold": version(),
        },
    )
    rows = sets.train[[row for _, _, row in alike]]
    return copies, _page(copies, sets.samples[[number for _, number, _ in alike]], sets.reals.images[rows])


def _looked(sets: Sets, extractor: Extractor) -> _Looked:
    """What the processes of a team share."""
    train, held_out = sets.train, sets.held_out
    trained, new = sets.reals.images[train], sets.reals.images[held_out]
    # where a held-out image is also in `train`, it is not its own neighbour
    skip = torch.from_numpy(np.searchsorted(train, held_out)) if np.isin(held_out, train).any() else None
    bank = pixel_bank(trained).to(extractor.device)
    in_features = extractor.cached(trained)
    none = in_features[:0]
    return _Looked(
        trained=in_features,
        samples=extractor(sets.samples),
        samples_mirrored=extractor(_mirror(sets.samples)),
        new=extractor.cached(new) if len(new) else none,
        new_mirrored=extractor.cached(_mirror(new)) if len(new) else none,
        samples_in_pixels=_in_pixels(extractor.team, sets.samples, bank, None),
        new_in_pixels=_in_pixels(extractor.team, new, bank, skip) if len(new) else None,
        skip=skip,
    )


def _in_pixels(team: Team, images: np.ndarray, bank: Tensor, skip: Tensor | None) -> _Nearest:
    def work(begin: int, count: int) -> np.ndarray:
        mine = slice(begin, begin + count)
        found = nearest_in_pixels(images[mine], bank, None if skip is None else skip[mine])
        return np.stack([part.double().numpy() for part in found], 1)  # float64 holds each of them exactly

    far, row, mirrored = torch.from_numpy(team.rows(len(images), ROWS, work)).unbind(1)
    return _Nearest(far.float(), row.long(), mirrored.bool())


def _measured(sets: Sets, looked: _Looked) -> _Measured:
    samples: dict[Space, _Nearest] = {
        "pixels": looked.samples_in_pixels,
        "features": _either(looked.samples, looked.samples_mirrored, looked.trained),
    }
    reals: dict[Space, Tensor] = {}
    if looked.new_in_pixels is not None:
        reals["pixels"] = looked.new_in_pixels.distance
        reals["features"] = _either(looked.new, looked.new_mirrored, looked.trained, looked.skip).distance
    train_features = looked.trained
    if looked.skip is not None:
        train_features = train_features[~np.isin(sets.train, sets.held_out)]
    return _Measured(looked.samples, looked.new, train_features, samples, reals)


def _either(plain: Tensor, mirrored: Tensor, bank: Tensor, skip: Tensor | None = None) -> _Nearest:
    """The nearer of each image and its mirror image."""
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
    counts = [[copied, len(samples) - copied], [new, len(held_out) - new]]
    return Share(share, real, threshold, float(fisher_exact(counts, alternative="greater")[1]))


def _most_alike(sets: Sets, near: dict[Space, _Nearest], shares: dict[Space, Share]) -> list[tuple[Pair, int, int]]:
    """The samples nearest to a training image in either space, each distance in units of its space's threshold.

    Returns:
        Pairs, the most alike first, each with the sample's number and the training image's place in `sets.train`.
    """
    spaces = list(near)
    units = [shares[space].threshold or near[space].distance.median().item() or 1.0 for space in spaces]
    relative = torch.stack([near[space].distance / unit for space, unit in zip(spaces, units, strict=True)])
    least, which = relative.min(0)
    pairs = []
    for number in least.argsort(stable=True)[:SHOWN].tolist():
        space = spaces[int(which[number])]
        here, limit = near[space], shares[space].threshold
        distance, row = here.distance[number].item(), int(here.index[number])
        pair = Pair(
            sample=sets.names[number],
            training=sets.reals.names[int(sets.train[row])],
            space=space,
            distance=distance,
            is_copy=None if limit is None else distance < limit,
            mirrored=bool(here.mirrored[number]),
        )
        pairs.append((pair, number, row))
    return pairs


def _notes(sets: Sets, reals: dict[Space, Tensor], shares: dict[Space, Share]) -> list[str]:
    notes = [*sets.notes]
    if (sets.samples == sets.samples[0]).all() and len(sets.samples) > 1:
        notes.insert(0, "All generated images are one and the same: the generator has collapsed.")
    if 0 < (new := len(sets.held_out)) < FEW_REALS:
        notes.append(f"With {new} held-out images the threshold is their smallest distance: it is a rough one.")
    for space, distances in reals.items():
        if (shares[space].threshold or 0) < STRICT * distances.median().item():
            notes.append(
                f"In {space} some held-out images nearly equal training images: the threshold is a strict one."
            )
    if _copied(shares):
        notes.append(
            "Samples that are mostly of one kind, whose real images lie close together too, can raise this share "
            "without copying: look at the page."
        )
    return notes


def _page(copies: Copies, samples: np.ndarray, trained: np.ndarray) -> Image.Image:
    trained = np.stack(
        [real[..., ::-1] if pair.mirrored else real for pair, real in zip(copies.pairs, trained, strict=True)]
    )
    captions = []
    for pair in copies.pairs:
        limit = (copies.pixels if pair.space == "pixels" else copies.features).threshold
        words = f"{pair.space} {pair.distance:.3g}"
        if limit is not None:
            words += f", {'under' if pair.is_copy else 'not under'} {limit:.3g}"
        captions.append([pair.sample, pair.training + (" (mirrored)" if pair.mirrored else ""), words])
    return grids.pairs(
        samples.transpose(0, 2, 3, 1),
        trained.transpose(0, 2, 3, 1),
        captions,
        marked=[bool(pair.is_copy) for pair in copies.pairs],
        head=[copies.verdict, "Left: generated. Right: the training image nearest to it."],
    )


def _copied(shares: dict[Space, Share]) -> dict[Space, float]:
    """The shares that chance does not explain."""
    return {
        space: share.share
        for space, share in shares.items()
        if share.share and share.share > 0.01 and share.chance is not None and share.chance < SURE
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
    under = max(round((share.share or 0) * count) for share in shares.values())
    beyond = f" beyond what chance explains ({under:,} under it: see copies.png)" if under else ""
    return f"near-copies: none found at this threshold among {count:,} samples{beyond}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
