"""`ganfold gans`: the GANs, each with its paper and when to use it."""

from __future__ import annotations

from dataclasses import dataclass

from ganfold.gans.registry import Entry, installed
from ganfold.interface.options import verb
from ganfold.interface.result import Result


@dataclass(frozen=True, repr=False)
class Catalogue(Result):
    """The GANs that can be named."""

    gans: dict[str, Entry]

    def lines(self) -> list[str]:
        """Two lines for each GAN: what it is, and when to use it."""
        width = max(map(len, self.gans))
        lines = []
        for name, entry in self.gans.items():
            lines.append(f"{name:{width}}  {entry.summary}")
            if entry.use_when:
                lines.append(f"{'':{width}}  Use it when {entry.use_when}.")
        return [
            *lines,
            "",
            "`ganfold train NAME --help` lists the options of each; FILE.py:CLASS is a GAN of your own.",
        ]


@dataclass(frozen=True)
class Options:
    pass


@verb(Options)
def gans(options: Options) -> Catalogue:
    """List the GANs, each with its paper and when to use it.

    The list has those of ganfold and those that installed packages add.
    """
    return Catalogue(installed())
