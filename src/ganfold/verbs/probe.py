"""`ganfold probe`: what a run's discriminator has learnt."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from ganfold.errors import GanfoldError
from ganfold.files import write_json
from ganfold.interface.options import Positional, PythonOnly, verb

if TYPE_CHECKING:
    from ganfold.gans.contract import GAN
    from ganfold.metrics.probing import Probe
    from ganfold.runs.run import Run


@dataclass(frozen=True)
class Options:
    run: Annotated[str | Path | Run, Positional]  # a run folder
    data: str | Path | None = None  # labelled images, or where those of the run are now [where they were]
    _: KW_ONLY
    labels: tuple[int, ...] = (10, 50, 100)  # labels of each class to learn from
    draws: int = 3  # how often these labels are drawn
    seed: int = 0  # decides which labels are drawn
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    gan: str | type[GAN] | None = None  # FILE.py:CLASS, for a run whose GAN is from outside of ganfold
    out: str | Path | None = None  # the JSON file to write [RUN/probe.json]
    progress: Annotated[bool, PythonOnly] = True  # show a bar while images are prepared


@verb(Options)
def probe(options: Options) -> Probe:
    """Classify images by a linear SVM on the features of a run's discriminator, from few labels.

    The features are the outputs of all nonlinearities of D, maps max-pooled to 4 x 4 (Radford 2015, arXiv:1511.06434,
    sec. 5.1). The same SVM is trained on the features of the untrained D, on pixels, on their principal components and
    on the features of an ImageNet network. The nearest neighbours by D's features and by pixels are a further control.
    Labels are drawn from the training images; held-out images are classified.

    Raises:
        GanfoldError: there is no run, there are no labels, a class has too few images, or no network of the GAN judges
            an image by itself.
    """
    from ganfold.metrics.probing import (
        FOLDS,
        Probe,
        classify,
        image_network,
        labelled_images,
        protocol_of,
        representations,
        split_of,
    )
    from ganfold.runs.run import loaded

    run = loaded(options.run, options.checkpoint, options.gan)
    if not options.labels or min(options.labels) < FOLDS or options.draws < 1:
        raise GanfoldError(f"--labels must be {FOLDS} or more each, and --draws 1 or more")
    image_network(run)  # refuses before the images are prepared
    images = labelled_images(run, options.data, max(options.labels), options.progress)
    split = split_of(images, options.seed)
    features = representations(run, split)
    rows = classify(features, split, options.labels, options.draws, options.seed)
    width = features["this D"][0].shape[1]
    protocol = protocol_of(run, images, split, width, options.draws, options.seed)
    result = Probe(rows, list(options.labels), protocol)
    write_json(Path(options.out) if options.out else run.path / "probe.json", result.to_dict())
    return result
