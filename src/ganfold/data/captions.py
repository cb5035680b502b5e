"""Captions and places: the texts, boxes and keypoints in the metadata of images, as numbers."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganfold.errors import GanfoldError

LENGTH = 24  # words of a caption that are used
PLAIN = re.compile(r"[^\W_]+")  # a word of letters and digits; the only kind in vocabularies of earlier versions
UNSPACED = re.compile(  # a character of Thai and Lao, Burmese, Khmer, kana, or Chinese
    r"[\u0e01-\u0e4f\u0e81-\u0ecd\u0edc-\u0edf\u1000-\u103f\u1050-\u108f\u1780-\u17d3\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
TEXTS = ("text", "caption")  # the names of the column that holds it


@dataclass(frozen=True)
class Captions:
    """What image i shows, and where."""

    words: tuple[str, ...]  # the vocabulary: number n + 1 is word n, 0 is no word
    tokens: np.ndarray  # uint16 (N, LENGTH): numbers of words
    boxes: np.ndarray  # float32 (N, 4): left, top, width, height as shares of the image
    keypoints: np.ndarray | None  # float32 (N, K, 3): x, y as shares of the image, and 1 if visible, 0 if not


def words_of(text: str) -> list[str]:
    """The words of a caption in lower case, without punctuation.

    A letter's marks, such as the vowels of Hindi and Thai, belong to its word. Chinese, Japanese, Thai and others are
    written without spaces: each of their characters is a word.
    """
    return [word for run in _runs(text) for word in _parted(run)]


def _runs(text: str) -> list[str]:
    """The parts of a text between spaces and punctuation, in lower case."""
    lower = text.lower()
    if lower.isascii():
        return PLAIN.findall(lower)
    kept = [c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in lower]
    return "".join(kept).split()


def _parted(run: str) -> list[str]:
    if run.isascii():
        return [run]
    composed = unicodedata.normalize("NFC", run)
    marked = "".join(c if unicodedata.category(c)[0] == "M" else "\0" + c for c in composed)
    words, joined = [], ""
    for character in marked.split("\0"):  # a character with its marks
        if UNSPACED.match(character):
            words += [joined, character]
            joined = ""
        else:
            joined += character
    return [word for word in [*words, joined] if word]


def tokens_of(text: str, words: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """A caption as numbers, uint16 (LENGTH,), and those of its words that are not in the vocabulary `words`.

    The vocabulary decides what a word is. One of an earlier version holds whole clauses of Chinese.
    """
    number = {word: place for place, word in enumerate(words, 1)}
    used: list[str] = []
    for run in _runs(text):
        earlier = PLAIN.findall(run)
        used += earlier if earlier and all(word in number for word in earlier) else _parted(run)
    known = [number[word] for word in used if word in number][:LENGTH]
    return np.array(known + [0] * (LENGTH - len(known)), np.uint16), [word for word in used if word not in number]


def captions_of(
    rows: Sequence[dict[str, Any]] | None, source: str, names: Sequence[str], words: Sequence[str] | None = None
) -> tuple[Captions, dict[int, str]]:
    """The captions of all images, and what is wrong with which image.

    Args:
        rows: the metadata of each image; None: there is none.
        source: what the user calls the source, for errors.
        names: the name of each image, for errors.
        words: the vocabulary [every word in the captions].

    Raises:
        GanfoldError: there is no metadata, or no row of it has a text and a box.
    """
    needs = (
        'metadata.jsonl with a line for each image: {"file_name": ..., "text": ..., "box": [left, top, width, height]}'
    )
    if rows is None:
        raise GanfoldError(f"{source} has no captions: it needs {needs}, as shares of the image")
    texts: list[str] = []
    boxes = np.zeros((len(names), 4), np.float32)
    points: list[Any] = []
    faults: dict[int, str] = {}
    for place, row in enumerate(rows):
        text = text_of(row)
        texts.append(text)
        points.append(row.get("keypoints"))
        if not words_of(text):
            faults[place] = "no caption: its metadata has no text"
        elif fault := box_fault(row.get("box")):
            faults[place] = fault
        else:
            boxes[place] = row["box"]
    if len(faults) == len(names):
        raise GanfoldError(f"{source} has no usable caption ({names[0]}: {faults[0]}): it needs {needs}")
    if words is None:
        words = sorted({word for text in texts for word in words_of(text)})
    tokens = np.stack([tokens_of(text, words)[0] for text in texts])
    return Captions(tuple(words), tokens, boxes, _keypoints(points, faults)), faults


def text_of(row: dict[str, Any]) -> str:
    """The caption in a row of metadata; "" if there is none."""
    return next((row[name] for name in TEXTS if isinstance(row.get(name), str)), "")


def box_fault(box: Any) -> str:
    """What is wrong with a box, in words; "" if it is [left, top, width, height] of a place inside an image."""
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


def _keypoints(rows: Sequence[Any], faults: dict[int, str]) -> np.ndarray | None:
    """float32 (N, K, 3); None if no image has keypoints. Images with another number of them are added to `faults`."""
    count = next((len(row) for place, row in enumerate(rows) if place not in faults and isinstance(row, list)), 0)
    if not count:
        return None
    keypoints = np.zeros((len(rows), count, 3), np.float32)
    for place, row in enumerate(rows):
        try:
            points = np.array([[*point, 1][:3] for point in row], np.float32)
            if points.shape != keypoints[place].shape or not np.isfinite(points).all():  # or one would be broadcast
                raise ValueError
            keypoints[place] = points
        except (TypeError, ValueError):
            faults.setdefault(place, f"not {count} keypoints [x, y] or [x, y, 1 if seen]: {row!r:.60}")
    return keypoints
