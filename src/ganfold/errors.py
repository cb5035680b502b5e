"""The one exception for mistakes of the user."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GanfoldError(Exception):
    """A mistake that the user can correct. The message is one sentence: what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'dcgan'?"` if a known word is similar to `word`, or `""`."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
