"""Text and place: what a run that draws by captions is asked for, and how well it does what is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from ganfold.data.captions import box_fault, tokens_of
from ganfold.errors import GanfoldError
from ganfold.gans.contract import Given
from ganfold.metrics.paired import TaskFigure
from ganfold.networks.placing import crop

if TYPE_CHECKING:
    from ganfold.data import ImageSet
    from ganfold.runs.run import Giving, Run

READ = {"hair_color": "hair colour", "skin_color": "skin colour"}  # columns of the metadata that `figures` reads
APART = 40  # Euclidean distance in RGB, 0 to 255, from which on a pixel is not the ground
SIDE = 32  # pixels of what the classifier sees: the box and what is in it
STEPS, BATCH = 600, 64  # of the classifier's training


def asked(
    run: Run,
    seed: int,
    text: str | None = None,
    box: str | Sequence[float] | None = None,
    keypoints: str | Sequence[float] | None = None,
) -> Giving:
    """What samples are made from where a text or a place is asked for; what is not comes from held-out images.

    Args:
        run, seed: whose samples.
        text: what to draw.
        box: left, top, width and height as shares of the image, as numbers or as in "0.5,0.1,0.4,0.8".
        keypoints: x and y of each keypoint as shares of the image, likewise.

    Raises:
        GanfoldError: the run takes no such thing, or it says nothing.
    """
    config = run.config["config"]
    where = str(config.get("where", "box"))
    if not run.config["data"].get("words"):
        raise GanfoldError(f"{run.path} takes no text and no place: {run.config['gan']} was trained without")
    said: dict[str, Tensor] = {}
    if text is not None:
        said["text"] = _text(run, text)
    for name, value in (("box", box), ("keypoints", keypoints)):
        if value is None:
            continue
        if name != where:
            raise GanfoldError(f"{run.path} was trained with --where {where}: give --{where}, not --{name}")
        said[name] = _box(value) if name == "box" else _keypoints(value, run.config["data"]["keypoints"])
    rest = None if said.keys() >= {"text", where} else run.giving(seed)

    def giving(rows: Tensor) -> Given:
        fields = {name: value.to(rows.device).expand(len(rows), *value.shape[1:]) for name, value in said.items()}
        return {**(rest(rows) if rest else {}), **fields}

    return giving


def unknown(run: Run, text: str) -> list[str]:
    """The words of a text that were in no caption of the training images: they change nothing."""
    return tokens_of(text, run.config["data"].get("words") or [])[1]


def _text(run: Run, text: str) -> Tensor:
    words = run.config["data"]["words"]
    numbers, strange = tokens_of(text, words)
    if not numbers.any():
        known = ", ".join(words[:60]) + (", ..." if len(words) > 60 else "")
        what = f"holds no word that was in its captions: {text!r:.60}" if strange else "is empty"
        raise GanfoldError(f"--text for {run.path} {what} (known: {known})")
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


def figures(run: Run, seed: int, count: int) -> list[TaskFigure]:
    """How well samples made from the captions and places of held-out images show what they say, where they say it.

    Where: overlap (intersection over union) of the box asked for and that of what stands out from the ground. What: the
    share of samples of which a classifier, trained on the training images and their metadata, reads the attribute
    that the caption names. Beside both what the same detector and classifier find in the real images, and in samples
    made for the next image's box or caption.
    """
    reals = run.reals(seed)
    assert reals
    name, batch = run.config["gan"], reals.batch(torch.arange(count))
    boxes = batch["box"].numpy()
    made = run.sample(count, seed, giving=reals)
    shown = ((batch["image"] + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    found = boxes_found(made)
    overlaps = {
        name: overlap(found, boxes),
        "real images": overlap(boxes_found(shown), boxes),
        "boxes swapped": overlap(found, np.roll(boxes, 1, 0)),
    }
    task = [TaskFigure("IoU with the box", "higher", {key: float(value.mean()) for key, value in overlaps.items()})]
    images = reals.data
    if not (attributes := _attributes(images)):
        return task

    def swapped(rows: Tensor) -> Given:
        return {**reals(rows), "text": reals(rows + 1)["text"]}

    classifier = _trained(images, attributes, seed)
    rows = reals.images[np.arange(count) % len(reals.images)]
    sets = {name: made, "real images": shown, "captions swapped": run.sample(count, seed, giving=swapped)}
    read = {key: _read(classifier, pixels, batch["box"]) for key, pixels in sets.items()}
    for number, (column, (values, labels)) in enumerate(attributes.items()):
        truth = labels[rows]
        known = truth >= 0
        right = {key: float((guess[number] == truth)[known].mean()) for key, guess in read.items()}
        most = np.bincount(truth[known], minlength=len(values)).max() / known.sum()
        title = f"{READ[column]} right, one of {len(values)}"
        task.append(TaskFigure(title, "higher", right | {"always the commonest": float(most)}))
    return task


def boxes_found(images: np.ndarray) -> np.ndarray:
    """The box of what stands out from a plain ground, left, top, width and height as shares, float (N, 4), of images
    uint8 (N, H, W, C). The ground's colour is the median of the border; specks are passed over."""
    found = np.zeros((len(images), 4))
    side = images.shape[1]
    for place, image in enumerate(images.astype(np.float32)):
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        distance = np.sqrt(((image - np.median(border, axis=0)) ** 2).sum(2))
        pieces, _ = ndimage.label(ndimage.median_filter(distance, 3) > APART, np.ones((3, 3)))
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        if sizes.max() == 0:
            continue
        seen = (sizes > 0.1 * sizes.max())[pieces]
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        found[place] = columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]
    return found / side


def overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (N, 4), left, top, width and height, one by one: (N,)."""
    start = np.maximum(boxes[:, :2], others[:, :2])
    end = np.minimum(boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:])
    both = np.prod(np.maximum(0, end - start), 1)
    either = np.prod(boxes[:, 2:], 1) + np.prod(others[:, 2:], 1) - both
    return both / np.where(either > 0, either, 1)


def _attributes(images: ImageSet) -> dict[str, tuple[list[str], np.ndarray]]:
    """Of each column that is read the values, and the number of each image's, -1 where it has none."""
    rows: list[dict[str, Any]] = list(images.attributes or [])
    found = {}
    for column in READ:
        texts = [row.get(column) for row in rows]
        values = sorted({text for text in texts if isinstance(text, str)})
        if len(values) > 1:
            found[column] = values, np.array([values.index(t) if isinstance(t, str) else -1 for t in texts])
    return found


def _seen(images: np.ndarray, boxes: Tensor) -> Tensor:
    """What is in the boxes of images uint8 (N, H, W, C), as (N, C, SIDE, SIDE) in [-1, 1]."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return crop(pixels, boxes, SIDE)


def _trained(images: ImageSet, attributes: dict[str, tuple[list[str], np.ndarray]], seed: int) -> nn.Module:
    """A small convolutional network that reads all attributes at once, trained on the training images."""
    assert images.captions
    random, boxes = np.random.default_rng(seed), torch.from_numpy(images.captions.boxes)
    sizes = [len(values) for values, _ in attributes.values()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            *(nn.Conv2d(images.channels, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU()),
            *(nn.Conv2d(24, 48, 3, 2, 1), nn.BatchNorm2d(48), nn.ReLU()),
            *(nn.Conv2d(48, 96, 3, 2, 1), nn.BatchNorm2d(96), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(96 * (SIDE // 8) ** 2, sum(sizes))),
        )
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        rows = random.choice(images.train, BATCH)
        heads = network(_seen(images.images[rows].transpose(0, 2, 3, 1), boxes[rows])).split(sizes, 1)
        truths = [torch.from_numpy(labels[rows]) for _, labels in attributes.values()]
        loss = sum(F.cross_entropy(head, truth, ignore_index=-1) for head, truth in zip(heads, truths, strict=True))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        optimizer.step()
        schedule.step()
    network.sizes = sizes  # type: ignore[assignment]
    return network.eval()


@torch.inference_mode()
def _read(network: nn.Module, images: np.ndarray, boxes: Tensor) -> list[np.ndarray]:
    """What the network reads of each attribute: numbers (N,)."""
    heads = network(_seen(images, boxes)).split(network.sizes, 1)
    return [head.argmax(1).numpy() for head in heads]
