"""`ganfold upscale`: a user's images made larger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ganfold.interface.options import AT_LEAST_ONE, Positional, PythonOnly, verb
from ganfold.interface.result import Written

if TYPE_CHECKING:
    from PIL import Image

    from ganfold.gans.contract import GAN
    from ganfold.runs.run import Run


@dataclass(frozen=True)
class Options:
    run: Annotated[str | Path | Run, Positional]  # the folder of a super-resolution run
    image: Annotated[str | Path, Positional]  # an image of 8 pixels a side or more, or a folder of images
    out: str | Path  # the file to write (JPEG changes all pixels a little), or a folder for PNGs of the same names
    _: KW_ONLY
    tile: Annotated[int, AT_LEAST_ONE] = 128  # pixels of the image, a side, taken at once: it bounds the memory
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    gan: str | type[GAN] | None = None  # FILE.py:CLASS, for a run whose GAN is from outside of ganfold
    force: bool = False  # allow files to be replaced
    progress: Annotated[bool, PythonOnly] = True  # show a bar for a folder on a terminal


class Upscaled(Written):
    """The path of the larger images."""

    doubts: tuple[str, ...] = ()  # what is known against the run
    gain: str = ""  # over bicubic enlargement, on patches of these images, in words
    psnr: Mapping[str, tuple[float, float]] = MappingProxyType({})  # by image, in dB: the run's, and bicubic

    def lines(self) -> list[str]:
        return [str(self), *([self.gain] if self.gain else []), *(f"Note: {doubt}." for doubt in self.doubts)]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "gain": self.gain, "psnr": dict(self.psnr), "doubts": list(self.doubts)}


@verb(Options)
def upscale(options: Options) -> Upscaled:
    """Make an image, or each image in a folder, as many times larger as the run has learnt.

    The image is taken tile by tile, each with as much of its surroundings as the network can reach, so there are no
    seams. Transparency that the run has no channel for is enlarged bicubically. A grey image stays grey. A colour
    profile goes with the result.

    An image of a folder that cannot be used is named, and the others are made. The same command goes on where it
    stopped: it keeps what it has made.

    The gain over bicubic enlargement is printed. It is measured on patches of the image itself, which are made smaller
    and enlarged again.

    Returns:
        `out`.

    Raises:
        GanfoldError: the run is of another kind, there is no image, an image is too small, or `out` exists.
    """
    from ganfold.images.files import change_images
    from ganfold.tasks import identity, open_run
    from ganfold.tasks.super_resolution import against_bicubic, doubts, enlarged, gain

    run = open_run(options.run, "super-resolution", "upscale", options.checkpoint, options.gan)
    gan = run.gan
    settings = f"upscale {identity(run)}"
    measured: dict[str, tuple[float, float] | None] = {}

    def change(image: Image.Image, path: Path) -> Image.Image:
        large = enlarged(gan, image, options.tile)
        measured[path.name] = against_bicubic(gan, image)
        return large

    written = change_images(
        options.image,
        options.out,
        change,
        made_by=lambda _: settings,
        scale=gan.scale,
        force=options.force,
        progress=options.progress,
    )
    upscaled = Upscaled(written)
    upscaled.doubts = tuple(doubts(run))
    upscaled.gain = gain(measured, gan.scale)
    upscaled.psnr = {name: both for name, both in measured.items() if both}
    return upscaled
