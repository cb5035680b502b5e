"""`ganfold inpaint`: what a mask hides in a user's images is painted anew."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ganfold.errors import GanfoldError
from ganfold.interface.options import AT_LEAST_ONE, Positional, PythonOnly, verb
from ganfold.interface.result import Written

if TYPE_CHECKING:
    from PIL import Image

    from ganfold.gans.contract import GAN
    from ganfold.runs.run import Run

NAMED = 20  # most images that are named


@dataclass(frozen=True)
class Options:
    run: Annotated[str | Path | Run, Positional]  # a run of a context encoder, or of a GAN that draws from noise
    image: Annotated[str | Path, Positional]  # an image of any size, or a folder of images
    mask: str | Path  # as large as the image: white where to paint, else black; or a folder of masks of equal names
    out: str | Path | None = None  # the file to write, or a folder for PNGs [NAME-inpainted.png beside the image]
    _: KW_ONLY
    steps: Annotated[int, AT_LEAST_ONE] = 500  # with a generator: steps of the search
    starts: Annotated[int, AT_LEAST_ONE] = 8  # with a generator: searches at once, of which the best is kept
    seed: int = 0  # with a generator: decides where the search starts
    blend: bool = True  # hide the seam by Poisson blending
    window: Literal["near", "whole"] | None = None  # what the network sees [near each hole; whole with a generator]
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    gan: str | type[GAN] | None = None  # FILE.py:CLASS, for a run whose GAN is from outside of ganfold
    force: bool = False  # allow files to be replaced
    progress: Annotated[bool, PythonOnly] = True  # show a bar for a folder on a terminal


class Inpainted(Written):
    """The path of the painted images."""

    notes: tuple[str, ...] = ()  # how near each search came

    def lines(self) -> list[str]:
        more = f"Note: {len(self.notes) - NAMED:,} more like these." if len(self.notes) > NAMED else ""
        return [str(self), *self.notes[:NAMED], *([more] if more else [])]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "notes": list(self.notes)}


@verb(Options)
def inpaint(options: Options) -> Inpainted:
    """Paint what a mask hides in an image, or in each image of a folder.

    No pixel outside of the hole changes, except in a JPEG or AVIF, which changes all pixels a little. Transparency
    lies on white in a file that cannot hold it. A colour profile goes with the result.

    An image of a folder that cannot be used is named, as is one with such a mask, and the others are painted. The same
    command goes on where it stopped: it keeps what it has made.

    A context encoder paints directly. Any other generator of images is searched for the image that fits best to what
    surrounds the hole. How near it comes is printed. If it comes no nearer than two of the generator's samples are by
    chance, the image is said to be far from what the generator makes. A folder names only such images.

    Returns:
        The file or the folder that was written.

    Raises:
        GanfoldError: the run cannot inpaint, a mask does not fit or hides nothing or all, or a file would be replaced.
    """
    from ganfold.images.files import change_images, images_in, name_of, state_of
    from ganfold.runs.run import loaded
    from ganfold.tasks import identity
    from ganfold.tasks.inpainting import Searcher, fill, hole_of, is_encoder, painter

    run = loaded(options.run, options.checkpoint, options.gan)
    source, mask = Path(options.image), Path(options.mask)
    paint = painter(run, options.steps, options.starts, options.seed)
    near = is_encoder(run) if options.window is None else options.window == "near"
    masks = images_in(mask)[0] if mask.is_dir() else None
    search = "" if is_encoder(run) else f"{options.steps} {options.starts} {options.seed}"
    settings = f"inpaint {identity(run)} {search} {options.blend} {near}"
    notes: list[str] = []

    def mask_of(path: Path) -> Path:
        return mask if masks is None else masks.get(name_of(path), mask)

    def change(image: Image.Image, path: Path) -> Image.Image:
        if mask_of(path).is_dir():
            raise GanfoldError(f"{mask} holds no mask of the name of {path}")
        hole = hole_of(mask_of(path), image, path)
        made = fill(image, hole, paint, run.gan.shape, near=near, blend=options.blend)
        if isinstance(paint, Searcher):
            notes.extend(paint.told(path.name, every=not source.is_dir()))
        return made

    painted = Inpainted(
        change_images(
            source,
            options.out or _beside(source),
            change,
            made_by=lambda path: f"{settings} {state_of(mask_of(path))}",
            force=options.force,
            progress=options.progress,
        )
    )
    painted.notes = tuple(notes)
    return painted


def _beside(source: Path) -> Path:
    """Where the result is written if nobody says: beside the image, or beside the folder."""
    if source.name in ("", ".."):
        source = source.resolve()
    if source.is_dir():
        return source.with_name(f"{source.name}-inpainted")
    return source.with_name(f"{source.stem}-inpainted.png")
