"""Captions: how well samples show what a text says, in the place where it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from ganfold.gans.contract import Condition
from ganfold.images.pixels import to_float, to_rows
from ganfold.metrics.paired import TaskMetric
from ganfold.networks.placing import crop

if TYPE_CHECKING:
    from ganfold.data import ImageSet
    from ganfold.runs.conditioning import HeldOutConditioning
    from ganfold.runs.run import Run

READ = {"hair_color": "hair colour", "skin_color": "skin colour"}  # columns of the metadata that `measure` reads
APART = 40  # Euclidean distance in RGB, 0 to 255, from which on a pixel stands out from the background
SIDE = 32  # pixels a side of the classifier's input, the content of a box
STEPS, BATCH = 600, 64  # of the classifier's training

Attributes = dict[str, tuple[list[str], np.ndarray]]  # by column: its values, and each image's number among them or -1


def measure(run: Run, seed: int, count: int) -> list[TaskMetric]:
    """How well samples obey the captions and places of held-out images.

    The place: the overlap (intersection over union) of the requested box with the box of what stands out from the
    background. The content: the share of samples in which a classifier sees the attribute that the caption names. The
    classifier is trained on the training images and their metadata. Both are measured in the real images too, and
    against the boxes or captions of the next image.
    """
    conditioning = run.held_out_conditioning(seed)
    assert conditioning
    batch = conditioning.batch(torch.arange(count))
    made, real = run.sample(count, seed, conditioning=conditioning), to_rows(batch["image"])
    metrics = [_of_places(run.record.gan, made, real, batch["box"].numpy())]
    if not (attributes := _attributes(conditioning.data)):
        return metrics

    def swapped(rows: Tensor) -> Condition:
        return {**conditioning(rows), "text": conditioning(rows + 1)["text"]}

    sets = {
        run.record.gan: made,
        "real images": real,
        "captions swapped": run.sample(count, seed, conditioning=swapped),
    }
    return metrics + _of_contents(sets, batch["box"], conditioning, attributes, seed)


def _of_places(name: str, made: np.ndarray, real: np.ndarray, boxes: np.ndarray) -> TaskMetric:
    found = boxes_found(made)
    overlaps = {
        name: overlap(found, boxes),
        "real images": overlap(boxes_found(real), boxes),
        "boxes swapped": overlap(found, np.roll(boxes, 1, 0)),
    }
    return TaskMetric("IoU with the box", "higher", {key: float(value.mean()) for key, value in overlaps.items()})


def _of_contents(
    sets: dict[str, np.ndarray], boxes: Tensor, conditioning: HeldOutConditioning, attributes: Attributes, seed: int
) -> list[TaskMetric]:
    classifier = _trained(conditioning.data, attributes, seed)
    rows = conditioning.images[np.arange(len(boxes)) % len(conditioning.images)]
    guesses = {name: _read(classifier, images, boxes) for name, images in sets.items()}
    metrics = []
    for number, (column, (values, labels)) in enumerate(attributes.items()):
        truth = labels[rows]
        known = truth >= 0
        right = {name: float((guess[number] == truth)[known].mean()) for name, guess in guesses.items()}
        most = np.bincount(truth[known], minlength=len(values)).max() / known.sum()
        title = f"{READ[column]} right, one of {len(values)}"
        metrics.append(TaskMetric(title, "higher", right | {"always the commonest": float(most)}))
    return metrics


def boxes_found(images: np.ndarray) -> np.ndarray:
    """The box of what stands out from a plain background.

    The background's colour is the median of the border. Small specks are ignored.

    Args:
        images: uint8 (N, H, W, C), H equal to W.

    Returns:
        Left, top, width and height as shares of the image, float (N, 4); zeros where nothing stands out.
    """
    boxes = np.zeros((len(images), 4))
    side = images.shape[1]
    for number, image in enumerate(images.astype(np.float32)):
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        distance = np.sqrt(((image - np.median(border, axis=0)) ** 2).sum(2))
        pieces, _ = ndimage.label(ndimage.median_filter(distance, 3) > APART, np.ones((3, 3)))
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        if sizes.max() == 0:
            continue
        seen = (sizes > 0.1 * sizes.max())[pieces]
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        boxes[number] = columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]
    return boxes / side


def overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of two lists of boxes (N, 4), left, top, width and height, row by row: (N,)."""
    start = np.maximum(boxes[:, :2], others[:, :2])
    end = np.minimum(boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:])
    both = np.prod(np.maximum(0, end - start), 1)
    either = np.prod(boxes[:, 2:], 1) + np.prod(others[:, 2:], 1) - both
    return both / np.where(either > 0, either, 1)


def _attributes(images: ImageSet) -> Attributes:
    """The columns of `READ` that the images' metadata have, if there is more than one value."""
    rows: list[dict[str, Any]] = list(images.attributes or [])
    attributes = {}
    for column in READ:
        texts = [row.get(column) for row in rows]
        values = sorted({text for text in texts if isinstance(text, str)})
        if len(values) > 1:
            attributes[column] = values, np.array([values.index(t) if isinstance(t, str) else -1 for t in texts])
    return attributes


def _seen(images: np.ndarray, boxes: Tensor) -> Tensor:
    """The content of the boxes in images uint8 (N, H, W, C), as (N, C, SIDE, SIDE) in [-1, 1]."""
    pixels = to_float(images).permute(0, 3, 1, 2)
    return crop(pixels, boxes, SIDE)


class _Classifier(nn.Sequential):
    """A small convolutional network that reads all attributes at once."""

    def __init__(self, channels: int, sizes: list[int]) -> None:
        super().__init__(
            *(nn.Conv2d(channels, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU()),
            *(nn.Conv2d(24, 48, 3, 2, 1), nn.BatchNorm2d(48), nn.ReLU()),
            *(nn.Conv2d(48, 96, 3, 2, 1), nn.BatchNorm2d(96), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(96 * (SIDE // 8) ** 2, sum(sizes))),
        )
        self.sizes = sizes

    def heads(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The logits of each attribute, (N, values)."""
        return self(pixels).split(self.sizes, 1)


def _trained(images: ImageSet, attributes: Attributes, seed: int) -> _Classifier:
    """The classifier, trained on the training images."""
    assert images.captions
    random, boxes = np.random.default_rng(seed), torch.from_numpy(images.captions.boxes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Classifier(images.channels, [len(values) for values, _ in attributes.values()])
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        rows = random.choice(images.train, BATCH)
        heads = network.heads(_seen(images.images[rows].transpose(0, 2, 3, 1), boxes[rows]))
        truths = [torch.from_numpy(labels[rows]) for _, labels in attributes.values()]
        losses = [F.cross_entropy(head, truth, ignore_index=-1) for head, truth in zip(heads, truths, strict=True)]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.inference_mode()
def _read(network: _Classifier, images: np.ndarray, boxes: Tensor) -> list[np.ndarray]:
    """What the network reads in the boxes: for each attribute the number of a value, (N,)."""
    return [head.argmax(1).numpy() for head in network.heads(_seen(images, boxes))]
