"""`ganfold augment`: a folder of images with generated ones added to its small classes, if a trial says they help."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import ganfold
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.files import read_json, write_json
from ganfold.runs.run import Run
from ganfold.studies.claim import claim
from ganfold.studies.classifiers import STEPS, Recipe
from ganfold.studies.folder import GENERATED, write_folder
from ganfold.studies.gate import RATIOS, Trial, decide
from ganfold.studies.generators import GAN, learns_classes, sampled, seen, trained
from ganfold.studies.packing import Pack, pack, refuse
from ganfold.studies.parts import FLOOR, additions, groups, labelled, split
from ganfold.studies.selection import acceptance, candidates, select

VALIDATION = 0.2  # of the images: they judge, and neither generator nor selection sees them
MANY = 100_000  # files: from here on it is asked whether they are meant
WORK = ".augment"  # in the output folder: hidden, so that no class is seen in it


@dataclass(frozen=True)
class Augmentation:
    """What `augment` did, and why."""

    ratio: float  # generated images for each real one, as far as the class has room; 0: none were added
    reason: str
    classes: list[dict[str, Any]]  # of each: real, added, and how many were made, agreed, supported, copied, kept
    gate: dict[str, list[float]]  # balanced accuracy on the validation images, by ratio, in pairs
    notes: list[str]
    protocol: dict[str, Any]

    def lines(self) -> list[str]:
        """Decision, table and notes, for the console."""
        columns = ["class", "real", "added", "made", "agreed", "supported", "copied", "kept", "variety"]
        rows = [columns] + [
            [f"{row[c]:g}" if isinstance(row.get(c), float) else str(row.get(c, "-")) for c in columns]
            for row in self.classes
        ]
        widths = [max(len(row[place]) for row in rows) for place in range(len(columns))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        trial = [
            f"Trial at {ratio} generated for each real one: balanced accuracy {_percent(float(np.mean(values)))} %"
            for ratio, values in self.gate.items()
        ]
        protocol = "Protocol: " + "; ".join(f"{name} {value}" for name, value in self.protocol.items())
        return [self.reason, "", *table, "", *trial, *self.notes, protocol]


def augment(
    data: str | Path,
    out: str | Path,
    *,
    run: str | Path | Run | None = None,
    gan: str = GAN,
    kimg: float | None = None,
    minutes: float | None = None,
    factor: float | None = None,
    ratio: float | None = None,
    group: str | None = None,
    resolution: int | None = None,
    flips: bool = False,
    seed: int = 0,
    steps: int = STEPS,
    device: str = "auto",
    format: Pack = "folder",
    yes: bool = False,
    progress: bool = True,
    **options: Any,
) -> Augmentation:
    """Write a folder with a sub-folder for each class: all real images, and generated ones that a trial found to help.

    The same call again goes on where it was stopped. With a budget in kimg the same seed gives the same files.

    Args:
        data: images with classes; see `ganfold.data.load`.
        out: a folder, new or empty. `manifest.csv` in it says of each file what it is.
        run: a trained generator that takes these classes, in place of a new one; images that it was trained on cannot
            judge it, so it must have held some out.
        gan, kimg, minutes: of the new one [40 kimg].
        factor: how many images, for each real one, a class may come to [as many as the largest class has; twice its
            own where classes are balanced].
        ratio: generated images for each real one, without a trial.
        group: a column of the metadata whose images are not to be parted when validation images are drawn, such as
            the patient or the scene. Near-copies never are.
        resolution: pixels a side of the generated images [a power of two, at most 32].
        flips: mirrored images are valid ones.
        seed: which images validate, the generator, the trial, and which images are generated.
        steps: of the trial's classifier.
        device: where to train.
        format: "folder", class folders; or one file for all, "parquet" or "webdataset".
        yes: write more than 100,000 generated files.
        progress: print how far it is.
        options: of the GAN.

    Raises:
        GanfoldError: no classes, no class with 20 real images, `out` is not empty, a run that saw what judges it, or
            too many files.
    """
    if factor is not None and not factor > 1:
        raise GanfoldError(f"--factor must be above 1, not {factor}: 2 doubles each class")
    if ratio is not None and not ratio >= 0:
        raise GanfoldError(f"--ratio must be 0 or more, not {ratio}")
    refuse(format)
    learns_classes(gan)
    out = Path(out)
    say: Callable[[str], Any] = print if progress else lambda _: None
    run = Run(run) if isinstance(run, str | Path) else run
    images = _images(data, run, resolution, progress)
    assert images.labels is not None
    if again := [name for name in images.names if name.rpartition("/")[2].startswith(GENERATED)]:
        raise GanfoldError(f"{images.source} holds generated images already, such as {again[0]}: give the originals")
    asked = {
        "data": images.fingerprint, "run": run and str(run.path), "gan": gan, "kimg": kimg, "minutes": minutes,
        "factor": factor, "ratio": ratio, "group": group, "resolution": images.resolution, "flips": flips,
        "seed": seed, "steps": steps, "format": format, "options": options,
    }  # fmt: skip
    claim(out, out / WORK / "asked.json", asked, lambda path: path.name == WORK)
    if (out / "augmentation.json").exists():
        say(f"{out} is done: for another seed or ratio give another --out.")
        return Augmentation(**read_json(out / "augmentation.json"))

    counts = np.bincount(images.labels, minlength=len(images.classes))
    notes = [
        f"The class {images.classes[label]} gets none: it has {counts[label]} real images, and {FLOOR} are the least."
        for label in np.flatnonzero(counts < FLOOR)
    ]
    most = RATIOS[-1] if ratio is None else ratio
    room = np.where(counts < FLOOR, 0, additions(counts, most, factor))
    _refuse(images, counts, room, yes)

    fit, validation = _parts(images, run, group, seed)
    write_json(out / WORK / "asked.json", asked)
    if run is None:
        say(f"Training {gan} on {len(fit):,} images; {len(validation):,} are kept to judge what it is worth.")
        how: dict[str, Any] = {"kimg": kimg, "minutes": minutes, "seed": seed, "flips": flips, "device": device}
        run = trained(images, fit, out / WORK / "generator", gan=gan, progress=progress, **how, **options)
    pool = candidates(room)
    say(f"Selecting among {pool.sum():,} generated images.")
    made, intended = sampled(run, images.classes, pool, seed)
    chosen = select(made, intended, images.images[fit], images.labels[fit], len(images.classes), seed=seed)
    refused = chosen.refused()
    notes += [f"The class {images.classes[label]} gets none: its images are too much alike." for label in refused]
    kept = chosen.usable(intended)
    gate: dict[str, list[float]] = {}
    if not len(kept):
        reason = "Nothing is added: no generated image passed the selection; more --kimg may mend that."
        ratio = 0.0
    elif ratio is None:
        recipe = Recipe("classical", flips, balanced=True)
        trial = Trial(images, fit, validation, made[kept], intended[kept], factor, recipe, steps, device, seed)
        gate = trial.run(out / WORK / "gate", say)
        ratio, reason = decide({float(name): values for name, values in gate.items()})
    else:
        reason = f"{ratio:g} generated images for each real one, as asked, without a trial."
    wanted = np.minimum(additions(counts, ratio, factor), room)
    added = np.concatenate([kept[intended[kept] == label][:many] for label, many in enumerate(wanted)])
    notes += _shortage(images, wanted, np.bincount(intended[added], minlength=len(wanted)))
    if len(added) and images.findings.native["median"] > 1.25 * images.resolution:
        notes.append(
            f"Generated images have {images.resolution} px, real ones {images.findings.native['median']:,}: bring all "
            "to one size before you train, or sharpness tells them apart."
        )
    files = out if format == "folder" else out / WORK / "files"
    write_folder(files, images, run, seed, made, intended, added, chosen)
    if format != "folder":
        pack(files, images.classes, format, out)
        shutil.copy2(files / "manifest.csv", out)
        shutil.rmtree(files)
    rows = {row["class"]: row for row in acceptance(chosen, images.classes)}
    found = Augmentation(
        ratio=ratio,
        reason=reason,
        classes=[
            {"class": name, "real": int(counts[label]), "added": int((intended[added] == label).sum())}
            | {key: round(value, 3) for key, value in rows.get(name, {}).items() if key != "class"}
            for label, name in enumerate(images.classes)
        ],
        gate=gate,
        notes=notes,
        protocol={
            "images": images.source,
            "fingerprint": images.fingerprint,
            "generator": f"{run.config['gan']}, {run.checkpoint}, {len(fit):,} images",
            "judged by": f"{len(validation):,} validation images" if gate else "nothing",
            "recall of the selecting classifiers on reals": _percent(float(np.mean(chosen.real_recall))) + " %",
            "seed": seed,
            "ganfold": ganfold.__version__,
            "date": datetime.now(UTC).date().isoformat(),
        },
    )
    write_json(out / "augmentation.json", asdict(found))  # last: it says that all is there
    return found


def _images(data: str | Path, run: Run | None, resolution: int | None, progress: bool) -> ImageSet:
    if run is None:
        return labelled(data, resolution=resolution, progress=progress)
    about, fit = run.config["data"], run.config["settings"]["fit"]
    if resolution not in (None, about["resolution"]):
        raise GanfoldError(f"{run.path} makes images of {about['resolution']} px: leave out --resolution")
    images = labelled(data, resolution=about["resolution"], channels=about["channels"], fit=fit, progress=progress)
    if run.classes != images.classes:
        raise GanfoldError(f"{run.path} makes no images of the classes of {images.source}: leave out --run")
    return images


def _parts(images: ImageSet, run: Run | None, group: str | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The images to fit on and those that judge, none of which, nor a near-copy, the generator has seen."""
    assert images.labels is not None
    together = groups(images, group)
    if run is None:
        return split(images.labels, together, VALIDATION, seed)
    known = np.isin(together, together[seen(run, images)])
    missing = set(range(len(images.classes))) - set(images.labels[~known].tolist())
    if missing:
        raise GanfoldError(
            f"{run.path} was trained on the images that are to judge it: of {images.classes[min(missing)]} it has seen "
            "all; train it with --held-out 0.2, or leave out --run"
        )
    return np.flatnonzero(known), np.flatnonzero(~known)


def _refuse(images: ImageSet, counts: np.ndarray, room: np.ndarray, yes: bool) -> None:
    if (counts < FLOOR).all():
        raise GanfoldError(f"no class of {images.source} has {FLOOR} images, the least that a generator can learn from")
    if not room.any():
        raise GanfoldError(
            f"no class of {images.source} that has {FLOOR} images has room for more: --factor 2 doubles each"
        )
    if (files := int(room.sum())) > MANY and not yes:
        size = files * images.channels * images.resolution**2 * 0.7 / 1e9
        raise GanfoldError(
            f"this may write {files:,} files, about {size:,.1f} GB: give --yes if that is meant, or a smaller --factor"
        )


def _shortage(images: ImageSet, wanted: np.ndarray, added: np.ndarray) -> list[str]:
    return [
        f"The class {images.classes[label]} gets {added[label]} of {wanted[label]}: no more passed the selection."
        for label in np.flatnonzero((added < wanted) & (added > 0))
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
