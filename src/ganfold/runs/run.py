"""A trained run: the folder that `train` wrote, and the images that its generator makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganfold import data
from ganfold.data import ImageSet
from ganfold.data.fields import FromReals, from_reals
from ganfold.errors import GanfoldError, did_you_mean
from ganfold.files import read_json, read_run
from ganfold.gans import find, noise
from ganfold.gans.contract import GAN, NOTHING, Given, Shape, Wants
from ganfold.runs import checkpoint

Giving = Callable[[Tensor], Given]  # numbers of images, int64 (B,) -> what they are made from beside their latents
Labelling = Callable[[Tensor], Tensor]  # numbers of images, int64 (B,) -> numbers of their classes, int64 (B,)

CHUNK = 32  # images generated at once: always the same number, since another could change the last bits


class Run:
    """A run folder, opened to sample from.

    Args:
        path: the folder that `train` wrote.
        checkpoint: "best", the one of the lowest KID among the checkups while training; or "last".

    Raises:
        GanfoldError: the folder is not one that `train` wrote.
    """

    def __init__(self, path: str | Path, checkpoint: str = "best") -> None:
        self.path = Path(path)
        self.config = read_run(self.path)
        if checkpoint not in ("best", "last"):
            raise GanfoldError(f"checkpoint must be best or last, not {checkpoint!r}")
        self._wanted = checkpoint

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.config['gan']}, {self.config['data']['source']})"

    @cached_property
    def _loaded(self) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
        folder = self.path / "checkpoints"
        found = checkpoint.checkpoints(folder)
        if not found:
            raise GanfoldError(f"{self.path} holds no checkpoint yet: let `ganfold train` run for a while")
        best = folder / checkpoint.BEST
        path = best if self._wanted == "best" and best.exists() else found[-1]
        return ("best" if path == best else "last"), *checkpoint.load(path)

    @property
    def checkpoint(self) -> str:
        """Which one is used: "best, at 120.5 kimg", or "last, ..." where there is no best one or it was asked for."""
        name, _, state = self._loaded
        return f"{name}, at {state['draws'] * self.config['config']['batch'] / 1000:g} kimg"

    @cached_property
    def gan(self) -> GAN:
        """The GAN with its averaged generator, on the CPU, in evaluation mode.

        Raises:
            GanfoldError: there is no checkpoint yet, or it is damaged, or of other networks.
        """
        _, tensors, _ = self._loaded
        gan = build(self.config)
        checkpoint.restore(
            gan,
            {n.removeprefix("gan."): t for n, t in tensors.items() if n.startswith("gan.")}
            | {n.removeprefix("average."): t for n, t in tensors.items() if n.startswith("average.")},
            self.path,
        )
        return gan.eval().requires_grad_(False)

    @property
    def stopped_by(self) -> str | None:
        """ "Ctrl-C", "SIGTERM", "SIGHUP" or "a closed pipe" where that ended the last training, else None."""
        path = self.path / "state.json"
        state = read_json(path) if path.exists() else {}
        return state["why"] if state.get("status") == "stopped" else None

    @property
    def classes(self) -> tuple[str, ...]:
        """What its generator can be asked for; () where it takes no labels."""
        return tuple(self.config["data"]["classes"]) if self.gan.conditional else ()

    def sample(
        self,
        count: int,
        seed: int = 0,
        start: int = 0,
        label: str | Labelling | None = None,
        giving: Giving | None = None,
        **wish: Any,
    ) -> np.ndarray:
        """Images `start` to `start + count` of the endless row that the seed names.

        Args:
            count, seed, start: which.
            label: the class of all of them, by its name; or a function from their numbers, int64 (B,), to the numbers
                of their classes; None: as `labels` says.
            giving: what each is made from beside its latent, from their numbers; None: what `given` says.
            wish: `text`, `box` and `keypoints`: what to draw and where; see `ganfold.tasks.captions.asked`.

        Returns:
            uint8 (count, H, W, C). Image `i` of a seed and label is the same image whatever `count` and `start`.

        Raises:
            GanfoldError: `count` or `start` is negative, the generator takes no labels, or there is no such class; or
                takes no text or place, or these say nothing.
        """
        if count < 0 or start < 0:
            raise GanfoldError(f"count and start must be 0 or more, not {count} and {start}")
        if label is not None:
            labelling = label
            if isinstance(label, str):
                number = self._number(label)
                labelling = lambda rows: torch.full_like(rows, number)  # noqa: E731
            giving = labelled(labelling)  # type: ignore[arg-type]
        if any(value is not None for value in wish.values()):
            giving = import_module("ganfold.tasks.captions").asked(self, seed, **wish)
        return generate(self.gan.sample, self.gan.latent, seed, count, start, giving=giving or self.giving(seed))

    def giving(self, seed: int) -> Giving | None:
        """What samples are made from beside their latents where nobody says: labels as frequent as in training, or
        what belongs to the held-out images, one after the other. None where that is nothing."""
        return self.reals(seed) or (labelled(labelling) if (labelling := self._labelling(seed)) else None)

    def reals(self, seed: int = 0) -> FromReals | None:
        """The held-out images that samples are made from, where they are made from images.

        Raises:
            GanfoldError: the images that it was trained on are gone.
        """
        if type(self.gan).given is GAN.given:
            return None
        return from_reals(self.gan, self._images, seed)

    @cached_property
    def _images(self) -> ImageSet:
        return self.images(progress=False)

    def labels(self, count: int, seed: int = 0, start: int = 0) -> np.ndarray | None:
        """The classes, int64 (count,), of the images of a seed where none is asked for: as frequent as in training.

        None where the generator takes no labels.
        """
        labelling = self._labelling(seed)
        return labelling(torch.arange(start, start + count)).numpy() if labelling else None

    def _labelling(self, seed: int) -> Labelling | None:
        return as_frequent_as(self.config["data"]["class_counts"], seed) if self.gan.conditional else None

    def _number(self, label: str) -> int:
        if not self.gan.conditional:
            raise GanfoldError(f"{self.path} takes no label: {self.config['gan']} was trained without")
        if label not in self.classes:
            known = ", ".join(self.classes[:20]) + (", ..." if len(self.classes) > 20 else "")
            raise GanfoldError(f"no class {label!r} in {self.path}{did_you_mean(label, self.classes)} (known: {known})")
        return self.classes.index(label)

    def images(self, progress: bool = True) -> ImageSet:
        """The images that it was trained on, and those that it held out.

        Raises:
            GanfoldError: they are gone, or others are there now.
        """
        trained, settings = self.config["data"], self.config["settings"]
        images = data.load_as(
            wants(self.config),
            *sources(self.config),
            words=tuple(trained["words"]) if trained.get("words") else None,
            resolution=trained["resolution"],
            channels=trained["channels"],
            fit=settings["fit"],
            held_out=settings["held_out"],
            progress=progress,
        )
        same = images.inputs is None or images.inputs.fingerprint == trained["inputs"]["fingerprint"]
        if images.fingerprint != trained["fingerprint"] or not same:
            raise GanfoldError(
                f"{self.path} was trained on other images than {trained['source']} holds now: restore them"
            )
        return images


def about(images: ImageSet) -> dict[str, Any]:
    """What a `config.json` says of the images."""
    return {
        "source": images.source,
        "fingerprint": images.fingerprint,
        "images": len(images.train),
        "held_out": len(images.held_out),
        "resolution": images.resolution,
        "channels": images.channels,
        "classes": list(images.classes),
        "class_counts": images.class_counts,
        "inputs": None
        if images.inputs is None
        else {
            "source": images.inputs.source,
            "fingerprint": images.inputs.fingerprint,
            "channels": images.inputs.channels,
        },
        "words": list(images.captions.words) if images.captions else [],
        "keypoints": 0
        if images.captions is None or images.captions.keypoints is None
        else images.captions.keypoints.shape[1],
    }


def shape_of(about: dict[str, Any]) -> Shape:
    """What networks are built for, from what a `config.json` says of the images."""
    words = len(about.get("words") or [])
    return Shape(
        about["channels"],
        about["resolution"],
        len(about["classes"]),
        inputs=(about.get("inputs") or {"channels": 0})["channels"],
        words=words + 1 if words else 0,
        keypoints=about.get("keypoints", 0),
    )


def wants(config: dict[str, Any]) -> Wants:
    """What its GAN wants of its images, by a `config.json`."""
    kind = find(config["gan"])
    return kind.wants(known(kind.config_class, config["config"]))


def sources(config: dict[str, Any]) -> tuple[str, str | None]:
    """Where its images came from: what `load_as` takes."""
    made, inputs = config["data"]["source"], config["data"].get("inputs")
    return (inputs["source"], made) if inputs and wants(config) == "domains" else (made, None)


def known(kind: type[Any], values: dict[str, Any]) -> Any:
    """The dataclass with those of the values from a `config.json` that it knows."""
    names = {field.name for field in fields(kind)}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in names})


def build(config: dict[str, Any]) -> GAN:
    """The GAN that a `config.json` describes, with fresh weights from its seed, on the CPU."""
    kind, data = find(config["gan"]), config["data"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["settings"]["seed"])
        return kind(known(kind.config_class, config["config"]), shape_of(data))


@torch.inference_mode()
def generate(
    sample: Callable[[Tensor, Given], Tensor],
    latent: tuple[int, ...],
    seed: int,
    count: int,
    start: int = 0,
    device: str | torch.device = "cpu",
    giving: Giving | None = None,
) -> np.ndarray:
    """Images `start` to `start + count` of a seed, uint8 (count, H, W, C), by whole chunks aligned at 0."""
    key = noise.key_of(seed, "sample")
    first, last = start // CHUNK * CHUNK, start + count
    parts = []
    for begin in range(first, max(last, first + 1), CHUNK):
        rows = torch.arange(begin, begin + CHUNK, device=device)
        images = sample(noise.normal(key, rows, *latent), giving(rows) if giving else NOTHING).float()
        parts.append(as_bytes(images).permute(0, 2, 3, 1).cpu().numpy()[max(0, start - begin) : last - begin])
    return np.concatenate(parts)


def labelled(labelling: Labelling) -> Giving:
    return lambda rows: {"label": labelling(rows)}


def as_frequent_as(counts: Sequence[int], seed: int) -> Labelling:
    """Labels drawn by the seed, each class as often as these counts say."""
    edges = torch.tensor(counts, dtype=torch.float64).cumsum(0)

    def labels(rows: Tensor) -> Tensor:  # on the CPU: not every device has float64
        drawn = noise.uniform(noise.key_of(seed, "label"), rows.cpu()).double() * edges[-1]
        return torch.searchsorted(edges, drawn, right=True).to(rows.device)

    return labels


def class_rows(count: int, classes: int, start: int = 0) -> tuple[int, int, Labelling]:
    """A grid of about `count` images, from image `start` on, with a row for each class (for the first of many).

    Returns:
        How many images it has, how many columns, and their labels.
    """
    rows = classes if 2 * classes <= count else min(classes, max(1, math.isqrt(count)))
    columns = max(1, round(count / rows))
    return rows * columns, columns, lambda numbers: (numbers - start) // columns % classes


def as_bytes(images: Tensor) -> Tensor:
    """Images in [-1, 1] as uint8, as they are saved and measured."""
    return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def as_run(images: str | Path | Run, checkpoint: str) -> Run | None:
    """The run that this is, or None: it is a folder or file of images."""
    if isinstance(images, Run):
        return images
    return Run(images, checkpoint) if (Path(images) / "config.json").is_file() else None


def load(path: str | Path, checkpoint: str = "best") -> Run:
    """Open a run folder; see `Run`."""
    return Run(path, checkpoint)
