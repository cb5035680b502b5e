"""The command line: the same verbs as the Python API. It parses, calls, prints."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ganfold.errors import GanfoldError
from ganfold.gans import GANS, find
from ganfold.training.options import Wishes, changed
from ganfold.training.settings import Settings

if TYPE_CHECKING:
    from ganfold.gans.contract import GAN
    from ganfold.runs.run import Run

CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)


@dataclass(frozen=True)
class Check:
    """Say what images are there, which will be used, and what is wrong with which file."""

    data: Annotated[str, tyro.conf.Positional]  # a folder, zip, .npz, .npy, IDX file, parquet, hub id, or a bundled set
    resolution: int | None = None  # pixels a side [from the data]
    channels: Literal[1, 3, 4] | None = None  # 1 grey, 3 RGB, 4 RGBA [from the data]
    fit: Literal["crop", "pad", "stretch"] = "crop"  # how images that are not square become so
    held_out: float | None = None  # share kept from training [0.1, at most 5000; 0 under 500 images]
    contact_sheet: Path = Path("contact-sheet.png")  # a picture of some of them

    def __call__(self) -> None:
        import ganfold

        options = vars(self).copy()
        for line in ganfold.check(options.pop("data"), **options).lines():
            print(line)
        print(f"A picture of some of them: {self.contact_sheet}")


@dataclass(frozen=True)
class Plan:
    """Choose what to train on these images and for how long, say why, and what it will take. It trains nothing.

    `ganfold plan photos/ --gan NAME` takes all options of that GAN, as `ganfold train NAME --help` lists them.
    """

    data: Annotated[str, tyro.conf.Positional]  # a folder, zip, array file, hub id, or a bundled set
    gan: str | None = None  # the GAN [chosen]
    wishes: Wishes = field(default_factory=Wishes)
    settings: Settings = field(default_factory=Settings)
    out: Path | None = None  # the run's folder, for the command [runs/DATA]

    def __call__(self) -> None:
        import ganfold

        for line in ganfold.plan(self.data, self.out, gan=self.gan, **_said(self.wishes, self.settings)).lines():
            print(line)


@dataclass(frozen=True)
class Train:
    """Train a GAN, or go on with a run that was stopped: `ganfold train NAME --data photos/ --out runs/faces`.

    Without a NAME it is chosen, and so is all that no flag says: `ganfold plan photos/` says what and why.
    `ganfold train NAME --help` lists all options of each: {names}.
    """

    data: Annotated[str, tyro.conf.arg(help="a folder, zip, array file, hub id, or a bundled set")]
    wishes: Wishes = field(default_factory=Wishes)
    settings: Settings = field(default_factory=Settings)
    out: Annotated[Path | None, tyro.conf.arg(help="the run's folder [runs/DATA]")] = None
    restart: Annotated[bool, tyro.conf.arg(help="delete the run that is there and begin anew")] = False

    def __call__(self) -> int:
        import ganfold

        given = _said(self.wishes, self.settings)
        return _exit_code(ganfold.train(None, self.data, self.out, restart=self.restart, **given))


@dataclass(frozen=True)
class Sample:
    """Write images that a run's generator makes: files in a folder, or one grid."""

    run: Annotated[Path, tyro.conf.Positional]  # a run folder
    out: Path  # a folder for files, or a .png for one grid
    count: int = 64  # how many
    seed: int = 0  # which: image i of a seed is always the same image
    start: int = 0  # number of the first
    label: str | None = None  # the class of all [each class: a row of the grid, a sub-folder]
    text: str | None = None  # what to draw, of a run of captions: "long orange hair, glasses" [of held-out images]
    box: str | None = None  # where: left,top,width,height as shares of the image: 0.5,0.1,0.4,0.8 [likewise]
    keypoints: str | None = None  # where, after --where keypoints: x,y of each as shares of the image [likewise]
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    force: bool = False  # allow what is there to be replaced

    def __call__(self) -> None:
        import ganfold

        print(ganfold.sample(**vars(self)))
        if self.text is not None:
            from ganfold.tasks.captions import unknown

            if strange := unknown(ganfold.load(self.run), self.text):
                print(f"Left out, since no caption in training had it: {', '.join(strange)}")


@dataclass(frozen=True)
class Evaluate:
    """Say how near generated images are to real ones, each figure beside what real images get in their place."""

    images: Annotated[str, tyro.conf.Positional]  # a run folder, or a folder, zip or array of generated images
    reference: str | None = None  # real images [those that the run held out]
    features: str = "efficientnet"  # efficientnet, inception, dinov2, pixels, or a TorchScript file
    weights: Path | None = None  # of inception or dinov2, instead of a download
    count: int | None = None  # images in each set [as many as there are real ones]
    seed: int = 0  # which samples and which real images
    checkpoint: Literal["best", "last"] = "best"  # of a run: the one of the lowest KID, or the newest
    resolution: int | None = None  # pixels a side at which two folders are compared [that of the generated images]
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"  # where to compute
    out: Path | None = None  # the JSON [RUN/evaluation.json; for a folder none]

    def __call__(self) -> None:
        import ganfold

        for line in ganfold.evaluate(**vars(self)).lines():
            print(line)


@dataclass(frozen=True)
class Copies:
    """Look for near-copies of training images: figures, and a picture of the nearest pairs."""

    images: Annotated[str, tyro.conf.Positional]  # a run folder, or a folder, zip or array of generated images
    reference: str | None = None  # of such images those that were trained on; a run knows its own
    features: str = "efficientnet"  # efficientnet, inception, dinov2, pixels, or a TorchScript file
    weights: Path | None = None  # of inception or dinov2, instead of a download
    count: int = 1000  # samples
    seed: int = 0  # which samples, and which real images stand for new ones
    held_out: float | None = None  # share of the reference that stands for new images [0.1]; a run knows its own
    checkpoint: Literal["best", "last"] = "best"  # of a run: the one of the lowest KID, or the newest
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"  # where to compute
    out: Path | None = None  # folder for copies.json and copies.png [the run's; else the current one]

    def __call__(self) -> None:
        import ganfold

        for line in ganfold.copies(**vars(self)).lines():
            print(line)
        folder = self.out or (Path(self.images) if (Path(self.images) / "config.json").is_file() else Path())
        print(f"The pairs most alike: {folder / 'copies.png'}")


@dataclass(frozen=True)
class Translate:
    """Write what a pix2pix or a cyclegan makes of a picture, or of each in a folder.

    A cyclegan takes a picture of the kind of its --data (with --reverse of its --target). A pix2pix takes what its
    --input was. pairs: the first half of one. edges: a drawing, black lines on white. grey: any picture, which is made
    grey. lowres: a small picture, which becomes --scale times larger. masked: a picture whose transparent pixels are
    to be filled.
    """

    run: Annotated[Path, tyro.conf.Positional]  # a run folder
    picture: Annotated[Path, tyro.conf.Positional]  # a picture, or a folder of them
    out: Path  # the file to write; of a folder the folder for PNGs
    size: int | None = None  # first bring its shorter side to so many pixels: things as large as in training [its own]
    tile: int = 512  # pixels a side taken at once: memory grows with its square; larger pictures go in tiles
    reverse: bool = False  # of a cyclegan: from the target's kind to that of the data
    seed: int = 0  # of a pix2pix: which of the images that it can make
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    force: bool = False  # allow what is there to be replaced

    def __call__(self) -> None:
        import ganfold

        print(ganfold.translate(**vars(self)))


@dataclass(frozen=True)
class Inpaint:
    """Paint what a mask hides in a picture of any size: by a context-encoder, or by a search in what a GAN can make."""

    run: Annotated[Path, tyro.conf.Positional]  # a run of context-encoder, or of a GAN that needs no picture
    picture: Annotated[Path, tyro.conf.Positional]  # a picture, or a folder of them
    mask: Path  # as large as the picture, white where it is to be painted, else black; or a folder of equal names
    out: Path | None = None  # a file, or a folder for a folder [NAME-inpainted.png beside the picture]
    steps: int = 500  # of the search, with a generator
    starts: int = 8  # of the search, with a generator: so many at once, and the best is kept
    seed: int = 0  # where the search starts
    blend: bool = True  # hide the seam by Poisson's equation
    window: Literal["near", "whole"] | None = None  # what is looked at [near the hole; with a generator the whole]
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    force: bool = False  # allow what is there to be replaced

    def __call__(self) -> None:
        import ganfold

        print(ganfold.inpaint(**vars(self)))


@dataclass(frozen=True)
class Probe:
    """Say what a run's discriminator has learnt: a linear classifier on its features, from few labels, and others'."""

    run: Annotated[Path, tyro.conf.Positional]  # a run folder
    data: str | None = None  # labelled images [those of the run]
    labels: tuple[int, ...] = (10, 50, 100)  # of each class, to learn from
    draws: int = 3  # how often they are drawn
    seed: int = 0  # which are drawn
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    out: Path | None = None  # the JSON [RUN/probe.json]

    def __call__(self) -> None:
        import ganfold

        for line in ganfold.probe(**vars(self)).lines():
            print(line)


@dataclass(frozen=True)
class Augment:
    """Add generated images to the small classes of a set, if a trial says that they help; else say why not."""

    data: Annotated[str, tyro.conf.Positional]  # images with classes: a folder, zip, .npz, parquet, or a bundled set
    out: Path  # a new folder: class folders, and manifest.csv
    run: Path | None = None  # a trained generator that takes these classes [a new one]
    gan: str = "rsgan"  # of a new one
    kimg: float | None = None  # its budget in thousand images [40]: the same seed then gives the same files
    minutes: float | None = None  # or in minutes
    factor: float | None = None  # a class may come to so many times its images [to as many as the largest class has]
    ratio: float | None = None  # generated images for each real one, without a trial [0, 0.5, 1 or 2 by the trial]
    group: str | None = None  # a column of the metadata whose images are not to be parted, such as the patient
    resolution: int | None = None  # pixels a side of generated images [a power of two, at most 32]
    flips: bool = False  # mirrored images are valid ones
    seed: int = 0  # of everything
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"  # where to train
    format: Literal["folder", "parquet", "webdataset"] = "folder"  # class folders, or one file
    yes: bool = False  # write more than 100,000 generated files

    def __call__(self) -> None:
        import ganfold

        for line in ganfold.augment(**vars(self)).lines():
            print(line)


@dataclass(frozen=True)
class Study:
    """Measure whether generated images help a classifier on these images: arms, controls, replicates, a report."""

    data: Annotated[str, tyro.conf.Positional]  # images with classes: a folder, zip, .npz, parquet, or a bundled set
    out: Path  # a new folder; the same command goes on in it, one with more replicates or classifiers adds them
    replicates: int = 8  # below 8 nothing is claimed
    classifiers: tuple[Literal["cnn", "features"], ...] = ("cnn", "features")  # a CNN from scratch, ImageNet features
    gan: str = "rsgan"  # a new generator for each replicate
    kimg: float | None = None  # its budget in thousand images [40]
    minutes: float | None = None  # or in minutes
    small: tuple[str, ...] = ()  # classes of which a replicate draws only --few images
    few: int | None = None  # how many
    share: float = 0.5  # of the other classes' training images
    withhold: str | None = None  # a class that only the generator is shown: a control that must help
    ratio: float = 1.0  # generated images for each real one
    factor: float | None = None  # a class may come to so many times its images [to as many as the largest class has]
    augmentation: Literal["classical", "randaugment"] = "classical"  # of the baselines
    flips: bool = False  # mirrored images are valid ones
    steps: int = 500  # of the CNN
    group: str | None = None  # a column of the metadata whose images are not to be parted, such as the patient
    resolution: int | None = None  # pixels a side [a power of two, at most 32]
    seed: int = 0  # of everything
    jobs: int | None = None  # at once [1]
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"  # where generators and CNNs are trained

    def __call__(self) -> None:
        import ganfold

        for line in ganfold.study(**vars(self)).lines():
            print(line)
        print(f"The whole story: {self.out / 'report.html'}")


@dataclass(frozen=True)
class Report:
    """Write one HTML file that shows a run: verdict, pictures, curves, figures, copies, data, settings."""

    run: Annotated[Path, tyro.conf.Positional]  # a run folder

    def __call__(self) -> None:
        import ganfold

        print(ganfold.report(self.run))


@dataclass(frozen=True)
class Upscale:
    """Make a picture, or each in a folder, larger: `ganfold upscale runs/sr picture.jpg --out big.png`."""

    run: Annotated[Path, tyro.conf.Positional]  # a run of srgan
    picture: Annotated[Path, tyro.conf.Positional]  # a picture of any size, or a folder of them
    out: Path  # the file to write, or a folder for PNGs
    tile: int = 128  # pixels of the picture, a side, taken at once: memory follows from it
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    force: bool = False  # allow what is there to be replaced

    def __call__(self) -> None:
        import ganfold

        print(ganfold.upscale(**vars(self)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done, 2 the user's mistake, 129, 130 and 143 stopped by SIGHUP, Ctrl-C and SIGTERM, 141 nobody
        reads it.
    """
    try:
        try:
            return _run(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # who reads it, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(words: list[str]) -> int:
    try:
        if words[:1] == ["train"] and len(words) > 1 and not words[1].startswith("-"):
            return _train(words[1], words)
        if words[:1] == ["plan"] and (gan := _value("gan", words)):
            return _plan(gan, words)
        names = "; ".join(f"{name} ({what})" for name, (_, _, what) in GANS.items())
        Train.__doc__ = (Train.__doc__ or "").replace("{names}", names)
        verbs: dict[str, Callable[..., Any]] = {
            "check": Check,
            "plan": Plan,
            "train": Train,
            "sample": Sample,
            "evaluate": Evaluate,
            "copies": Copies,
            "inpaint": Inpaint,
            "probe": Probe,
            "augment": Augment,
            "study": Study,
            "report": Report,
            "translate": Translate,
            "upscale": Upscale,
        }
        description = "A folder of images in; a trained, measured, usable generator out."
        code: int | None = tyro.extras.subcommand_cli_from_dict(
            verbs, prog="ganfold", description=description, args=words, config=CONFIG
        )()
    except GanfoldError as error:
        print(f"ganfold: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code or 0


def _train(gan: str, words: list[str]) -> int:
    """`ganfold train NAME ...`: its flags are the fields of the GAN's `Config` and of `Settings`."""
    kind = find(gan)
    from ganfold.verbs.train import train

    said = _flags(
        f"ganfold train {gan}",
        words[2:],
        kind,
        ("data", Annotated[str, tyro.conf.arg(help="a folder, zip, array file, hub id, or a bundled set")]),
        ("restart", Annotated[bool, tyro.conf.arg(help="delete the run that is there and begin anew")], False),
        out="the run's folder [runs/GAN-DATA]",
    )
    run = train(
        gan,
        said.data,
        said.out,
        restart=said.restart,
        command=shlex.join(["ganfold", *(word for word in words if word != "--restart")]),
        **asdict(said.config),
        **asdict(said.settings),
    )
    return _exit_code(run)


def _plan(gan: str, words: list[str]) -> int:
    """`ganfold plan DATA --gan NAME ...`: its flags are those of `ganfold train NAME`."""
    kind = find(gan)
    from ganfold.verbs.plan import plan

    said = _flags(
        "ganfold plan",
        words[1:],
        kind,
        ("data", Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="images, as of `ganfold train --data`")]),
        ("gan", Annotated[str, tyro.conf.arg(help="the GAN")]),
        out="the run's folder, for the command [runs/DATA]",
    )
    every = asdict(said.config) | asdict(said.settings)
    given = {name: value for name, value in every.items() if _value(name, words) is not None}
    for line in plan(said.data, said.out, gan=gan, **given).lines():
        print(line)
    return 0


def _flags(prog: str, words: list[str], kind: type[GAN], *more: Any, out: str) -> Any:
    """The words parsed as the fields of the GAN's `Config`, of `Settings`, and more."""
    flags = make_dataclass(
        "flags",
        [
            *(part for part in more if len(part) == 2),  # those without a default come first
            ("config", kind.config_class),
            ("settings", Settings),
            ("out", Annotated[Path | None, tyro.conf.arg(help=out)], None),
            *(part for part in more if len(part) == 3),
        ],
        frozen=True,
    )
    return tyro.cli(flags, prog=prog, description=kind.__doc__ or "", args=words, config=CONFIG)


def _value(name: str, words: list[str]) -> str | None:
    """The word that follows a flag, `--no-` of it included, or None where it was not given."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        flag, equals, value = word.partition("=")
        if flag.startswith("--") and flag[2:].replace("_", "-").removeprefix("no-") == name.replace("_", "-"):
            return value if equals else following
    return None


def _said(wishes: Wishes, settings: Settings) -> dict[str, Any]:
    return changed(wishes) | changed(settings)


def _exit_code(run: Run) -> int:
    return {"SIGHUP": 129, "Ctrl-C": 130, "a closed pipe": 141, "SIGTERM": 143}.get(run.stopped_by or "", 0)
