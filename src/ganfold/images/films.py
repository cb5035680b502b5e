"""Films: frames in memory as an animated WebP or GIF, or as an MP4."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganfold.data.sources.decode import SHEET_XMP
from ganfold.errors import GanfoldError
from ganfold.files import write_atomically

SUFFIXES = (".webp", ".gif", ".mp4")
CODEC = "vp09"  # browsers play it, and OpenCV's wheels bring it; they bring no H.264


def save(frames: Sequence[Image.Image], path: Path, durations: Sequence[int]) -> None:
    """Write frames of one size as a film, whole or not at all. A WebP and a GIF repeat for ever.

    Args:
        path: ends with .webp, .gif or .mp4.
        durations: of each frame, in milliseconds. An MP4 shows all for the mean of them.

    Raises:
        GanfoldError: there is no space, or no codec for an MP4.
    """
    kind = path.suffix.lower()
    if kind == ".mp4":
        write_atomically(path, lambda temporary: _write_mp4(frames, path, temporary, sum(durations) / len(durations)))
        return
    shown = [frame if frame.mode in ("L", "RGB", "RGBA") else frame.convert("RGB") for frame in frames]
    options: dict[str, Any] = {"format": "WEBP", "quality": 90, "xmp": SHEET_XMP}
    if kind == ".gif":
        options = {"format": "GIF", "disposal": 2, "comment": SHEET_XMP}
        shown = [_on_white(frame).quantize(256, Image.Quantize.MEDIANCUT) for frame in shown]
    first, *rest = shown
    write_atomically(
        path,
        lambda temporary: first.save(
            temporary, save_all=True, append_images=rest, duration=list(durations), loop=0, **options
        ),
    )


def _write_mp4(frames: Sequence[Image.Image], path: Path, temporary: Path, duration: float) -> None:
    import cv2

    width, height = (side + side % 2 for side in frames[0].size)  # codecs want even sides
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    made = temporary.with_name(temporary.name + ".mp4")  # OpenCV takes the container from the suffix
    try:
        writer = cv2.VideoWriter(str(made), cv2.VideoWriter.fourcc(*CODEC), 1000 / duration, (width, height))
        if not writer.isOpened():
            raise GanfoldError(f"{path}: this OpenCV writes no MP4: end --out with .webp or .gif")
        for frame in frames:
            sheet = Image.new("RGB", (width, height), "white")
            sheet.paste(_on_white(frame))
            writer.write(np.asarray(sheet)[..., ::-1].copy())
        writer.release()
        made.replace(temporary)
    finally:
        made.unlink(missing_ok=True)
        cv2.utils.logging.setLogLevel(level)


def _on_white(frame: Image.Image) -> Image.Image:
    if frame.mode != "RGBA":
        return frame.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", frame.size, "white"), frame).convert("RGB")
