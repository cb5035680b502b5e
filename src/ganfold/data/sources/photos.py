"""The derived set `photos`: squares of nine photographs at three scales. A photograph is held out as a whole."""

from __future__ import annotations

from pathlib import Path

from ganfold.data.sources import squares, tree
from ganfold.data.sources.source import Listing, Source, bundled_file, key_of

VERSION = 1  # raise it when the code below cuts other squares: the cache then makes the set again
SIDE = 128  # px a side of a square
STEP = 64  # px from one square to the next: neighbours share half of their pixels
SCALES = (1, 2, 4)  # a photograph of 1,280 px is also cut at 640 and 320 px, where a square shows more of it


def photos() -> Source:
    """The squares of the bundled photographs, with the author and the licence of each."""
    path = bundled_file("photos.zip")
    key = key_of("photos", path.name, path.stat().st_size, VERSION, squares.VERSION, SIDE, STEP, SCALES)

    def listing(scratch: Path) -> Listing:
        whole = tree.zipped(path).list(scratch)
        made = squares.cut(whole, scratch, SIDE, STEP, scales=SCALES)
        made.notes.append(f"Squares of {len(whole.names)} photographs, at full, half and quarter scale.")
        return made

    return Source(key, listing)
