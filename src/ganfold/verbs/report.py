"""`ganfold report`: one HTML file that shows a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ganfold.interface.options import Positional, verb
from ganfold.interface.result import Written


@dataclass(frozen=True)
class Options:
    run: Annotated[str | Path, Positional]  # a run folder


@verb(Options)
def report(options: Options) -> Written:
    """Write one HTML file that shows a run: verdict, images, curves, metrics, copies, data and settings.

    The metrics are those that `ganfold evaluate` and `ganfold copies` have left in the run's folder. The file is
    called report.html and lies in that folder. It holds all that it shows, and opens without a network.

    Returns:
        The path of the file.

    Raises:
        GanfoldError: the folder is not a run, one of its files is damaged, or the disk is full.
    """
    from ganfold.pages.run_page import write_report

    return Written(write_report(Path(options.run)))
