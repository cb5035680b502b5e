"""`ganfold train`: from a folder of images to a run; the same call again goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ganfold.errors import GanfoldError
from ganfold.interface.options import Folder, Many, Positional, PythonOnly, open_verb

if TYPE_CHECKING:
    from ganfold.gans.contract import GAN
    from ganfold.runs.run import Run
    from ganfold.training.request import Request


@dataclass(frozen=True)
class Options:
    gan: Annotated[str | type[GAN] | None, Positional] = None  # a name of `ganfold gans`, or FILE.py:CLASS [chosen]
    data: str | Path | None = None  # a folder, zip, array file, hub id, or a bundled set
    out: Annotated[str | Path | None, Folder] = None  # the run's folder [runs/GAN-DATA, or runs/DATA if it is chosen]
    _: KW_ONLY
    restart: bool = False  # delete the run that is there and begin anew
    progress: Annotated[bool, PythonOnly] = True  # print to the console
    command: Annotated[str | None, PythonOnly] = None  # how to repeat this, for the record [this call]
    clock: Annotated[Callable[[], float], PythonOnly] = time.monotonic  # gives the seconds that `minutes` counts
    options: Annotated[Many, PythonOnly] = field(
        default_factory=Many
    )  # any field of `Settings` or of the GAN's `Config`


@open_verb(Options)
def train(options: Options) -> Run:
    """Train a GAN, or go on with a run that was stopped.

    Without a GAN, `ganfold plan` chooses it and everything that no option says; a run that goes on keeps what was
    chosen for it. If `out` holds a run with the same options, that run goes on to the same bits.

    Returns:
        The run, ready to sample from.

    Raises:
        GanfoldError: bad input, a damaged checkpoint, a full disk, or training that became non-finite.
    """
    from ganfold.training.request import Request, default_out
    from ganfold.training.session import train_request

    if options.data is None:
        raise GanfoldError('say on which images: ganfold.train(data="photos/")')
    lines: list[str] = []
    if options.gan is None:
        request, lines = _chosen(options, Path(options.out or default_out(None, options.data)))
    else:
        request = Request.of(options.gan, options.data, options.out, options.options, options.command)
    return train_request(request, restart=options.restart, progress=options.progress, lines=lines, clock=options.clock)


def _chosen(options: Options, out: Path) -> tuple[Request, list[str]]:
    """What a plan chooses, and its lines; what was chosen before for a run that goes on."""
    from ganfold.training.planning import plan_training
    from ganfold.training.request import Request
    from ganfold.training.session import as_before, refuse_folder

    assert options.data is not None
    refuse_folder(out)
    if (out / "config.json").exists() and not options.restart:
        gan_class, requested = as_before(out, options.options)
        return Request.of(gan_class, options.data, out, requested, options.command), []
    plan = plan_training(options.data, out, progress=options.progress, **options.options)
    return Request.of(plan.gan, options.data, out, plan.options, options.command), plan.lines()
