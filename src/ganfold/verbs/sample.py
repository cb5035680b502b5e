"""`ganfold sample`: a run's images as files, or as one grid."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ganfold.errors import GanfoldError
from ganfold.files import is_leftover
from ganfold.interface.options import AT_LEAST_ONE, SHARE, Pairs, Positional, PythonOnly, verb
from ganfold.interface.result import Written

if TYPE_CHECKING:
    import numpy as np

    from ganfold.gans.contract import GAN
    from ganfold.runs.run import Run
    from ganfold.runs.team import Team
    from ganfold.runs.writers import Job

PART = 0.5  # of the machine's memory for one grid
UNKNOWN = 8 * 2**30  # bytes of memory where the system does not say
TEXTS = {"text", "box", "keypoints"}
CHANGES = (*sorted(TEXTS), "shares", "code", "truncation")  # options that `Run.sample` takes too
OTHERS = (".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif")  # suffixes that no grid is written to


@dataclass(frozen=True)
class Options:
    run: Annotated[str | Path | Run, Positional]  # a run folder
    out: str | Path  # a folder for files (000007.png), one .npz, .tar or .parquet, or a .png for one grid
    _: KW_ONLY
    count: Annotated[int | None, AT_LEAST_ONE] = None  # how many images [64; as many as the file of --z holds]
    seed: int = 0  # decides which images: image i of a seed (and label) is always the same
    start: int = 0  # number of the first image
    label: str | None = None  # the class of all images [each class: a row of the grid, or a sub-folder]
    shares: Pairs = ()  # how often each class comes: red=2 blue=1 [as often as in training]
    code: Pairs = ()  # values of codes, after training of a GAN that has them: 0=3 1=-0.5 [drawn by the seed]
    truncation: Annotated[float, SHARE] = 1.0  # how far latents are from their mean: less gives more usual images
    z: str | Path | None = None  # a .npy of latents, as `ganfold explore` writes [drawn by the seed]
    text: str | None = None  # what to draw, after training on captions: "long hair, glasses" [as in held-out images]
    box: str | Sequence[float] | None = None  # where to draw it: left,top,width,height as shares of the image
    keypoints: str | Sequence[float] | None = None  # of a run with --where keypoints: x,y of each point as shares
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    data: str | Path | None = None  # where the images that the run was trained on are now [where they were]
    target: str | Path | None = None  # of a run on two kinds of images: where those of its --target are now [likewise]
    gan: str | type[GAN] | None = None  # FILE.py:CLASS, for a run whose GAN is from outside of ganfold
    force: bool = False  # allow `out` to exist; files of the same names are replaced
    progress: Annotated[bool, PythonOnly] = True  # show a bar while images are made
    shared: Annotated[bool, PythonOnly] = False  # share the work with the other processes of `torchrun`


class Samples(Written):
    """The path of the samples."""

    left_out: tuple[str, ...] = ()  # words of the text that no caption in training had

    def lines(self) -> list[str]:
        strange = f"Left out, since no caption in training had it: {', '.join(self.left_out)}"
        return [str(self), *([strange] if self.left_out else [])]


@verb(Options)
def sample(options: Options) -> Samples:
    """Write images that a run's generator makes: files in a folder, one file of many images, or one grid.

    If the generator takes labels, a folder gets a sub-folder for each class, and classes are as frequent as in
    training. A grid gets a row for each class: the count becomes a multiple of the number of classes. With a label, all
    images are of that class.

    A .tar is a webdataset. An .npz holds the arrays images and labels. A .parquet holds PNGs and labels. The same
    command goes on after it was stopped.

    Returns:
        `out`.

    Raises:
        GanfoldError: this is no run, `out` exists, the run takes no such label, text or place, the grid is too large
            for the memory, or the disk is full. Nothing is left behind then.
    """
    from ganfold.runs.conditioning import unknown_words
    from ganfold.runs.run import loaded
    from ganfold.runs.team import Team

    team, out = Team(options.shared), Path(options.out)

    def work() -> Samples:
        run = loaded(options.run, options.checkpoint, options.gan, options.data, options.target)
        z = None if options.z is None else _latents(run, options)
        team.once(lambda: _check_out(out, options.force))
        _write(run, out, replace(options, count=options.count or (64 if z is None else len(z))), z, team)
        samples = Samples(out)
        if options.text is not None:
            samples.left_out = tuple(unknown_words(run.record, options.text))
        return samples

    return team.together(work)


def _check_out(out: Path, force: bool) -> None:
    from ganfold.runs.writers import check_suffix, discard_partial

    if not force and out.exists() and (out.is_file() or not all(map(is_leftover, out.iterdir()))):
        discard_partial(out)
        raise GanfoldError(f"{out} exists: give --out another name, or --force to write into it")
    if out.suffix.lower() in OTHERS and not out.is_dir():
        raise GanfoldError(f"{out} cannot be written: end --out with .png for one grid, or name a folder for files")
    check_suffix(out.suffix.lower())


def _latents(run: Run, options: Options) -> np.ndarray:
    """The rows of the file of --z that are requested."""
    from ganfold.latent.requested import read_latents

    assert options.z is not None
    run.check_takes_latents()
    if options.start < 0:
        raise GanfoldError(f"start must be 0 or more, not {options.start}")
    found, last = read_latents(options.z, run.gan.latent), options.start + (options.count or 1)
    if len(found) < last:
        raise GanfoldError(f"{options.z} holds {len(found):,} latents, not {last:,}: give a lower --count or --start")
    return found[options.start : last if options.count else None]


def _write(run: Run, out: Path, options: Options, z: np.ndarray | None, team: Team) -> None:
    from ganfold.runs.writers import Job, write_samples

    assert options.count
    requested = {name: getattr(options, name) for name in CHANGES if getattr(options, name) not in (None, (), 1.0)}
    note = {name: str(value) for name, value in requested.items()} | {"run": str(run.path), "seed": str(options.seed)}
    if z is not None:
        note["z"] = hashlib.sha256(z.tobytes()).hexdigest()
    job = Job(run, options.count, options.seed, options.start, options.label, requested, note, z)
    if out.suffix.lower() == ".png":
        team.once(lambda: _write_grid(job, out))
        return
    write_samples(job, out, team, options.progress)


def _write_grid(job: Job, out: Path) -> None:
    """All samples in one grid, beside their inputs if the generator takes images."""
    from ganfold.images import grids
    from ganfold.runs.conditioning import Labelling, class_rows

    run, requested = job.run, job.requested
    _check_memory(run, job.count)
    columns: int | None = None
    labelling: str | Labelling | None = job.label
    if run.classes and job.label is None and job.z is None and "shares" not in requested:
        count, columns, labelling = class_rows(job.count, len(run.classes), job.start)
        job = replace(job, count=count)
    images = run.sample(job.count, job.seed, job.start, labelling, z=job.z, **requested)
    if not requested.keys() & TEXTS and (conditioning := run.held_out_conditioning(job.seed)):
        images, each = conditioning.beside(images, job.start)
        columns = max(1, round(math.sqrt(job.count / each))) * each if each > 1 else None
    grid = grids.grid(images, columns, scale=grids.enlargement(images))
    grids.save_sheet(grid, out, job.note | {"start": str(job.start)})


def _check_memory(run: Run, count: int) -> None:
    """See that the memory holds a grid: its images, the sheet, and each once more while it is made and written."""
    import torch

    from ganfold import device
    from ganfold.images import grids

    resolution, channels = run.gan.shape.resolution, run.gan.shape.channels
    side = resolution * max(1, grids.SIDE // resolution) + grids.GAP
    each = 2 * channels * (resolution**2 + side**2) * (3 if run.gan.conditioned_on_images else 1)
    most = int((device.memory(torch.device("cpu")) or UNKNOWN) * PART) // each
    if count > most:
        raise GanfoldError(
            f"a grid of {count:,} images needs more memory than there is: give --count {most:,} or less, or a folder "
            "for --out, which takes any number"
        )
