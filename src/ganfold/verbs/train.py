"""`ganfold.train`: one call from a folder of images to a run; the same call again goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ganfold
from ganfold import data as ganfold_data
from ganfold import device
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.files import read_json, read_run, unwritable, write_json
from ganfold.gans import find
from ganfold.gans.contract import GAN
from ganfold.runs.run import Run, about, known
from ganfold.training.journal import GRID, Journal, real_grid
from ganfold.training.loop import Loop
from ganfold.training.options import changed, split
from ganfold.training.options import command as command_of
from ganfold.training.ranks import Ranks
from ganfold.training.settings import FREE_TO_CHANGE, Settings
from ganfold.training.trainer import make_trainer
from ganfold.verbs.plan import default_out, plan, prepare

OURS = ("state.json", "data.json", "log.jsonl", "contact.png", "progress.webp", "report.html", "samples",
        "checkpoints", "tensorboard", "config.json")  # fmt: skip
"""All that a run folder may hold of ours: what `restart` deletes, what makes it a run last."""


def train(
    gan: str | None = None,
    data: str | Path | None = None,
    out: str | Path | None = None,
    *,
    restart: bool = False,
    progress: bool = True,
    command: str | None = None,
    **options: Any,
) -> Run:
    """Train a GAN on images, or go on with a run that was stopped.

    Args:
        gan: its name, e.g. "dcgan" (`ganfold.gans.GANS` has them all). None: what `ganfold.plan` chooses, and around
            the options given all else; a run that goes on keeps what was chosen for it.
        data: a folder, zip, array file, hub id or bundled set; see `ganfold.data.load`.
        out: the run's folder [runs/GAN-DATA, or runs/DATA where no GAN is named]; made if it is not there. If it
            holds a run with the same settings, that goes on.
        restart: delete the run that is there and begin anew.
        progress: print to the console.
        command: how to repeat this, for the record; by default this call as a command line.
        options: any field of the GAN's `Config` (`lr=1e-4`) or of `Settings` (`kimg=500, seed=1`).

    Returns:
        The run, ready to sample from.

    Raises:
        GanfoldError: bad input, a damaged checkpoint, a full disk, or training that became non-finite.
    """
    if data is None:
        raise GanfoldError('say on which images: ganfold.train(data="photos/")')
    out = Path(out or default_out(gan, data))
    lines: list[str] = []
    if gan is None:
        _refuse_folder(out)
        if (out / "config.json").exists() and not restart:
            gan, options = _as_before(out, options)
        else:
            chosen = plan(data, out, progress=progress, **options)
            gan, options, lines = chosen.gan, chosen.options, chosen.lines()
    kind = find(gan)
    config, settings = split(kind, gan, options)
    command = command or command_of(gan, data, out, options)
    where = device.choose(settings.device)
    ranks = Ranks(where.type)
    if ranks.world > 1 and where.type == "cuda":
        where = device.choose("cuda", ranks.local)
    if settings.precision == "bf16":
        device.check_bf16(where)
    journal = Journal(out, progress=progress and ranks.first)
    for line in lines:
        journal.say(line)
    try:
        wanted = {"gan": gan, "config": asdict(config), "settings": asdict(settings)}
        if before := _earlier(out, wanted, restart):
            state = read_json(out / "state.json") if (out / "state.json").exists() else {}
            if settings.is_spent(state.get("images", 0), state.get("minutes", 0.0)):
                journal.say(f"{out} is done: {state['images'] / 1000:,.1f} kimg. For more, raise --kimg or --minutes.")
                return Run(out)
        images = _images(kind, config, data, settings, ranks, progress)
        record = _record(wanted, images, command, where, before)
        _same_data(out, before, record)
        with _one_sentence(out):
            trainer = make_trainer(record, settings, images, where, ranks)
            if ranks.first:  # only now: what cannot be trained leaves no folder behind, and no run deleted
                if restart:
                    _delete_run(out)
                _write_record(out, record, images)
            ranks.wait()
            Loop(trainer, journal, out, settings, record, ranks).run(images)
    finally:
        journal.close()
        ranks.close()
    return Run(out)


def _as_before(out: Path, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The GAN and the options of the run in `out`, those that are given now over them."""
    before = read_run(out)
    given = {name: value for name, value in options.items() if value is not None}
    recorded = changed(known(find(before["gan"]).config_class, before["config"]))
    recorded |= changed(known(Settings, before["settings"]))
    if {"kimg", "minutes"} & given.keys():  # another budget takes the place of the earlier one, whichever it was
        recorded = {name: value for name, value in recorded.items() if name not in ("kimg", "minutes")}
    return before["gan"], recorded | given


def _refuse_folder(out: Path) -> None:
    if (out / "config.json").exists():
        return
    if out.is_file() or (out.is_dir() and any(p.suffix != ".tmp" for p in out.iterdir())):
        raise GanfoldError(f"{out} exists and is not a run: give --out a new or empty folder")


def _earlier(out: Path, wanted: dict[str, Any], restart: bool) -> dict[str, Any] | None:
    """The `config.json` of the run in `out` that goes on, or None where one begins.

    Raises:
        GanfoldError: the folder is something else, or a run with other hyper-parameters and no `restart`.
    """
    _refuse_folder(out)
    if not (out / "config.json").exists():
        return None
    before = read_run(out)
    if restart:
        return None
    wanted = json.loads(json.dumps(wanted))  # tuples become lists, as they did in the file
    old, new = ({"gan": run["gan"], **run["config"], **run["settings"]} for run in (before, wanted))
    for name in new:
        if name not in FREE_TO_CHANGE and old.get(name) != new[name]:
            raise GanfoldError(
                f"{out} was trained with {name} = {old.get(name)} and you ask for {new[name]}: give the old value "
                "to go on, another --out, or --restart to delete it and begin anew"
            )
    return before


def _images(
    kind: type[GAN], config: Any, data: str | Path, settings: Settings, ranks: Ranks, progress: bool
) -> ImageSet:
    """The prepared images; one rank prepares them, the others find them in the cache."""
    for turn in (True, False):
        if ranks.first == turn:
            images = prepare(kind, config, settings, data, progress and ranks.first)
        ranks.wait()
    return images


def _record(
    wanted: dict[str, Any], images: ImageSet, command: str, where: torch.device, before: dict[str, Any] | None
) -> dict[str, Any]:
    """What `config.json` holds: all that is needed to build the GAN again and to repeat the run."""
    return {
        "ganfold": ganfold.__version__,
        **wanted,
        "data": about(images),
        "machine": device.describe(where),
        "command": command,
        "started": before["started"] if before else datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _same_data(out: Path, before: dict[str, Any] | None, record: dict[str, Any]) -> None:
    new, old = record["data"], (before or record)["data"]
    if any((old.get(name) or None) != (new[name] or None) for name in ("fingerprint", "inputs", "words")):
        raise GanfoldError(
            f"{out} was trained on other images than {record['data']['source']} holds now: restore them, "
            "give another --out, or --restart to delete the run and begin anew"
        )


def _write_record(out: Path, record: dict[str, Any], images: ImageSet) -> None:
    (out / "samples").mkdir(parents=True, exist_ok=True)
    write_json(out / "config.json", record)
    write_json(out / "data.json", images.findings.to_json())
    if not (out / "contact.png").exists():  # a run that goes on has the same images, and these pictures of them
        ganfold_data.contact_sheet(images, out / "contact.png")
    if not (out / "samples" / "reals.png").exists():
        chosen = np.random.default_rng(record["settings"]["seed"]).permutation(images.train)[:GRID]
        real_grid(images.images[chosen], out)


@contextmanager
def _one_sentence(out: Path) -> Iterator[None]:
    """Turn what the machine refuses into one sentence."""
    try:
        yield
    except OSError as error:
        raise unwritable(out, error) from error
    except (RuntimeError, MemoryError) as error:
        if not device.ran_out_of_memory(error):
            raise
        raise GanfoldError(device.OUT_OF_MEMORY) from error


def _delete_run(out: Path) -> None:
    for name in OURS:
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
