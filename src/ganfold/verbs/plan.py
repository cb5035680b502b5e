"""`ganfold plan`: which GAN, how large and for how long, from the images, the device and a few measured steps."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ganfold.interface.options import Folder, Many, Positional, PythonOnly, open_verb

if TYPE_CHECKING:
    from ganfold.gans.contract import GAN
    from ganfold.training.planning import Plan


@dataclass(frozen=True)
class Options:
    data: Annotated[str | Path, Positional]  # a folder, zip, array file, hub id, or a bundled set
    out: Annotated[str | Path | None, Folder] = None  # the run's folder, for the command [runs/DATA]
    _: KW_ONLY
    gan: str | type[GAN] | None = None  # the GAN: a name of `ganfold gans`, or FILE.py:CLASS [chosen]
    progress: Annotated[bool, PythonOnly] = True  # show a bar while images are prepared
    options: Annotated[Many, PythonOnly] = field(
        default_factory=Many
    )  # any field of `Settings` or of the GAN's `Config`


@open_verb(Options)
def plan(options: Options) -> Plan:
    """Choose what to train on these images and for how long, say why, and what it will take.

    It makes a few real steps, trains nothing, and writes nothing but the cache of prepared images. The options that
    are given are kept, and the rest is chosen around them. `ganfold plan DATA --gan NAME` takes all options of that
    GAN, as `ganfold train NAME --help` lists them.

    Raises:
        GanfoldError: bad input, or memory does not hold the smallest part of a batch.
    """
    from ganfold.training.planning import plan_training

    return plan_training(options.data, options.out, gan=options.gan, progress=options.progress, **options.options)
