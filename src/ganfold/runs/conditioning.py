"""What samples are conditioned on: labels, fields of held-out images, or a text and a place that somebody requests."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganfold.data import ImageSet
from ganfold.data.captions import box_fault, tokens_of
from ganfold.data.fields import Fields
from ganfold.errors import GanfoldError
from ganfold.gans import noise
from ganfold.gans.contract import GAN, Batch, Condition, Terms
from ganfold.images.pixels import to_rows
from ganfold.runs.record import RunRecord

Conditioning = Callable[[Tensor], Condition]  # numbers of samples, int64 (B,) -> their condition
Labelling = Callable[[Tensor], Tensor]  # numbers of samples, int64 (B,) -> numbers of their classes, int64 (B,)


def labelled(labelling: Labelling) -> Conditioning:
    """Conditions samples on labels."""
    return lambda rows: {"label": labelling(rows)}


def as_frequent_as(counts: Sequence[float], seed: int) -> Labelling:
    """Labels drawn by the seed, each class as often as these counts say."""
    edges = torch.tensor(counts, dtype=torch.float64).cumsum(0)

    def labels(rows: Tensor) -> Tensor:  # on the CPU: not every device has float64
        drawn = noise.uniform(noise.key_of(seed, "label"), rows.cpu()).double() * edges[-1]
        return torch.searchsorted(edges, drawn, right=True).to(rows.device)

    return labels


def class_rows(count: int, classes: int, start: int = 0) -> tuple[int, int, Labelling]:
    """A grid of about `count` samples, from sample `start` on, with a row for each class (for the first of many).

    Returns:
        How many samples the grid has, how many columns, and their labels.
    """
    rows = classes if 2 * classes <= count else min(classes, max(1, math.isqrt(count)))
    columns = max(1, round(count / rows))
    return rows * columns, columns, lambda numbers: (numbers - start) // columns % classes


class HeldOutConditioning:
    """Conditions samples on held-out images: sample `i` uses image `i`, wrapping around.

    Where none is held out it uses training images. `seed` decides their order, and what the GAN itself draws (a mask).
    """

    def __init__(self, gan: GAN, data: ImageSet, seed: int, device: torch.device | None = None) -> None:
        self.gan, self.seed, self.device = gan, seed, device or torch.device("cpu")
        self.data, self._fields = data, Fields(data, torch.device("cpu"))
        order = np.random.default_rng(seed)  # on disk they often lie class by class
        self.images = order.permutation(data.held_out if len(data.held_out) else data.train)
        other = data.inputs if data.partner is None else None
        self._others = (
            None if other is None else order.permutation(other.held_out if len(other.held_out) else other.train)
        )

    def batch(self, rows: Tensor) -> Batch:
        """The real images, with all their fields, of the samples with these numbers."""
        numbers = rows.cpu().numpy()
        others = None if self._others is None else self._others[numbers % len(self._others)]
        fields = self._fields(self.images[numbers % len(self.images)], others)
        batch = Batch({name: values.to(self.device) for name, values in fields.items()}, rows.to(self.device))
        batch.begin(self.seed, "given")
        return batch

    def __call__(self, rows: Tensor) -> Terms:
        return self.gan.condition(self.batch(rows))

    def beside(self, made: np.ndarray, start: int = 0) -> tuple[np.ndarray, int]:
        """Samples from `start` on, uint8 (N, H, W, C), each between its input and the image that it should be.

        Returns:
            uint8 (N * K, H, W, C), and K: 3; 2 where no target is known; 1 where the condition holds no image.
        """
        batch = self.batch(torch.arange(start, start + len(made), device=self.device))
        channels = made.shape[3]
        shown = [
            field[:, :channels]  # one more channel says what is seen
            for field in self.gan.condition(batch).values()
            if field.ndim == 4 and field.shape[1] in (1, channels, channels + 1)
        ]
        if not shown:
            return made, 1
        parts = [_enlarged(shown[0], made.shape), made]
        if self._others is None:
            parts.append(_enlarged(batch["image"], made.shape))
        return np.stack(parts, 1).reshape(-1, *made.shape[1:]), len(parts)


def held_out_conditioning(
    gan: GAN, data: ImageSet, seed: int, device: torch.device | None = None
) -> HeldOutConditioning | None:
    """`HeldOutConditioning` where the GAN needs fields of real images; None where it samples latents and labels."""
    return HeldOutConditioning(gan, data, seed, device) if gan.conditioned_on_images else None


def requested_conditioning(
    record: RunRecord,
    path: Path,
    others: Callable[[], Conditioning | None],
    text: str | None = None,
    box: str | Sequence[float] | None = None,
    keypoints: str | Sequence[float] | None = None,
) -> Conditioning:
    """Conditions samples on a text or a place that somebody requests.

    Args:
        record, path: of the run.
        others: gives the conditioning for what is not requested.
        text: what to draw.
        box: left, top, width and height as shares of the image, as numbers or as in "0.5,0.1,0.4,0.8".
        keypoints: x and y of each keypoint as shares of the image, likewise.

    Raises:
        GanfoldError: the run takes no such thing, or it says nothing.
    """
    where = str(record.option("where", "box"))
    if not record.data.words:
        raise GanfoldError(f"{path} takes no text and no place: {record.gan} was trained without")
    requested: dict[str, Tensor] = {}
    if text is not None:
        requested["text"] = _text(record, path, text)
    for name, value in (("box", box), ("keypoints", keypoints)):
        if value is None:
            continue
        if name != where:
            raise GanfoldError(f"{path} was trained with --where {where}: give --{where}, not --{name}")
        requested[name] = _box(value) if name == "box" else _keypoints(value, record.data.keypoints)
    rest = None if requested.keys() >= {"text", where} else others()

    def conditioning(rows: Tensor) -> Condition:
        fields = {name: value.to(rows.device).expand(len(rows), *value.shape[1:]) for name, value in requested.items()}
        return {**(rest(rows) if rest else {}), **fields}

    return conditioning


def unknown_words(record: RunRecord, text: str) -> list[str]:
    """The words of a text that were in no caption of the training images: they change nothing."""
    return tokens_of(text, record.data.words)[1]


def _text(record: RunRecord, path: Path, text: str) -> Tensor:
    words = record.data.words
    numbers, strange = tokens_of(text, words)
    if not numbers.any():
        known = ", ".join(words[:60]) + (", ..." if len(words) > 60 else "")
        what = f"holds no word that was in its captions: {text!r:.60}" if strange else "is empty"
        raise GanfoldError(f"--text for {path} {what} (known: {known})")
    return torch.from_numpy(numbers.astype(np.int64))[None]


def _numbers(value: str | Sequence[float], name: str, what: str, count: int) -> list[float]:
    try:
        numbers = [float(part) for part in (re.split(r"[,;\s]+", value.strip()) if isinstance(value, str) else value)]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise GanfoldError(f"--{name} must be {count} numbers, {what} as shares of the image, not {value!r:.80}")
    return numbers


def _box(value: str | Sequence[float]) -> Tensor:
    numbers = _numbers(value, "box", "left, top, width and height", 4)
    if fault := box_fault(numbers):
        raise GanfoldError(f"--box is {fault}")
    return torch.tensor([numbers])


def _keypoints(value: str | Sequence[float], count: int) -> Tensor:
    numbers = _numbers(value, "keypoints", f"x and y of each of {count} keypoints", 2 * count)
    if min(numbers) < 0 or max(numbers) > 1:
        raise GanfoldError(f"--keypoints holds a point outside the image: {value!r:.80}")
    points = torch.tensor(numbers).view(1, count, 2)
    return torch.cat([points, torch.ones(1, count, 1)], 2)


def _enlarged(images: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Images (B, 1 or C, h, w) in [-1, 1] as uint8 (B, H, W, C), pixels repeated."""
    return to_rows(F.interpolate(images.float(), shape[1:3], mode="nearest").expand(-1, shape[3], -1, -1))
