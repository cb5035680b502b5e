"""`ganfold inpaint`: what a mask hides in a user's images is painted anew."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ganfold.errors import GanfoldError
from ganfold.interface.options import Positional, PythonOnly, verb
from ganfold.interface.result import Written

if TYPE_CHECKING:
    from PIL import Image

    from ganfold.gans.contract import GAN
    from ganfold.runs.run import Run


@dataclass(frozen=True)
class Options:
    run: Annotated[str | Path | Run, Positional]  # a run of a context encoder, or of a GAN that needs no image
    picture: Annotated[str | Path, Positional]  # an image of any size, or a folder of images
    mask: str | Path  # as large as the image: white where to paint, else black; or a folder of masks of equal names
    out: str | Path | None = None  # the file to write, or a folder for PNGs [NAME-inpainted.png beside the image]
    _: KW_ONLY
    steps: int = 500  # with a generator: steps of the search
    starts: int = 8  # with a generator: searches at once, of which the best is kept
    seed: int = 0  # with a generator: decides where the search starts
    blend: bool = True  # hide the seam by Poisson blending
    window: Literal["near", "whole"] | None = None  # what the network sees [near each hole; whole with a generator]
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    gan: str | type[GAN] | None = None  # FILE.py:CLASS, for a run whose GAN is from outside of ganfold
    force: bool = False  # allow files to be replaced
    progress: Annotated[bool, PythonOnly] = True  # show a bar for a folder on a terminal


@verb(Options)
def inpaint(options: Options) -> Written:
    """Paint what a mask hides in an image, or in each image of a folder.

    No pixel outside of the hole changes, except in a JPEG or AVIF, which changes all pixels a little. Transparency
    lies on white in a file that cannot hold it. A colour profile goes with the result.

    An image of a folder that cannot be used is named, as is one with such a mask, and the others are painted. The same
    command goes on where it stopped: it keeps what it has made.

    A context encoder paints directly. Any other generator of images is searched for the image that fits best to what
    surrounds the hole.

    Returns:
        The file or the folder that was written.

    Raises:
        GanfoldError: the run cannot inpaint, a mask does not fit or hides nothing or all, or a file would be replaced.
    """
    from ganfold.images.files import change_images, images_in, name_of, state_of
    from ganfold.runs.run import Run
    from ganfold.tasks import identity
    from ganfold.tasks.inpainting import fill, hole_of, is_encoder, painter

    run = options.run if isinstance(options.run, Run) else Run(options.run, options.checkpoint, options.gan)
    picture, mask = Path(options.picture), Path(options.mask)
    if options.steps < 1 or options.starts < 1:
        raise GanfoldError(f"steps and starts must be 1 or more, not {options.steps} and {options.starts}")
    paint = painter(run, options.steps, options.starts, options.seed)
    near = is_encoder(run) if options.window is None else options.window == "near"
    masks = images_in(mask)[0] if mask.is_dir() else None
    search = "" if is_encoder(run) else f"{options.steps} {options.starts} {options.seed}"
    settings = f"inpaint {identity(run)} {search} {options.blend} {near}"

    def mask_of(path: Path) -> Path:
        return mask if masks is None else masks.get(name_of(path), mask)

    def change(image: Image.Image, path: Path) -> Image.Image:
        if mask_of(path).is_dir():
            raise GanfoldError(f"{mask} holds no mask of the name of {path}")
        hole = hole_of(mask_of(path), image, path)
        return fill(image, hole, paint, run.gan.shape, near=near, blend=options.blend)

    out = options.out or _beside(picture)
    return Written(
        change_images(
            picture,
            out,
            change,
            made_by=lambda path: f"{settings} {state_of(mask_of(path))}",
            force=options.force,
            progress=options.progress,
        )
    )


def _beside(picture: Path) -> Path:
    """Where the result is written if nobody says: beside the image, or beside the folder."""
    if picture.name in ("", ".."):
        picture = picture.resolve()
    if picture.is_dir():
        return picture.with_name(f"{picture.name}-inpainted")
    return picture.with_name(f"{picture.stem}-inpainted.png")
