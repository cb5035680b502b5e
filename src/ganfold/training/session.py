"""One call of `train`: a run begins, or goes on where it stopped."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganfold import data as ganfold_data
from ganfold import device as devices
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.files import is_leftover, locked, unwritable, write_json
from ganfold.gans.contract import GAN
from ganfold.interface.result import version
from ganfold.interface.settings import FREE_TO_CHANGE
from ganfold.runs.forms import FORMS, forms_of, measured_forms
from ganfold.runs.record import LOG, NAME, NEWEST, DataRecord, RunRecord
from ganfold.runs.run import Run
from ganfold.training.journal import GRID, Journal, real_grid
from ganfold.training.loop import Loop
from ganfold.training.planning import prepare
from ganfold.training.ranks import Ranks
from ganfold.training.request import Request, changed
from ganfold.training.trainer import make_trainer

DOING = "a training"  # what is said to a second one in the same folder
OWN_FILES = (
    "state.json",
    "data.json",
    LOG,
    NEWEST,
    "contact.png",
    "progress.webp",
    "report.html",
    "evaluation.json",
    "copies.json",
    "copies.png",
    "probe.json",
    FORMS,
    "samples",
    "checkpoints",
    "tensorboard",
)
"""Files that ganfold writes into a run folder beside its record. `restart` deletes these and nothing else."""


def train_request(
    request: Request,
    *,
    restart: bool = False,
    progress: bool = True,
    lines: Sequence[str] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Run:
    """Train what is requested until its budget is spent or somebody stops it.

    Args:
        restart: delete the run that is there, and begin anew.
        progress: print to the console.
        lines: what to print first.
        clock: gives the seconds that the budget in minutes counts.

    Raises:
        GanfoldError: bad input, a damaged checkpoint, a full disk, or training that became non-finite.
    """
    device, ranks = _device_and_ranks(request)
    journal = Journal(request.out, progress=progress and ranks.first)
    for line in lines:
        journal.say(line)
    try:
        before = earlier_run(request, restart)
        done = _spent(request) if before else ""
        if before and ranks.first:
            _note_origin(before, request)
        if before and done:
            if ranks.first:
                _check_images(before, request, device, progress)
                with locked(request.out, DOING):  # which removes what a kill has left
                    pass
            journal.say(done)
        else:
            if ranks.first and (request.out / NAME).exists():
                with locked(request.out, DOING):  # a call that comes second hears so before it prepares images
                    pass
            images = _images(request, ranks, progress, before)
            for line in images.findings.troubles("in data.json"):
                journal.say(line)
            request = _fitted(request, images, journal)
            record = _record(request, images, device, before)
            _train(record, request, images, device, ranks, journal, restart, clock, before)
    finally:
        journal.close()
        ranks.close()
    run = Run(request.out, gan=request.gan_class)
    run.was_done = bool(done)
    return run


def as_before(
    out: Path, options: Mapping[str, Any], gan: str | type[GAN] | None = None
) -> tuple[type[GAN], dict[str, Any]]:
    """The GAN and the options of the run in `out`; the options that are requested now replace its own."""
    before = RunRecord.read(out)
    gan_class = before.gan_class(gan)
    requested = {name: value for name, value in options.items() if value is not None}
    recorded = changed(before.gan_config(gan_class)) | changed(before.settings)
    if {"kimg", "minutes"} & requested.keys():  # a new budget replaces the earlier one, whichever kind that was
        recorded = {name: value for name, value in recorded.items() if name not in ("kimg", "minutes")}
    return gan_class, recorded | requested


def refuse_folder(out: Path) -> None:
    """See that `out` is a run, empty or not there.

    Raises:
        GanfoldError: it holds something else.
    """
    if (out / NAME).exists():
        return
    if out.is_file() or (out.is_dir() and not all(map(_is_unbegun, out.iterdir()))):
        raise GanfoldError(f"{out} exists and is not a run: give --out a new or empty folder")


def _is_unbegun(path: Path) -> bool:
    """Whether a training that was killed before it wrote its record may have left this."""
    if path.name in ("samples", "checkpoints") and path.is_dir() and not path.is_symlink():
        return all(map(is_leftover, path.iterdir()))
    return is_leftover(path)


def earlier_run(request: Request, restart: bool) -> RunRecord | None:
    """The record of the run that goes on; None where one begins.

    Raises:
        GanfoldError: the folder holds something else, or a run with other options and no `restart`.
    """
    refuse_folder(request.out)
    if not (request.out / NAME).exists():
        return None
    before = RunRecord.read(request.out)
    if restart:
        return None
    request = request.fitted(before.data.images)
    content = before.to_dict()
    # An option that an older version did not have stands at its default, which does what that version did.
    defaults = {field.name: field.default for field in fields(request.gan_class.config_class)}
    old = {"gan": before.gan, **defaults, **content["config"], **content["settings"]}
    old, new = (json.loads(json.dumps(values)) for values in (old, request.choices()))  # tuples become lists in both
    for name in new:
        if name not in FREE_TO_CHANGE and old.get(name) != new[name]:
            raise GanfoldError(
                f"{request.out} was trained with {name} = {old.get(name)}, and {new[name]} is requested: give the old "
                "value to go on, another --out, or --restart to delete it and begin anew"
            )
    return before


def _note_origin(before: RunRecord, request: Request) -> None:
    """Say where the file of a GAN from outside has changed."""
    if before.origin and request.origin and before.origin.sha256 != request.origin.sha256:
        before.gan_class(request.gan_class)


def _device_and_ranks(request: Request) -> tuple[torch.device, Ranks]:
    device = devices.choose(request.settings.device)
    ranks = Ranks(device.type)
    if ranks.world > 1 and device.type == "cuda":
        device = devices.choose("cuda", ranks.local)
    if request.settings.precision == "bf16":
        devices.check_bf16(device)
    return device, ranks


def _spent(request: Request) -> str:
    """A sentence where the run's budget is used up; "" where it is not."""
    state = Run(request.out).state
    if not request.settings.is_spent(state.get("images", 0), state.get("minutes", 0.0)):
        return ""
    if state.get("status") == "running":  # killed after its last step: what a run ends with is not there yet
        return ""
    return f"{request.out} is done: {state['images'] / 1000:,.1f} kimg. For more, raise --kimg or --minutes."


def _images(request: Request, ranks: Ranks, progress: bool, before: RunRecord | None) -> ImageSet:
    """The prepared images; one rank prepares them, the others find them in the cache."""
    for turn in (True, False):
        if ranks.first == turn:
            images = _prepared(request, progress and ranks.first, before)
        ranks.wait()
    return images


def _fitted(request: Request, images: ImageSet, journal: Journal) -> Request:
    """The request with a batch that the images fill, where nobody named another."""
    fitted, count = request.fitted(len(images.train)), len(images.train)
    if fitted is not request:
        journal.say(
            f"The default batch of {request.gan} is {request.config.batch}, and there are only {count} images to "
            f"train on: the batch is {fitted.config.batch}."
        )
    return fitted


def _prepared(request: Request, progress: bool, before: RunRecord | None) -> ImageSet:
    record = before.data if before else None
    return prepare(request.gan_class, request.config, request.settings, request.data, progress, record)


def _check_images(before: RunRecord, request: Request, device: torch.device, progress: bool) -> None:
    """See that a run that is done was trained on the images of the request. Its own may be gone by now.

    Raises:
        GanfoldError: these are others.
    """
    source = before.sources(request.gan_class)[0]
    try:
        images = _prepared(request, progress, before)
    except GanfoldError:
        if Path(source).absolute() != Path(request.data).absolute():
            raise
        return
    _record(request, images, device, before)


def _record(request: Request, images: ImageSet, device: torch.device, before: RunRecord | None) -> RunRecord:
    """The new content of `config.json`.

    Raises:
        GanfoldError: the run that goes on was trained on other images.
    """
    data = DataRecord.of(images)
    if before and not before.data.is_same_as(data):
        raise GanfoldError(
            f"{request.out} was trained on other images than {data.source} holds now: restore them, "
            "give another --out, or --restart to delete the run and begin anew"
        )
    return RunRecord(
        gan=request.gan,
        config=dict(vars(request.config)),
        settings=request.settings,
        data=data,
        command=request.command,
        started=before.started if before else datetime.now(UTC).isoformat(timespec="seconds"),
        machine=devices.describe(device),
        ganfold=version(),
        origin=request.origin,
        measured_forms=before.measured_forms if before else device.type == "cpu",
    )


def _train(
    record: RunRecord,
    request: Request,
    images: ImageSet,
    device: torch.device,
    ranks: Ranks,
    journal: Journal,
    restart: bool,
    clock: Callable[[], float],
    before: RunRecord | None,
) -> None:
    out = request.out
    with _one_sentence(out):
        trainer = make_trainer(record, request.gan_class, images, device, ranks)
        # Only now: what cannot be trained leaves no folder behind, and deletes no run.
        with locked(out, DOING) if ranks.first else nullcontext():
            if ranks.first:
                if not restart and earlier_run(request, restart) != before:
                    raise GanfoldError(f"another training has just written {out}: give the same command again")
                if restart:
                    _delete_run(out)
                _write_record(out, record, images)
            ranks.wait()
            # Several ranks measure nothing: what one found could differ from what another found.
            forms = measured_forms(out) if record.measured_forms and ranks.world == 1 else forms_of(out)
            with forms.used():
                Loop(trainer, journal, out, record, ranks, clock).run(images)


def _write_record(out: Path, record: RunRecord, images: ImageSet) -> None:
    record.write(out)  # first, since it makes the folder a run: a training that is killed after it goes on
    write_json(out / "data.json", images.findings.to_dict())
    if not (out / "contact.png").exists():  # a run that goes on has the same images, and these pictures of them
        ganfold_data.contact_sheet(images, out / "contact.png")
    if not (out / "samples" / "reals.png").exists():
        chosen = np.random.default_rng(record.settings.seed).permutation(images.train)[:GRID]
        real_grid(images.images[chosen], out)


@contextmanager
def _one_sentence(out: Path) -> Iterator[None]:
    """Turn what the machine refuses into one sentence."""
    try:
        yield
    except OSError as error:
        raise unwritable(out, error) from error
    except (RuntimeError, MemoryError) as error:
        if not devices.ran_out_of_memory(error):
            raise
        raise GanfoldError(devices.OUT_OF_MEMORY) from error


def _delete_run(out: Path) -> None:
    """Delete all but the record, which the new one replaces: without it the folder could not be restarted again."""
    for name in OWN_FILES:
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
