"""The one exception for mistakes of the user, and the words that tell of them."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable

OTHER_NAMES = {  # names that other programs have for our options and verbs
    "learning-rate": "lr", "epochs": "kimg", "epoch": "kimg", "steps": "kimg", "iterations": "kimg", "iters": "kimg",
    "batch-size": "batch", "bs": "batch", "size": "resolution", "image-size": "resolution", "img-size": "resolution",
    "gpu": "device", "gpus": "device", "cuda": "device", "outdir": "out", "output": "out", "output-dir": "out",
    "dataset": "data", "data-dir": "data", "model": "gan", "latent-dim": "z-dim", "nz": "z-dim", "beta1": "betas",
    "mirror": "flips", "n": "count", "num-samples": "count", "list": "gans", "generate": "sample", "eval": "evaluate",
    "fid": "evaluate", "resume": "train", "info": "env",
}  # fmt: skip

# What a terminal would obey: control characters, lone surrogates, separators of lines, changes of direction.
_COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class GanfoldError(Exception):
    """A mistake that the user can correct. The message is one sentence: what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2. It may hold names and words of libraries from
    anywhere: what a terminal would obey stands as escapes.
    """

    is_told = False  # whether another process prints the sentence

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'dcgan'?"` if a known word is similar to `word` or is our name for it, or `""`."""
    words = {name.replace("_", "-"): name for name in known}
    spelt = word.replace("_", "-")
    ours = OTHER_NAMES.get(spelt.lower())
    near = [ours] if ours in words else difflib.get_close_matches(spelt, words, n=1)
    return f"; did you mean {words[near[0]]!r}?" if near else ""


def tell(text: str) -> None:
    """Print one line. What the encoding of stdout lacks is written as escapes.

    Raises:
        GanfoldError: stdout cannot be written. That its reader has left stays a BrokenPipeError.
    """
    code = sys.stdout.encoding or "utf-8"
    try:
        print(printable(text).encode(code, "backslashreplace").decode(code))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise GanfoldError(f"cannot print: {error.strerror or error}") from error


def printable(text: str) -> str:
    """One line of text as a terminal may be given it: what it would obey stands as escapes, such as \\u001b."""
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
