"""`ganfold augment`: a folder of images with generated ones added to its small classes, if a trial says they help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ganfold.errors import GanfoldError, tell
from ganfold.files import damaged, locked, read_object, write_json
from ganfold.interface.options import AT_LEAST_ONE, Folder, Many, Positional, PythonOnly, open_verb

if TYPE_CHECKING:
    from ganfold.data import ImageSet
    from ganfold.runs.run import Run
    from ganfold.studies.augmentation import Augmentation, Parts, Pool, Room
    from ganfold.studies.gate import Gate


@dataclass(frozen=True)
class Options:
    data: Annotated[str | Path, Positional]  # images with classes: a folder, zip, .npz, parquet, or a bundled set
    out: Annotated[str | Path, Folder]  # a new or empty folder, for class folders and manifest.csv
    _: KW_ONLY
    run: str | Path | Run | None = None  # a trained generator that takes these classes [a new one]
    gan: str = "rsgan"  # the GAN of a new generator, or FILE.py:CLASS of a run whose GAN is from outside of ganfold
    kimg: float | None = None  # budget of a new generator in thousand images [40]: the same seed makes the same files
    minutes: float | None = None  # its budget in minutes
    factor: float | None = None  # a class may have this many images for each real one [as many as the largest class]
    ratio: float | None = None  # generated images for each real one, without a trial [0, 0.5, 1 or 2, by the trial]
    group: str | None = None  # a column of the metadata: images with the same value stay together, as of one patient
    resolution: int | None = None  # pixels a side of generated images [a power of two, at most 32]
    classes_from: Annotated[int, AT_LEAST_ONE] = 1  # level of the nested folders that are the classes: 1 is the first
    flips: bool = False  # mirrored images are valid
    seed: int = 0  # decides which images judge, the generator, the trial, and which images are generated
    steps: int = 500  # training steps of the trial's classifier
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"  # where to train
    format: Literal["folder", "parquet", "webdataset"] = "folder"  # class folders, or one file
    yes: bool = False  # write more than 100,000 generated files
    progress: Annotated[bool, PythonOnly] = True  # print each step
    options: Annotated[Many, PythonOnly] = field(default_factory=Many)  # options of the GAN


@open_verb(Options)
def augment(options: Options) -> Augmentation:
    """Add generated images to the small classes of a set, if a trial says that they help.

    The output folder holds all real images and those generated ones, with a sub-folder for each class. `manifest.csv`
    says what each file is. The generator sees neither the real images that judge in the trial nor near-copies of them:
    a trained run must therefore have held some out.

    The same call continues where it was stopped. With a budget in kimg, the same seed makes the same files.

    Raises:
        GanfoldError: there are no classes or none with 20 real images, `out` is not empty, the run has seen the images
            that judge it, or there would be too many files.
    """
    from ganfold.studies import augmentation
    from ganfold.studies.claim import claim
    from ganfold.studies.generators import find_labelled
    from ganfold.studies.packing import check_format

    _check(options)
    check_format(options.format)
    find_labelled(options.gan)
    say: Callable[[str], object] = tell if options.progress else lambda _: None
    out, seed = Path(options.out), options.seed
    work, path = out / augmentation.WORK, out / "augmentation.json"
    run = _open_run(options)
    images = augmentation.load_originals(options.data, run, options.resolution, options.progress, options.classes_from)
    requested = _requested(options, images, run)
    with locked(out, "an augmentation"):
        claim(out, work / "asked.json", requested, own=(augmentation.WORK,))
        if path.exists():
            say(f"{out} is done: for another seed or ratio give another --out.")
            return _read(path)
        room = augmentation.Room.of(images, options.ratio, options.factor)
        room.check(options.yes)
        parts = augmentation.divide(images, run, options.group, seed)
        write_json(work / "asked.json", requested)

        run = run or _train(options, images, parts, work / "generator", say)
        pool = augmentation.make_pool(run, room, parts[0], seed, say)
        decision = augmentation.decide_ratio(_gate(options, room, parts, pool), options.ratio, work / "gate", say)
        added = pool.first(room.additions(decision.ratio))
        augmentation.write_set(out, options.format, images, run.path, seed, pool, added)
        result = augmentation.conclude(room, parts, run, pool, decision, added, seed)
        write_json(path, result.to_dict())  # last, because it says that everything else is there
        return result


def _read(path: Path) -> Augmentation:
    """The result of an earlier call."""
    from ganfold.studies.augmentation import Augmentation

    try:
        return Augmentation.from_dict(read_object(path))
    except TypeError as error:
        raise damaged(path, error, "delete it, and give the same command again") from error


def _check(options: Options) -> None:
    if options.factor is not None and not options.factor > 1:
        raise GanfoldError(f"--factor must be above 1, not {options.factor}: 2 doubles each class")
    if options.ratio is not None and not options.ratio >= 0:
        raise GanfoldError(f"--ratio must be 0 or more, not {options.ratio}")


def _open_run(options: Options) -> Run | None:
    from ganfold.runs.run import Run

    if isinstance(options.run, str | Path):
        return Run(options.run, gan=options.gan if ":" in options.gan else None)
    return options.run


def _requested(options: Options, images: ImageSet, run: Run | None) -> dict[str, Any]:
    """The content of `asked.json`: a call with the same content goes on."""
    requested = {
        **vars(options),
        "data": images.fingerprint,
        "run": run and str(run.path),
        "resolution": images.resolution,
        "options": dict(options.options),
    }
    left_out = {"out", "device", "yes", "progress"}
    if options.classes_from == 1:
        left_out.add("classes_from")  # as in earlier versions, whose folders go on
    return {name: value for name, value in requested.items() if name not in left_out}


def _train(options: Options, images: ImageSet, parts: Parts, folder: Path, say: Callable[[str], object]) -> Run:
    from ganfold.studies.generators import train_generator

    fit, validation = parts
    say(f"Training {options.gan} on {len(fit):,} images; {len(validation):,} are kept to judge what it is worth.")
    return train_generator(
        images,
        fit,
        folder,
        gan=options.gan,
        kimg=options.kimg,
        minutes=options.minutes,
        seed=options.seed,
        flips=options.flips,
        device=options.device,
        options=options.options,
        progress=options.progress,
    )


def _gate(options: Options, room: Room, parts: Parts, pool: Pool) -> Gate:
    from ganfold.studies.classifiers import Recipe
    from ganfold.studies.gate import Gate

    fit, validation = parts
    return Gate(
        images=room.images,
        fit=fit,
        validation=validation,
        made=pool.made,
        intended=pool.intended,
        kept=pool.kept,
        factor=options.factor,
        recipe=Recipe("classical", options.flips, balanced=True),
        steps=options.steps,
        device=options.device,
        seed=options.seed,
    )
