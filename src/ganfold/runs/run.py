"""A trained run: the folder that `train` wrote, opened to sample from."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ganfold import data
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError, did_you_mean
from ganfold.files import damaged, read_object
from ganfold.gans.contract import GAN
from ganfold.interface.options import as_path
from ganfold.interface.result import Result
from ganfold.runs import checkpoint
from ganfold.runs.conditioning import (
    Conditioning,
    HeldOutConditioning,
    Labelling,
    as_frequent_as,
    held_out_conditioning,
    labelled,
    requested_conditioning,
)
from ganfold.runs.generate import generate
from ganfold.runs.record import NAME, RunRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

STATE_REMEDY = "delete it, and give the command of the run again"  # the checkpoint holds all that it says


class Run(Result):
    """A run folder, opened to sample from.

    Args:
        path: the folder that `train` wrote.
        checkpoint: "best", the one of the lowest KID among the checkups while training; or "last".
        gan: the GAN of a run whose GAN is from outside of ganfold, as a class or as "my_gan.py:SNGAN".
        data: where the images that it was trained on are now [where they were].

    Raises:
        GanfoldError: the folder is not one that `train` wrote, or its GAN is from outside and was not given.
    """

    def __init__(
        self,
        path: str | Path,
        checkpoint: str = "best",
        gan: str | type[GAN] | None = None,
        data: str | Path | None = None,
    ) -> None:
        self.path = Path(as_path("the run", path))
        self.record = RunRecord.read(self.path)
        if checkpoint not in ("best", "last"):
            raise GanfoldError(f"checkpoint must be best or last, not {checkpoint!r}")
        self._requested = checkpoint
        self._gan = gan
        self._data = None if data is None else as_path("data", data)
        self.was_done = False  # whether `train` gives it without having trained

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.record.gan}, {self.record.data.source})"

    def lines(self) -> list[str]:
        """What it is, how far it is, and how good."""
        data, state = self.record.data, self.state
        lines = [
            f"{self.path}: {self.record.gan} on {data.images:,} images of {data.resolution} px from {data.source}",
        ]
        if state:
            status = f"stopped by {state['why']}" if state["status"] == "stopped" else state["status"]
            lines.append(f"{state['images'] / 1000:,.1f} kimg in {state['minutes']:,.1f} minutes; {status}")
            if best := state.get("best"):
                lines.append(f"best checkpoint: KID {best['KID']:.3g} at {best['kimg']:,.1f} kimg")
        return lines

    def image_files(self) -> list[Path]:
        """The newest grid of samples."""
        grids = sorted(path for path in (self.path / "samples").glob("*.png") if path.stem != "reals")
        return grids[-1:]

    def to_dict(self) -> dict[str, Any]:
        """The record and the state of the run."""
        return {"path": str(self.path), **self.record.to_dict(), "state": self.state}

    @property
    def state(self) -> dict[str, Any]:
        """The content of `state.json`: images, steps and minutes so far, status, best checkup; {} before the first."""
        path = self.path / "state.json"
        if not path.exists():
            return {}
        state = read_object(path)
        kinds = {"images": int, "minutes": int | float, "status": str, "why": str, "best": dict | None}
        if wrong := [name for name, kind in kinds.items() if not isinstance(state.get(name), kind)]:
            raise damaged(path, f"its {wrong[0]} is {state.get(wrong[0])!r:.40}", STATE_REMEDY)
        if (best := state.get("best")) and not all(isinstance(best.get(name), int | float) for name in ("KID", "kimg")):
            raise damaged(path, f"its best is {best!r:.40}", STATE_REMEDY)
        return state

    @cached_property
    def _loaded(self) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
        folder = self.path / "checkpoints"
        checkpoints = checkpoint.checkpoints(folder)
        if not checkpoints:
            raise GanfoldError(f"{self.path} holds no checkpoint yet: let `ganfold train` run for a while")
        best = folder / checkpoint.BEST
        path = best if self._requested == "best" and best.exists() else checkpoints[-1]
        return ("best" if path == best else "last"), *checkpoint.load(path)

    @property
    def checkpoint(self) -> str:
        """Which checkpoint is used: "best, at 120.5 kimg", or "last, ..." where it was requested or none is best."""
        name, _, state = self._loaded
        return f"{name}, at {state['draws'] * self.record.batch / 1000:g} kimg"

    @cached_property
    def gan_class(self) -> type[GAN]:
        """The class of its GAN.

        Raises:
            GanfoldError: it is from outside of ganfold and was not given.
        """
        try:
            return self.record.gan_class(self._gan)
        except GanfoldError as error:
            raise GanfoldError(f"{self.path}: {error}") from error

    @cached_property
    def gan(self) -> GAN:
        """The GAN with its averaged generator, on the CPU, in evaluation mode.

        Raises:
            GanfoldError: there is no checkpoint yet, or it is damaged, or of other networks.
        """
        gan = build(self.record, self.gan_class)
        _, tensors, _ = self._loaded
        checkpoint.restore(
            gan,
            {n.removeprefix("gan."): t for n, t in tensors.items() if n.startswith("gan.")}
            | {n.removeprefix("average."): t for n, t in tensors.items() if n.startswith("average.")},
            self.path,
        )
        return gan.eval().requires_grad_(False)

    @property
    def stopped_by(self) -> str | None:
        """ "Ctrl-C", "SIGTERM", "SIGHUP" or "a closed pipe" where that ended the last training; None otherwise."""
        return self.state["why"] if self.state.get("status") == "stopped" and not self.was_done else None

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that its generator takes; () where it takes no labels."""
        return self.record.data.classes if self.gan.conditional else ()

    def sample(
        self,
        count: int,
        seed: int = 0,
        start: int = 0,
        label: str | Labelling | None = None,
        *,
        conditioning: Conditioning | None = None,
        text: str | None = None,
        box: str | Sequence[float] | None = None,
        keypoints: str | Sequence[float] | None = None,
    ) -> np.ndarray:
        """Make images `start` to `start + count` of the endless row that the seed names.

        Args:
            count, seed, start: which images.
            label: the class of all of them, by its name; or a function from their numbers, int64 (B,), to the numbers
                of their classes; None: as `labels` says.
            conditioning: gives the condition of each sample from its number; None: the method `conditioning`.
            text, box, keypoints: what to draw and where; see `ganfold.sample`.

        Returns:
            uint8 (count, H, W, C). Image `i` of a seed and label is the same image whatever `count` and `start`.

        Raises:
            GanfoldError: `count` or `start` is negative, the generator takes no labels, or there is no such class; or
                it takes no text or place, or these say nothing.
        """
        if count < 0 or start < 0:
            raise GanfoldError(f"count and start must be 0 or more, not {count} and {start}")
        if label is not None:
            conditioning = labelled(self._constant(label) if isinstance(label, str) else label)
        requested = {"text": text, "box": box, "keypoints": keypoints}
        if any(value is not None for value in requested.values()):
            others = lambda: self.conditioning(seed)  # noqa: E731
            conditioning = requested_conditioning(self.record, self.path, others, text, box, keypoints)
        conditioning = conditioning or self.conditioning(seed)
        return generate(self.gan.sample, self.gan.latent, seed, count, start, conditioning=conditioning)

    def conditioning(self, seed: int) -> Conditioning | None:
        """How samples are conditioned by default.

        A generator that needs images gets the held-out images in turn; one that takes labels gets them as often as
        they came in training. None where neither holds.
        """
        labelling = self._labelling(seed)
        return self.held_out_conditioning(seed) or (labelled(labelling) if labelling else None)

    def held_out_conditioning(self, seed: int = 0) -> HeldOutConditioning | None:
        """The held-out images that samples are made from, where the generator needs images.

        Raises:
            GanfoldError: the images that it was trained on are gone.
        """
        return held_out_conditioning(self.gan, self._images, seed) if self.gan.conditioned_on_images else None

    @cached_property
    def _images(self) -> ImageSet:
        return self.images(progress=False)

    def labels(self, count: int, seed: int = 0, start: int = 0) -> np.ndarray | None:
        """The classes, int64 (count,), of the images of a seed where no label is requested: as frequent as in training.

        None where the generator takes no labels.
        """
        labelling = self._labelling(seed)
        return labelling(torch.arange(start, start + count)).numpy() if labelling else None

    def _labelling(self, seed: int) -> Labelling | None:
        return as_frequent_as(self.record.data.class_counts, seed) if self.gan.conditional else None

    def _constant(self, label: str) -> Labelling:
        if not self.gan.conditional:
            raise GanfoldError(f"{self.path} takes no label: {self.record.gan} was trained without")
        if label not in self.classes:
            known = ", ".join(self.classes[:20]) + (", ..." if len(self.classes) > 20 else "")
            raise GanfoldError(f"no class {label!r} in {self.path}{did_you_mean(label, self.classes)} (known: {known})")
        number = self.classes.index(label)
        return lambda rows: torch.full_like(rows, number)

    def images(self, progress: bool = True) -> ImageSet:
        """The images that it was trained on, and those that it held out.

        Raises:
            GanfoldError: they are gone, or others are there now.
        """
        trained, settings = self.record.data, self.record.settings
        source, target = self.record.sources(self.gan_class)
        source = source if self._data is None else str(self._data)
        try:
            images = data.load_as(
                self.record.data_kind(self.gan_class),
                source,
                target,
                words=trained.words or None,
                resolution=trained.resolution,
                channels=trained.channels,
                fit=settings.fit,
                held_out=settings.held_out,
                progress=progress,
            )
        except GanfoldError as error:
            raise GanfoldError(
                f"the images that {self.path} was trained on cannot be read ({error}): if they were moved, say by "
                "--data where they are now"
            ) from error
        same_inputs = images.inputs is None or (
            trained.inputs is not None and images.inputs.fingerprint == trained.inputs.fingerprint
        )
        if images.fingerprint != trained.fingerprint or not same_inputs:
            raise GanfoldError(
                f"{self.path} was trained on other images than {source} holds now: restore them, or say by --data "
                "where the same images are"
            )
        return images


def build(record: RunRecord, gan_class: type[GAN]) -> GAN:
    """The GAN that a record describes, with fresh weights from its seed, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(record.settings.seed)
        return gan_class(record.gan_config(gan_class), record.data.shape)


def as_run(
    images: str | Path | Run, checkpoint: str, gan: str | type[GAN] | None = None, data: str | Path | None = None
) -> Run | None:
    """The run that this is, its images in `data` now; None where it is a folder or file of images."""
    if isinstance(images, Run):
        return images if data is None else Run(images.path, images._requested, images._gan, data)
    if (Path(images) / NAME).is_file():
        return Run(images, checkpoint, gan, data)
    if data is not None:
        raise GanfoldError(f"{images} is not a run: --data says where the images of a run are now")
    return None


def load(
    path: str | Path,
    checkpoint: str = "best",
    gan: str | type[GAN] | None = None,
    data: str | Path | None = None,
) -> Run:
    """Open a run folder; see `Run`."""
    return Run(path, checkpoint, gan, data)
