"""`ganfold evaluate`: how near generated images are to real ones, and how near real ones are to each other."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ganfold.errors import GanfoldError
from ganfold.files import write_json
from ganfold.interface.options import Positional, PythonOnly, verb

if TYPE_CHECKING:
    from ganfold.gans.contract import GAN
    from ganfold.metrics.evaluation import Evaluation
    from ganfold.metrics.features import Extractor
    from ganfold.runs.run import Run


@dataclass(frozen=True)
class Options:
    images: Annotated[str | Path | Run, Positional]  # a run folder, or a folder, zip or array of generated images
    reference: str | Path | None = None  # real images [those that the run held out]
    _: KW_ONLY
    features: str | Extractor = "efficientnet"  # efficientnet, inception, dinov2, pixels, or a TorchScript file
    weights: str | Path | None = None  # a file of inception's or dinov2's weights [downloaded]
    count: int | None = None  # images in each set [as many as there are real ones, at most 50,000]
    seed: int = 0  # decides which samples and which real images are used
    data: str | Path | None = None  # where the images that a run was trained on are now [where they were]
    checkpoint: Literal["best", "last"] = "best"  # of a run: the one of the lowest KID, or the newest
    gan: str | type[GAN] | None = None  # FILE.py:CLASS, for a run whose GAN is from outside of ganfold
    resolution: int | None = None  # pixels a side at which two folders are compared [that of the generated images]
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"  # where to compute
    out: str | Path | None = None  # the JSON file to write [RUN/evaluation.json; none for a folder]
    progress: Annotated[bool, PythonOnly] = True  # show a bar while images are prepared


@verb(Options)
def evaluate(options: Options) -> Evaluation:
    """Compare generated images with real ones; print each metric beside its floor: the score of real ones.

    Three sets of equal size are compared: generated images, a reference of real images, and other real images. The
    score of these others is the floor: what a perfect generator would score.

    For a run, the images that it held out are the reference, and the floor comes from its training images. If other
    real images are given as `reference`, one half is the reference and the other half gives the floor.

    Raises:
        GanfoldError: there are no such images, too few of them, no reference, or no such features.
    """
    from ganfold import device, tasks
    from ganfold.metrics.evaluation import compare, sets_of_folders, sets_of_run
    from ganfold.metrics.features import extractor
    from ganfold.runs.run import Run, as_run

    features = extractor(options.features, options.weights, device.choose(options.device))
    run = as_run(options.images, options.checkpoint, options.gan, options.data)
    if run and options.resolution is not None:
        raise GanfoldError(f"{run.path} is a run and is compared at the size it makes: leave out --resolution")
    if run:
        sets = sets_of_run(run, options.reference, options.count, options.seed, options.progress)
    elif options.reference is None:
        raise GanfoldError(f"{options.images} is not a run: give --reference, the real images to compare it with")
    else:
        assert not isinstance(options.images, Run)
        sets = sets_of_folders(
            options.images, options.reference, options.count, options.seed, options.resolution, options.progress
        )
    evaluation = compare(sets, features)
    out = options.out
    if run:
        evaluation = replace(evaluation, task=tasks.measure(run, options.seed, len(sets.reference)))
        out = out or run.path / "evaluation.json"
    if out:
        write_json(Path(out), evaluation.to_dict())
    return evaluation
