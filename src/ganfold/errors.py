"""The one exception that a user's mistake raises."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GanfoldError(Exception):
    """A mistake that the user can mend: one clear sentence saying what was wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'dcgan'?"` when a known word is near `word`, else `""`."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
