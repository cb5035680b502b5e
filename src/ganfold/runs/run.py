"""A trained run: the folder that `train` wrote, opened to sample from."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from ganfold import data
from ganfold.data import ImageSet
from ganfold.errors import GanfoldError, did_you_mean
from ganfold.files import damaged, read_object
from ganfold.gans import noise
from ganfold.gans.contract import GAN
from ganfold.interface.options import Pairs, as_path
from ganfold.interface.result import Result
from ganfold.latent import directions, inversion, paths
from ganfold.latent.directions import Directions
from ganfold.latent.inversion import Inversion, Watch
from ganfold.latent.requested import changed, check_codes, check_shares, pairs
from ganfold.networks.strided import Forms
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
from ganfold.runs.forms import forms_of
from ganfold.runs.generate import generate
from ganfold.runs.record import LOG, NAME, NEWEST, RunRecord, read_log

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

P = ParamSpec("P")
R = TypeVar("R")

VERBS_OF_A_RUN = ("copies", "evaluate", "explore", "inpaint", "probe", "report", "translate", "upscale")
FLOAT_MOST = float(np.finfo(np.float32).max)
STATE_REMEDY = "delete it, and give the command of the run again"  # the checkpoint holds all that it says


def _known_names(work: Callable[P, R]) -> Callable[P, R]:
    """Let a method refuse names of arguments that it does not have."""
    names = [name for name in inspect.signature(work).parameters if name != "self"]

    @functools.wraps(work)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        if unknown := [name for name in named if name not in names]:
            raise GanfoldError(f"{work.__name__} has no option {unknown[0]!r}{did_you_mean(unknown[0], names)}")
        return work(*arguments, **named)

    return call


class Run(Result):
    """A run folder, opened to sample from.

    Args:
        path: the folder that `train` wrote, or "hub:user/name" for a run of the Hugging Face hub.
        checkpoint: "best", the one of the lowest KID among the checkups while training; or "last".
        gan: the GAN of a run whose GAN is from outside of ganfold, as a class or as "my_gan.py:SNGAN".
        data: where the images that it was trained on are now [where they were].
        target: where those of its second kind are now, if it was trained with --target [where they were].

    Raises:
        GanfoldError: the folder is not one that `train` wrote, or its GAN is from outside and was not given.
    """

    def __init__(
        self,
        path: str | Path,
        checkpoint: str = "best",
        gan: str | type[GAN] | None = None,
        data: str | Path | None = None,
        target: str | Path | None = None,
    ) -> None:
        self.path = folder_of(path)
        self.record = RunRecord.read(self.path)
        if checkpoint not in ("best", "last"):
            raise GanfoldError(f"checkpoint must be best or last, not {checkpoint!r}")
        self._requested = checkpoint
        self._gan = gan
        self._data = None if data is None else str(as_path("data", data))
        self._target = None if target is None else str(as_path("target", target))
        self.was_done = False  # whether `train` gives it without having trained

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.record.gan}, {self.record.data.source})"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property that failed: its own error
                return object.__getattribute__(self, name)
            if name in VERBS_OF_A_RUN:
                raise AttributeError(f"a Run has no {name!r}: call ganfold.{name} with the run")
            known = [known for known in dir(self) if not known.startswith("_")]
            raise AttributeError(f"a Run has no {name!r}{did_you_mean(name, known)}")

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
                lines.append(f"best checkpoint: quick KID {best['KID']:.3g} at {best['kimg']:,.1f} kimg")
        return lines

    def image_files(self) -> list[Path]:
        """The newest grid of samples."""
        grids = sorted(path for path in (self.path / "samples").glob("*.png") if path.stem != "reals")
        newest = self.path / NEWEST
        return [newest] if newest.exists() else grids[-1:]

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

    @property
    def log(self) -> list[dict[str, Any]]:
        """The rows of `log.jsonl` so far: those with "KID" are of checkups, the others of reports."""
        return read_log(self.path / LOG)

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
    def counters(self) -> dict[str, Any]:
        """The counters of the checkpoint that is used, such as "steps"."""
        return self._loaded[2]

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

    @_known_names
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
        z: npt.ArrayLike | None = None,
        code: Pairs = (),
        truncation: float = 1.0,
        shares: Pairs = (),
    ) -> np.ndarray:
        """Make images `start` to `start + count` of the endless row that the seed names.

        Args:
            count, seed, start: which images.
            label: the class of all of them, by its name; or a function from their numbers, int64 (B,), to the numbers
                of their classes; None: as `labels` says.
            conditioning: gives the condition of each sample from its number; None: the method `conditioning`.
            text, box, keypoints: what to draw and where; see `ganfold.sample`.
            z: the latents, float (count, *run.gan.latent), instead of those of the seed. Training drew them from
                standard normal noise.
            code: the values of codes, {0: 3}, where the generator has codes.
            truncation: how far latents are from their mean, 0 to 1: less gives more usual images.
            shares: how often each class comes, {"red": 2, "blue": 1}, where no label is given.

        Returns:
            uint8 (count, H, W, C). Image `i` of a seed and label is the same image whatever `count` and `start`.

        Raises:
            GanfoldError: `count` or `start` is negative, the generator takes no labels, or there is no such class; or
                it takes no text or place, or these say nothing; or `z` has another shape, or is not finite; or there
                is no such code.
        """
        if not isinstance(count, int | np.integer) or not isinstance(start, int | np.integer):
            raise GanfoldError(f"count and start must be whole numbers, not {count!r:.40} and {start!r:.40}")
        if count < 0 or start < 0:
            raise GanfoldError(f"count and start must be 0 or more, not {count} and {start}")
        latents = None if z is None else self._checked_latents(z, count)
        if code or truncation != 1.0:
            latents = self._changed_latents(latents, count, seed, start, code, truncation)
        if shares and label is None:
            conditioning = labelled(self._labelling_by(shares, seed))
        if label is not None:
            conditioning = labelled(self._constant(label) if isinstance(label, str) else label)
        requested = {"text": text, "box": box, "keypoints": keypoints}
        if any(value is not None for value in requested.values()):
            others = lambda: self.conditioning(seed)  # noqa: E731
            conditioning = requested_conditioning(self.record, self.path, others, text, box, keypoints)
        conditioning = conditioning or self.conditioning(seed)
        with self.forms.used():
            return generate(
                self.gan.sample, self.gan.latent, seed, count, start, conditioning=conditioning, latents=latents
            )

    def latents(
        self, count: int, seed: int = 0, start: int = 0, code: Pairs = (), truncation: float = 1.0
    ) -> np.ndarray:
        """The latents of the images that `sample` makes: float32 (count, *run.gan.latent), for its `z`."""
        return self._changed_latents(None, count, seed, start, code, truncation).numpy()

    def interpolate(self, stops: Sequence[int], steps: int = 16, seed: int = 0, label: str | None = None) -> np.ndarray:
        """A closed path through samples, by their numbers: uint8 (len(stops) * steps, H, W, C).

        It is a great circle from each to the next, since normal latents lie near a sphere.
        """
        z = np.concatenate([self.latents(1, seed, number) for number in stops])
        walk = paths.loop(torch.from_numpy(z), steps).flatten(0, 1).numpy()
        first = None if label is not None or not self.gan.conditional else self.classes[self._class_of(seed, stops[0])]
        return self.sample(len(walk), seed, label=label or first, z=walk)

    def directions(self, by: Literal["sefa", "pca"] = "sefa", seed: int = 0) -> Directions:
        """Directions along which images change most: the greatest first.

        Args:
            by: "sefa", in closed form from the first layer; "pca", from the first features of many latents.
            seed: of these latents.
        """
        self.check_has_noise("directions")
        with self.forms.used():
            return {"sefa": directions.sefa, "pca": directions.pca}[by](self.gan, seed)

    def invert(
        self,
        image: Tensor,
        steps: int = 400,
        starts: int = 8,
        seed: int = 0,
        label: str | None = None,
        times: int = 8,
        watch: Watch | None = None,
    ) -> Inversion:
        """Look for the latent of an image, (1, C, R, R) in [-1, 1]; see `ganfold.latent.inversion.invert`."""
        self.check_has_noise("invert")
        if label is not None:
            self.check_label(label)
        number = None if label is None else self.classes.index(label)
        with self.forms.used():
            return inversion.invert(
                self.gan, image, steps=steps, starts=starts, seed=seed, times=times, label=number, watch=watch
            )

    def check_has_noise(self, tool: str) -> None:
        """See that its images are made from noise, or noise and a label.

        Raises:
            GanfoldError: they are made from images or texts.
        """
        if self.gan.conditioned_on_images:
            verb = {"super-resolution": "upscale", "inpainting": "inpaint", "translation": "translate"}
            use = verb.get(self.gan.task, "sample")
            raise GanfoldError(
                f"{self.path} makes images from more than noise: `{tool}` needs a generator from noise; use "
                f"`ganfold {use}` with this run"
            )

    def _class_of(self, seed: int, number: int) -> int:
        labels = self.labels(1, seed, number)
        assert labels is not None
        return int(labels[0])

    def _changed_latents(
        self, z: Tensor | None, count: int, seed: int, start: int, code: Pairs, truncation: float
    ) -> Tensor:
        """Latents, by default of the seed, with codes and truncation."""
        if not 0 <= truncation <= 1:
            raise GanfoldError(f"truncation must be 0 or more and at most 1, not {truncation}")
        codes = check_codes(self.gan, str(self.path), pairs("--code", code, "0=3"))
        if z is None:
            self.check_takes_latents()
            z = noise.normal(noise.key_of(seed, "sample"), torch.arange(start, start + count), *self.gan.latent)
        return changed(self.gan, z, codes, truncation)

    @cached_property
    def forms(self) -> Forms:
        """The forms of layers that it was trained with."""
        return forms_of(self.path)

    def _checked_latents(self, z: npt.ArrayLike, count: int) -> Tensor:
        """`z` as the generator takes it, checked."""
        shape = (count, *self.gan.latent)
        self.check_takes_latents()
        try:
            values = np.asarray(z).astype(np.float64, casting="same_kind")
        except (TypeError, ValueError, RuntimeError) as error:
            raise GanfoldError(f"z must be an array of real numbers of the shape {shape}") from error
        if values.shape != shape:
            raise GanfoldError(
                f"z must be of the shape {shape}, a row for each of the {count} images: not {values.shape}"
            )
        if not (np.abs(values) <= FLOAT_MOST).all():
            raise GanfoldError("z must be finite in 32 bits: it holds infinity, NaN or a number beyond")
        return torch.from_numpy(values).float()

    def check_takes_latents(self) -> None:
        """See that it takes latents.

        Raises:
            GanfoldError: its generator has no noise.
        """
        if math.prod(self.gan.latent) <= self.gan.conditioned_on_images:  # one number that it does not use, or none
            raise GanfoldError(f"{self.path} takes no z: its generator has no noise")

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

    def labels(self, count: int, seed: int = 0, start: int = 0, shares: Pairs = ()) -> np.ndarray | None:
        """The classes, int64 (count,), of the images of a seed where no label is requested.

        They come as often as in training, or as the shares say. None where the generator takes no labels.
        """
        labelling = self._labelling_by(shares, seed) if shares else self._labelling(seed)
        return labelling(torch.arange(start, start + count)).numpy() if labelling else None

    def _labelling(self, seed: int) -> Labelling | None:
        return as_frequent_as(self.record.data.class_counts, seed) if self.gan.conditional else None

    def _labelling_by(self, shares: Pairs, seed: int) -> Labelling:
        requested = pairs("--shares", shares, "CLASS=2")
        return as_frequent_as(check_shares(self.classes, str(self.path), requested), seed)

    def check_label(self, label: str) -> None:
        """See that its generator draws this class.

        Raises:
            GanfoldError: it takes no labels, or there is no such class.
        """
        if not self.gan.conditional:
            raise GanfoldError(f"{self.path} takes no label: {self.record.gan} was trained without")
        if label not in self.classes:
            known = ", ".join(self.classes[:20]) + (", ..." if len(self.classes) > 20 else "")
            raise GanfoldError(f"no class {label!r} in {self.path}{did_you_mean(label, self.classes)} (known: {known})")

    def _constant(self, label: str) -> Labelling:
        self.check_label(label)
        number = self.classes.index(label)
        return lambda rows: torch.full_like(rows, number)

    def prepared_like(self, source: str | Path, progress: bool, **options: Any) -> ImageSet:
        """Other images, prepared as those of the run were; `options` go to `ganfold.data.load` too."""
        trained = self.record.data
        return data.load(
            source,
            resolution=trained.resolution,
            channels=trained.channels,
            fit=self.record.settings.fit,
            crops=trained.crops,
            progress=progress,
            **options,
        )

    def images(self, progress: bool = True) -> ImageSet:
        """The images that it was trained on, and those that it held out.

        Raises:
            GanfoldError: they are gone, or others are there now.
        """
        trained, settings = self.record.data, self.record.settings
        source, target = self._sources()
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
                classes_from=settings.classes_from,
                crops=trained.crops,
                progress=progress,
            )
        except GanfoldError as error:
            flags = "--data" if target is None else "--data and --target"
            raise GanfoldError(
                f"the images that {self.path} was trained on cannot be read ({error}): if they were moved, say by "
                f"{flags} where they are now"
            ) from error
        if images.fingerprint != trained.fingerprint:
            raise self._others("--data", source) if target is None else self._others("--target", target)
        if images.inputs and (not trained.inputs or images.inputs.fingerprint != trained.inputs.fingerprint):
            raise self._others("--data", source)
        return images

    def _sources(self) -> tuple[str, str | None]:
        """Where its images are now: `source` and `target` of `ganfold.data.load_as`."""
        source, target = self.record.sources(self.gan_class)
        if self._target is not None and target is None:
            raise GanfoldError(f"{self.path} was trained on one kind of images: leave out --target")
        return self._data or source, self._target or target

    def _others(self, flag: str, source: str) -> GanfoldError:
        return GanfoldError(
            f"{self.path} was trained on other images than {source} holds now: restore them, or say by {flag} "
            "where the same images are"
        )


def build(record: RunRecord, gan_class: type[GAN]) -> GAN:
    """The GAN that a record describes, with fresh weights from its seed, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(record.settings.seed)
        return gan_class(record.gan_config(gan_class), record.data.shape)


def folder_of(path: str | Path) -> Path:
    """The folder of a run; a run of the hub is downloaded."""
    if isinstance(path, str) and path.startswith("hub:"):
        from ganfold.runs.hub import downloaded

        return downloaded(path)
    return Path(as_path("the run", path))


def as_run(
    images: str | Path | Run,
    checkpoint: str = "best",
    gan: str | type[GAN] | None = None,
    data: str | Path | None = None,
    target: str | Path | None = None,
) -> Run | None:
    """The run that this is, its images in `data` and `target`; None where it is a folder or file of images."""
    is_run = isinstance(images, Run) or str(images).startswith("hub:") or (Path(images) / NAME).is_file()
    if not is_run:
        if data is not None or target is not None:
            flag = "--target" if data is None else "--data"
            raise GanfoldError(f"{images} is not a run: {flag} says where the images of a run are now")
        return None
    return loaded(images, checkpoint, gan, data, target)


def loaded(
    run: str | Path | Run,
    checkpoint: str = "best",
    gan: str | type[GAN] | None = None,
    data: str | Path | None = None,
    target: str | Path | None = None,
) -> Run:
    """The run, loaded if it is not; its images in `data` and `target`, if these are given."""
    if not isinstance(run, Run):
        return Run(run, checkpoint, gan, data, target)
    if data is None and target is None:
        return run
    return Run(run.path, run._requested, run._gan, data or run._data, target or run._target)


def load(
    path: str | Path,
    checkpoint: str = "best",
    gan: str | type[GAN] | None = None,
    data: str | Path | None = None,
    target: str | Path | None = None,
) -> Run:
    """Open a run folder; see `Run`."""
    return Run(path, checkpoint, gan, data, target)
