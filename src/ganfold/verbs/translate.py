"""`ganfold translate`: a user's images turned into images of another kind."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ganfold.errors import GanfoldError
from ganfold.interface.options import AT_LEAST_ONE, Positional, PythonOnly, verb
from ganfold.interface.result import Written

if TYPE_CHECKING:
    from PIL import Image

    from ganfold.gans.contract import GAN
    from ganfold.runs.run import Run


@dataclass(frozen=True)
class Options:
    run: Annotated[str | Path | Run, Positional]  # the folder of a translation run
    image: Annotated[str | Path, Positional]  # an image, or a folder of images
    out: str | Path  # the file to write (JPEG changes all pixels a little), or a folder for PNGs of the same names
    _: KW_ONLY
    size: Annotated[int | None, AT_LEAST_ONE] = None  # first resize the shorter side to this: scale as in training
    tile: int = 512  # pixels a side taken at once: it bounds the memory; larger images are taken in fading tiles
    reverse: bool = False  # of a run that learns both ways: from the target's kind to that of the data
    seed: int = 0  # of a run with noise: which of its possible images to make
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    gan: str | type[GAN] | None = None  # FILE.py:CLASS, for a run whose GAN is from outside of ganfold
    force: bool = False  # allow files to be replaced
    progress: Annotated[bool, PythonOnly] = True  # show a bar for a folder on a terminal


@verb(Options)
def translate(options: Options) -> Written:
    """Turn an image, or each image in a folder, into an image of another kind.

    A run that was trained on two kinds of images takes an image of the kind of its --data and makes one of the kind of
    its --target. A run with --input takes what that input was. pairs: the first half of a pair. edges: a drawing, black
    lines on white. grey: any image, which is made grey. lowres: a small image, which becomes --scale times larger.
    masked: an image whose transparent pixels are to be filled; the others stay. Otherwise transparency is kept, and the
    network sees white below it. A colour profile goes with the result.

    An image of a folder that cannot be used is named, and the others are made. The same command goes on where it
    stopped: it keeps what it has made.

    Returns:
        `out`.

    Raises:
        GanfoldError: the run is of another kind, an image is too small, or a file would be replaced.
    """
    from ganfold.images.files import change_images
    from ganfold.tasks import identity, open_run, with_article
    from ganfold.tasks.translation import translated

    run = open_run(options.run, "translation", "translate", options.checkpoint, options.gan)
    resolution = run.gan.shape.resolution
    if options.reverse and not run.gan.two_way:
        name = with_article(run.record.gan)
        raise GanfoldError(f"{run.path} is {name}, which learns one direction: leave out --reverse")
    if options.tile < resolution:
        raise GanfoldError(f"--tile {options.tile} is less than the {resolution} px that {run.path} was trained at")

    def change(image: Image.Image, path: Path) -> Image.Image:
        return translated(
            run, image, path, size=options.size, tile=options.tile, reverse=options.reverse, seed=options.seed
        )

    settings = f"translate {identity(run)} {options.size} {options.tile} {options.reverse} {options.seed}"
    return Written(
        change_images(
            options.image,
            options.out,
            change,
            made_by=lambda _: settings,
            scale=run.gan.scale if run.gan.input_kind == "lowres" else 1,
            force=options.force,
            progress=options.progress,
        )
    )
