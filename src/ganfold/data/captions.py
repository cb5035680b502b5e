"""Captions and places: what `metadata.jsonl` says of each picture, as numbers."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganfold.errors import GanfoldError

LENGTH = 24  # words of a caption that are used
TEXTS = ("text", "caption")  # columns that may hold it


@dataclass(frozen=True)
class Captions:
    """What image i shows, and where."""

    words: tuple[str, ...]  # the vocabulary; number n + 1 is word n, 0 is nothing
    tokens: np.ndarray  # uint16 (N, LENGTH)
    boxes: np.ndarray  # float32 (N, 4): left, top, width, height as shares of the image
    keypoints: np.ndarray | None  # float32 (N, K, 3): x, y as shares of the image, and 1 where it can be seen


def words_of(text: str) -> list[str]:
    """The words of a caption, in small letters, without what stands between them."""
    return re.findall(r"[^\W_]+", text.lower())


def tokens_of(text: str, words: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """A caption as uint16 (LENGTH,) numbers, and the words of it that are not in the vocabulary."""
    number = {word: place for place, word in enumerate(words, 1)}
    found = words_of(text)
    known = [number[word] for word in found if word in number][:LENGTH]
    return np.array(known + [0] * (LENGTH - len(known)), np.uint16), [word for word in found if word not in number]


def captions(
    rows: Sequence[dict[str, Any]] | None, source: str, names: Sequence[str], words: Sequence[str] | None = None
) -> tuple[Captions, dict[int, str]]:
    """Captions of all images from their metadata, and what is wrong with which image.

    Args:
        rows: metadata of each image.
        source, names: for errors.
        words: the vocabulary; None: every word that comes.

    Raises:
        GanfoldError: there is no metadata, or none of it has a text and a box.
    """
    needs = (
        'metadata.jsonl with a line for each image: {"file_name": ..., "text": ..., "box": [left, top, width, height]}'
    )
    if rows is None:
        raise GanfoldError(f"{source} has no captions: it needs {needs}, as shares of the image")
    texts: list[str] = []
    boxes = np.zeros((len(names), 4), np.float32)
    points: list[Any] = []
    wrong: dict[int, str] = {}
    for place, row in enumerate(rows):
        text = next((row[name] for name in TEXTS if isinstance(row.get(name), str)), "")
        texts.append(text)
        points.append(row.get("keypoints"))
        if not words_of(text):
            wrong[place] = "no caption: its metadata has no text"
        elif fault := box_fault(row.get("box")):
            wrong[place] = fault
        else:
            boxes[place] = row["box"]
    if len(wrong) == len(names):
        raise GanfoldError(f"{source} has no usable caption ({names[0]}: {wrong[0]}): it needs {needs}")
    if words is None:
        counts = Counter(word for text in texts for word in set(words_of(text)))
        words = sorted(counts)
    tokens = np.stack([tokens_of(text, words)[0] for text in texts])
    return Captions(tuple(words), tokens, boxes, _keypoints(points, wrong)), wrong


def box_fault(box: Any) -> str:
    """What is wrong with a box, in words; nothing where it is left, top, width and height inside an image."""
    if not (
        isinstance(box, list) and len(box) == 4 and all(isinstance(n, int | float) and math.isfinite(n) for n in box)
    ):
        return f"no box of four numbers: {box!r:.60}"
    left, top, width, height = box
    if not (width > 0 and height > 0):
        return f"a box of no area: {box}"
    slack = 1e-3
    if min(left, top) < -slack or left + width > 1 + slack or top + height > 1 + slack:
        return f"a box outside its image: {box} (left, top, width and height are shares of it, 0 to 1)"
    return ""


def _keypoints(said: Iterable[Any], wrong: dict[int, str]) -> np.ndarray | None:
    """float32 (N, K, 3), where every usable image has K of them."""
    rows: list[Any] = list(said)
    count = next((len(row) for place, row in enumerate(rows) if place not in wrong and isinstance(row, list)), 0)
    if not count:
        return None
    made = np.zeros((len(rows), count, 3), np.float32)
    for place, row in enumerate(rows):
        try:
            points = np.array([[*point, 1][:3] for point in row], np.float32)
            if points.shape != made[place].shape or not np.isfinite(points).all():  # one would be taken for all
                raise ValueError
            made[place] = points
        except (TypeError, ValueError):
            wrong.setdefault(place, f"not {count} keypoints [x, y] or [x, y, 1 if seen]: {row!r:.60}")
    return made
