"""`ganfold copies`: whether a generator has copied training images."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ganfold.errors import GanfoldError
from ganfold.files import write_json
from ganfold.interface.options import AT_LEAST_ONE, Folder, Positional, PythonOnly, verb

if TYPE_CHECKING:
    from PIL import Image

    from ganfold.gans.contract import GAN
    from ganfold.metrics.copies import Copies
    from ganfold.metrics.features import Extractor
    from ganfold.runs.run import Run
    from ganfold.runs.team import Team


@dataclass(frozen=True)
class Options:
    images: Annotated[str | Path | Run, Positional]  # a run folder, or a folder, zip or array of generated images
    reference: str | Path | None = None  # the images that the generator was trained on [a run knows its own]
    _: KW_ONLY
    features: str | Extractor = "efficientnet"  # efficientnet, inception, dinov2, pixels, or a TorchScript file
    weights: str | Path | None = None  # a file of inception's or dinov2's weights [downloaded]
    count: Annotated[int, AT_LEAST_ONE] = 1000  # samples of a run, or most generated images to use
    seed: int = 0  # decides which samples, generated images and held-out images are used
    held_out: float | None = None  # share of the reference, 0 to 0.5, that stands for new images [0.1]
    data: str | Path | None = None  # where the images that a run was trained on are now [where they were]
    target: str | Path | None = None  # of a run on two kinds of images: where those of its --target are now [likewise]
    checkpoint: Literal["best", "last"] = "best"  # of a run: the one of the lowest KID, or the newest
    gan: str | type[GAN] | None = None  # FILE.py:CLASS, for a run whose GAN is from outside of ganfold
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"  # where to compute
    out: Annotated[str | Path | None, Folder] = None  # folder for copies.json and copies.png [RUN; . without a run]
    progress: Annotated[bool, PythonOnly] = True  # show a bar while images are prepared
    shared: Annotated[bool, PythonOnly] = False  # share the work with the other processes of `torchrun`


@verb(Options)
def copies(options: Options) -> Copies:
    """Look for near-copies of training images among generated ones, and show the pairs most alike.

    Samples and real images that were not trained on are compared in the same way: by their distance to the nearest
    training image. Distances are measured in pixels, over shifts and mirror images, and in features, over mirror
    images.

    Returns:
        The verdict and its metrics. `copies.json` and `copies.png` are written.

    Raises:
        GanfoldError: there are no such images, too few of them, others than were trained on, or no such features.
    """
    from ganfold.runs.team import Team

    team = Team(options.shared)
    return team.together(lambda: _copies(options, team))


def _copies(options: Options, team: Team) -> Copies:
    from ganfold import device
    from ganfold.metrics.copies import compare, sets_of_folders, sets_of_run
    from ganfold.metrics.features import extractor
    from ganfold.runs.run import Run, as_run, loaded

    made = extractor(options.features, options.weights, device.choose(options.device, team.local))
    features, progress = replace(made, team=team), options.progress and team.first
    run = as_run(options.images, options.checkpoint, options.gan, options.data, options.target)
    if run and options.held_out is not None:
        raise GanfoldError(f"{run.path} is a run and knows what it held out: leave out --held-out")
    if run and options.reference is not None:
        run = loaded(run, data=options.reference)  # the same images, at the place they have now
    if run:
        sets = sets_of_run(run, options.count, options.seed, progress, team)
    elif options.reference is None:
        raise GanfoldError(f"{options.images} is not a run: give --reference, the images that were trained on")
    else:
        assert not isinstance(options.images, Run)
        folders = Path(options.images), options.reference
        sets = team.in_turn(lambda: sets_of_folders(*folders, options.count, options.seed, options.held_out, progress))
    result, page = compare(sets, features, options.seed)
    out = Path(options.out or (run.path if run else "."))
    return team.once(lambda: _written(result, page, out))


def _written(result: Copies, page: Image.Image, out: Path) -> Copies:
    from ganfold.images.grids import save_sheet

    save_sheet(page, out / "copies.png", {"verdict": result.verdict})
    write_json(out / "copies.json", result.to_dict())
    return replace(result, page=out / "copies.png")
