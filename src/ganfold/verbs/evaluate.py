"""`ganfold evaluate`: how near generated images are to real ones, and how near real ones are to each other."""

from __future__ import annotations

import hashlib
import json
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ganfold.errors import GanfoldError
from ganfold.files import read_object, write_bytes, write_json
from ganfold.interface.options import Positional, PythonOnly, verb

if TYPE_CHECKING:
    from ganfold.gans.contract import GAN
    from ganfold.metrics.evaluation import Evaluation
    from ganfold.metrics.features import Extractor
    from ganfold.runs.run import Run
    from ganfold.runs.team import Team

NAME = "evaluation.json"


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
    target: str | Path | None = None  # of a run on two kinds of images: where those of its --target are now [likewise]
    checkpoint: Literal["best", "last"] = "best"  # of a run: the one of the lowest KID, or the newest
    gan: str | type[GAN] | None = None  # FILE.py:CLASS, for a run whose GAN is from outside of ganfold
    resolution: int | None = None  # pixels a side at which two folders are compared [that of the generated images]
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"  # where to compute
    out: str | Path | None = None  # the JSON file to write [RUN/evaluation.json; none for a folder]
    progress: Annotated[bool, PythonOnly] = True  # show a bar while images are prepared
    shared: Annotated[bool, PythonOnly] = False  # share the work with the other processes of `torchrun`


@verb(Options)
def evaluate(options: Options) -> Evaluation:
    """Compare generated images with real ones; print each metric beside its floor: the score of real ones.

    Three sets of equal size are compared: generated images, a reference of real images, and other real images. The
    score of these others is the floor: what a perfect generator would score.

    For a run, the images that it held out are the reference, and the floor comes from its training images. If other
    real images are given as the reference, one half of them is the reference and the other half gives the floor.

    A run that enlarges, inpaints or translates is also measured on single held-out images, which needs no 50 of them.
    RUN/evaluation.json holds the newest evaluation. An earlier one of another protocol is kept beside it.

    Raises:
        GanfoldError: there are no such images, too few of them, no reference, or no such features.
    """
    from ganfold.runs.team import Team

    team = Team(options.shared)
    return team.together(lambda: _evaluate(options, team))


def _evaluate(options: Options, team: Team) -> Evaluation:
    from ganfold import device
    from ganfold.metrics.evaluation import compare, sets_of_folders
    from ganfold.metrics.features import extractor
    from ganfold.runs.run import Run, as_run

    made = extractor(options.features, options.weights, device.choose(options.device, team.local))
    features, progress = replace(made, team=team), options.progress and team.first
    run = as_run(options.images, options.checkpoint, options.gan, options.data, options.target)
    if run and options.resolution is not None:
        raise GanfoldError(f"{run.path} is a run and is compared at the size it makes: leave out --resolution")
    if run:
        return _of_run(run, options, features, team)
    if options.reference is None:
        raise GanfoldError(f"{options.images} is not a run: give --reference, the real images to compare it with")
    assert not isinstance(options.images, Run)
    folders = options.images, options.reference
    sets = team.in_turn(lambda: sets_of_folders(*folders, options.count, options.seed, options.resolution, progress))
    evaluation = compare(sets, features)
    if options.out and team.first:
        write_json(Path(options.out), evaluation.to_dict())
    return evaluation


def _of_run(run: Run, options: Options, features: Extractor, team: Team) -> Evaluation:
    """The evaluation of a run. A run of another task than generation needs no sets of images."""
    from ganfold import tasks
    from ganfold.metrics.evaluation import TooFew, compare, of_task_alone, sets_of_run

    progress = options.progress and team.first
    try:
        sets = sets_of_run(run, options.reference, options.count, options.seed, progress, team)
        count, evaluation = len(sets.reference), compare(sets, features)
    except TooFew as few:
        if not tasks.measures(run) or not few.number:
            raise
        count, evaluation = few.number, of_task_alone(run, options.seed, few)
    return team.once(lambda: _with_task(run, options, evaluation, count))


def _with_task(run: Run, options: Options, evaluation: Evaluation, count: int) -> Evaluation:
    """The evaluation with the metrics of the run's task, written."""
    from ganfold import tasks

    task = tasks.measure(run, options.seed, count)
    doubts = [f"{doubt}." for doubt in tasks.doubts(run, task)]
    evaluation = replace(evaluation, task=task, notes=[*evaluation.notes[:1], *doubts, *evaluation.notes[1:]])
    out = Path(options.out or run.path / NAME)
    if not options.out and (kept := _keep_other(out, evaluation)):
        evaluation.notes.append(f"The earlier evaluation was of another protocol: it is kept in {kept.name}.")
    write_json(out, evaluation.to_dict())
    return evaluation


def _keep_other(path: Path, evaluation: Evaluation) -> Path | None:
    """Keep an earlier evaluation of another protocol under another name, and give that."""
    try:
        protocol = dict(read_object(path)["protocol"])
    except (GanfoldError, LookupError, TypeError, ValueError):  # there is none, or it is damaged
        return None
    if _same(protocol) == _same(evaluation.protocol):
        return None
    digest = hashlib.sha256(_same(protocol).encode()).hexdigest()[:8]
    kept = path.with_name(f"{path.stem}-{digest}{path.suffix}")
    write_bytes(kept, path.read_bytes())
    return kept


def _same(protocol: dict[str, Any]) -> str:
    """What must be equal for an evaluation to take the place of another, as a text."""
    kept = {name: str(protocol[name]) for name in sorted(protocol) if name not in ("date", "ganfold")}
    if "run" in kept:  # the same checkpoint may have been trained on
        kept["run"] = kept["run"].partition(", at ")[0]
    return json.dumps(kept)
