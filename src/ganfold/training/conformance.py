"""The contract's check for everybody: `ganfold.gans.check(MyGAN)` runs a GAN through all that the trainer relies on.

Each case is a function below. It returns nothing if the GAN passes, or raises one of the two exceptions `Failed` and
`Skipped` with a sentence. The images are made here, so no files are needed.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from traceback import extract_tb
from typing import Any, NamedTuple, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ganfold.data import ImageSet
from ganfold.data.captions import LENGTH, Captions
from ganfold.data.fields import Fields
from ganfold.data.sources.findings import Findings
from ganfold.errors import GanfoldError, did_you_mean
from ganfold.gans import noise
from ganfold.gans.contract import GAN, Batch, Phase, Shape, Task, Terms
from ganfold.gans.registry import find, name_of
from ganfold.interface.result import Result
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer

T = TypeVar("T")
SMALL: dict[str, Any] = {"batch": 8, "width": 4, "z_dim": 6, "blocks": 1}  # options that make networks small
WORDS = ("dark", "ground", "square")
CLASSES = ("a", "b", "c")
CPU = torch.device("cpu")
NATIVE = (8, 16, 28, 32, 48, 60, 64, 100, 1000)  # sizes of a user's images, in pixels
SATURATED = 0.05  # the share of the first samples' pixels that may lie beyond 0.99
TOLERANCE = 1e-3  # relative, of float32 sums in another order
LEFT_OUT = {  # words that a GAN's file leaves out, and why
    ".item(": "a value stays a tensor",
    "detach": "a phase trains what its optimizer owns, and all else is frozen",
    "no_grad": "a phase trains what its optimizer owns, and all else is frozen",
    "zero_grad": "the trainer clears gradients",
    "retain_graph": "a term that two phases need is computed in each",
    ".backward": "a loss returns terms, and the trainer differentiates them",
    ".cuda": "the trainer moves networks and batches",
    "device": "the trainer moves networks and batches",
    "torch.rand": "`batch.normal` and `batch.uniform` draw numbers that a resumed training draws again",
    "open(": "a GAN reads and writes no files",
}


class Failed(Exception):
    """A case that the GAN does not pass: what was found, and what to do."""


class Skipped(Exception):
    """A case that cannot be tried: why."""


@dataclass(frozen=True)
class Case:
    """One case of the contract."""

    name: str
    ok: bool | None  # None: it was skipped
    sentence: str = ""  # what was found and what to do, or why it was skipped

    def line(self) -> str:
        mark = {True: "ok", False: "FAIL", None: "skip"}[self.ok]
        return f"{mark:4}  {self.name}" + (f": {self.sentence}" if self.sentence else "")


@dataclass(frozen=True, repr=False)
class Conformance(Result):
    """What `check` found, case by case."""

    gan: str
    cases: list[Case]

    @property
    def passed(self) -> bool:
        """Whether no case failed."""
        return all(case.ok is not False for case in self.cases)

    def __getitem__(self, name: str) -> Case:
        return next(case for case in self.cases if case.name == name)

    def lines(self) -> list[str]:
        """A verdict, and a line for each case."""
        failed = sum(case.ok is False for case in self.cases)
        verdict = "keeps the contract" if not failed else f"fails {failed} of {len(self.cases)} cases"
        return [f"{self.gan} {verdict}", *(case.line() for case in self.cases)]


def check(gan: str | type[GAN], **options: Any) -> Conformance:
    """Run a GAN through every case of the contract, with small networks on small images made up here.

    Args:
        gan: its class, its name, or "my_gan.py:SNGAN".
        options: of its `Config`, if the small defaults do not suit it: `batch`, `width`, `z_dim`, `blocks`.

    Raises:
        GanfoldError: there is no such GAN, or it has no such option.
    """
    gan_class = find(gan)
    return Conformance(name_of(gan_class), [run_case(gan_class, name, **options) for name in CASES])


def run_case(gan: str | type[GAN], name: str, **options: Any) -> Case:
    """Run a GAN through the case of this name; see `check`."""
    subject = Subject(find(gan), options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            CASES[name](subject)
        except Failed as found:
            return Case(name, False, str(found))
        except Skipped as why:
            return Case(name, None, str(why))
        except Exception as error:
            return Case(name, False, _told(error, subject.gan_class))
    return Case(name, True)


class Subject:
    """The GAN under test: its class, small options, and images with every field that a GAN may need."""

    def __init__(self, gan_class: type[GAN], options: dict[str, Any], small: Mapping[str, Any] = SMALL) -> None:
        known = {field.name for field in fields(gan_class.config_class)}
        if unknown := [name for name in options if name not in known]:
            raise GanfoldError(
                f"{gan_class.__name__} has no option {unknown[0]!r}{did_you_mean(unknown[0], known)} "
                f"(known: {', '.join(sorted(known))})"
            )
        self.gan_class, self.options = gan_class, options
        self.config = gan_class.config_class(**{n: v for n, v in small.items() if n in known} | options)
        self.side = gan_class.resolution(16)

    def gan(self, channels: int = 3, resolution: int | None = None, seed: int = 0) -> GAN:
        torch.manual_seed(seed)
        side, words = resolution or self.side, len(WORDS) + 1
        return self.gan_class(
            self.config, Shape(channels, side, len(CLASSES), inputs=channels, words=words, keypoints=2)
        )

    def images(self, channels: int = 3) -> ImageSet:
        """Coloured squares on a dark ground, with labels, inputs, captions and places."""
        count, random = max(48, 2 * self.config.batch), np.random.default_rng(0)
        pixels = np.full((count, channels, self.side, self.side), 20, np.uint8)
        for image in pixels:
            top, left = random.integers(0, self.side * 5 // 8, 2)
            size = self.side * 3 // 8
            image[:, top : top + size, left : left + size] = random.integers(80, 255, (channels, 1, 1))
        places = np.array([[0.2, 0.1, 0.5, 0.6]] * count, np.float32)
        tokens = random.integers(0, len(WORDS) + 1, (count, LENGTH)).astype(np.uint16)
        images = ImageSet(
            images=pixels,
            labels=np.arange(count) % len(CLASSES),
            classes=CLASSES,
            attributes=None,
            names=[str(number) for number in range(count)],
            train=np.arange(count),
            held_out=np.arange(0),
            fingerprint="",
            source="squares",
            findings=Findings("squares"),
            captions=Captions(WORDS, tokens, places, random.random((count, 2, 3), np.float32)),
        )
        partner = None if self.gan_class.data_kind(self.config) == "domains" else np.arange(count)
        return replace(images, inputs=replace(images, images=255 - pixels), partner=partner)

    def trainer(self, gan: GAN | None = None, ranks: Ranks | None = None) -> Trainer:
        gan, ranks = gan or self.gan(), ranks or Ranks("cpu")
        batches = Batches(
            self.images(), seed=0, size=self.config.batch, ranks=ranks, device=CPU, flips=True, temper=gan.temper
        )
        return Trainer(gan, batches, seed=0, device=CPU, ranks=ranks, ema_images=1000)

    def still_trainer(self, gan: GAN | None = None, ranks: Ranks | None = None) -> Trainer:
        """A trainer that moves no weights, with BatchNorm's averages, so that no image depends on another."""
        gan = gan or self.gan()
        for name, optimizer in gan.optimizers.items():
            gan.optimizers[name] = torch.optim.SGD(_weights(optimizer), lr=0.0)
        trainer = self.trainer(gan, ranks)
        trainer.gan.eval()
        return trainer

    def batch(self, count: int, channels: int = 3) -> Batch:
        """The first images as a batch."""
        rows = np.arange(count)
        batch = Batch(Fields(self.images(channels), CPU)(rows, rows), torch.arange(count))
        batch.begin("check")
        return batch


# The cases. Each name is a sentence that is true of a GAN that passes.


def images_have_the_requested_shape_and_range(subject: Subject) -> None:
    for channels in (1, 3, 4):
        gan = subject.gan(channels).eval()
        z, condition = noise.normal(1, torch.arange(5), *gan.latent), gan.condition(subject.batch(5, channels))
        made, requested = gan.sample(z, condition), (5, channels, subject.side, subject.side)
        if made.shape != requested:
            raise Failed(f"`sample` gave {tuple(made.shape)} for {requested}: build the networks for `shape`")
        if not made.isfinite().all() or made.abs().max() > 1:
            raise Failed(f"`sample` reaches {made.abs().max():.3g}, and images are in [-1, 1]: end with a Tanh")
        if not made.std() > 0:
            raise Failed("all pixels that `sample` gives are the same: see how the networks are initialised")


def first_samples_are_not_saturated(subject: Subject) -> None:
    full = Subject(subject.gan_class, subject.options, small={})  # small networks hide first weights that are too large
    for channels in (1, 3):
        gan, batch = full.gan(channels), full.batch(16, channels)
        with torch.no_grad():
            made = gan.sample(noise.normal(1, torch.arange(16), *gan.latent), gan.condition(batch))
        share = (made.abs() > 0.99).float().mean().item()
        if share > SATURATED:
            raise Failed(
                f"{share:.0%} of the pixels of the first samples lie beyond 0.99, where tanh has no slope: "
                "give the last layer of G smaller first weights"
            )


def a_phase_moves_exactly_what_its_optimizer_owns(subject: Subject) -> None:
    trainer = subject.trainer()
    gan = trainer.gan
    trainer.step()  # a layer that begins at zero hides those before it from the first gradient
    gan.seen.fill_(10**6)  # and so does what is let in slowly
    batch = trainer.batches.draw(0)
    for number, phase in enumerate(gan.phases):
        if phase.early:
            trainer._early(number, phase, batch)
    for number, phase in enumerate(gan.phases):
        made = trainer._early(number, phase, batch) if phase.early else {}
        batch.update(made)
        before = {name: weight.clone() for name, weight in gan.named_parameters()}
        batch.begin("check", number)
        trainer._update(number, phase, batch)
        batch.update({name: value.detach() for name, value in made.items()})
        if open_ := {name for name, weight in gan.named_parameters() if weight.requires_grad}:
            raise Failed(
                f"after the phase of {_title(phase)} {_some(open_)} takes gradients: leave that to the trainer"
            )
        moved = {name for name, weight in gan.named_parameters() if not torch.equal(weight, before[name])}
        owned = {name for name, weight in gan.named_parameters() if any(weight is w for w in _owned(gan, phase))}
        if still := owned - moved:
            raise Failed(
                f"the phase of {_title(phase)} does not move {_some(still)}: use these weights in its loss, or take "
                f"them out of the optimizer {phase.optimizer!r}"
            )
        if moved - owned:
            raise Failed(
                f"the phase of {_title(phase)} moves {_some(moved - owned)}, which the optimizer {phase.optimizer!r} "
                "does not own: a loss must not write to weights"
            )


def every_weight_is_owned_and_every_phase_has_terms(subject: Subject) -> None:
    trainer = subject.trainer()
    gan = trainer.gan
    owned = {id(weight) for phase in gan.phases for weight in _owned(gan, phase)}
    if free := {name for name, weight in gan.named_parameters() if id(weight) not in owned}:
        raise Failed(f"no phase trains {_some(free)}: give them to an optimizer that a phase names, or use a buffer")
    if unused := gan.optimizers.keys() - {phase.optimizer for phase in gan.phases}:
        raise Failed(f"no phase names the optimizer {_some(unused)}: add a phase, or leave it out")
    gan.phases = [replace(phase, loss=_with_terms(phase)) for phase in gan.phases]
    trainer.step()
    means = trainer.meter.means()
    for phase in (phase for phase in gan.phases if phase.since <= 0 < phase.until and phase.every == 1):
        if not means[f"grad_norm/{phase.optimizer}"] > 0:
            raise Failed(f"the loss of {phase.optimizer} has no gradient: it must depend on the weights that it trains")


def the_same_seed_gives_the_same_bits(subject: Subject) -> None:
    one, other = subject.trainer(), subject.trainer()
    for _ in range(3):
        one.step()
        torch.rand(7)  # whatever else draws from torch's own generator must not matter
        other.step()
    if name := _difference(one, other):
        raise Failed(
            f"two trainings with one seed differ in {name}: draw numbers with `batch.normal` and `batch.uniform` only"
        )


def a_resumed_training_gives_the_same_bits(subject: Subject) -> None:
    for stop in (0, 1, 3):
        whole, first, second = (subject.trainer() for _ in range(3))
        for _ in range(5):
            whole.step()
        for _ in range(stop):
            first.step()
        _resume(first, second)
        for _ in range(5 - stop):
            second.step()
        if name := _difference(whole, second):
            raise Failed(
                f"a training that was stopped after step {stop} and resumed differs in {name}: keep all that lasts in "
                "buffers (`register_buffer`), and draw numbers with `batch.normal` and `batch.uniform` only"
            )


def the_averaged_networks_follow_and_make_the_samples(subject: Subject) -> None:
    trainer = subject.trainer()
    gan = trainer.gan
    z, condition = noise.normal(0, torch.arange(4), *gan.latent), gan.condition(subject.batch(4))
    before = trainer.sample(z, condition)
    for _ in range(3):
        trainer.step()
    made = trainer.sample(z, condition)
    if torch.equal(made, before):
        raise Failed("three steps changed no sample: `sample` does not use the weights that are trained")
    for network in gan.averaged:
        live = dict(getattr(gan, network).named_parameters())
        average = trainer.averages[network].network
        if same := {name for name, weight in average.named_parameters() if torch.equal(weight, live[name])}:
            raise Failed(f"the average of {network} does not lag behind in {_some(same)}: no phase has moved these")
    for weight in gan.parameters():
        weight.data.mul_(0.5)
    if not torch.equal(trainer.sample(z, condition), made):
        raise Failed(f"`sample` uses trained networks besides {', '.join(gan.averaged)}: name them in `averaged` too")


def parts_give_the_gradients_of_the_whole(subject: Subject) -> None:
    whole = _gradients(subject.still_trainer())
    for parts in (2, 3):  # three parts of eight images are of unequal size
        trainer = subject.trainer()
        trainer.parts = parts
        trainer.step()  # with BatchNorm this is another training, but it must run
        trainer = subject.still_trainer()
        trainer.parts = parts
        _compare(whole, _gradients(trainer), f"a batch in {parts} parts")


def two_ranks_give_the_gradients_of_one(subject: Subject) -> None:
    if subject.config.batch % 2:
        raise Skipped(f"two ranks cannot share a batch of {subject.config.batch}")
    whole = _gradients(subject.still_trainer())
    for rank in _on_two_ranks(subject, lambda gan, ranks: _gradients(subject.still_trainer(gan, ranks))):
        _compare(whole, rank, "a batch shared by two ranks")

    def trained(gan: GAN, ranks: Ranks) -> dict[str, nn.Parameter]:
        trainer = subject.trainer(gan, ranks)
        for _ in range(3):
            trainer.step()
        return dict(trainer.gan.named_parameters())

    one, other = _on_two_ranks(subject, trained)
    if apart := {name for name, weight in one.items() if not torch.equal(weight, other[name])}:
        raise Failed(f"after three steps the weights of two ranks differ in {_some(apart)}: let optimizers change them")


def later_rounds_have_fresh_early_fields(subject: Subject) -> None:
    def trainer() -> Trainer:
        gan = subject.gan()
        gan.phases = [replace(phase, rounds=max(2, phase.rounds)) for phase in gan.phases]
        return subject.trainer(gan)

    whole, first, second = trainer(), trainer(), trainer()
    whole.step()
    whole.step()
    if bad := whole.meter.not_finite():
        raise Failed(f"with two rounds in each phase {_some(bad)} is not finite")
    first.step()
    _resume(first, second)
    second.step()
    if name := _difference(whole, second):
        raise Failed(f"with two rounds in each phase a resumed training differs in {name}")


def the_source_leaves_gradients_and_devices_to_the_trainer(subject: Subject) -> None:
    code = _source(subject.gan_class)
    for word, remedy in LEFT_OUT.items():
        if word in code:
            raise Failed(f"the source says `{word.strip('.(')}`: leave it out, since {remedy}")


def every_option_has_a_comment(subject: Subject) -> None:
    for config_class in subject.gan_class.config_class.__mro__[:-1]:
        try:
            source = textwrap.dedent(inspect.getsource(config_class))
        except (OSError, TypeError) as error:
            raise Skipped("the source of `Config` cannot be read") from error
        (definition,), lines = ast.parse(source).body, source.splitlines()
        for node in (node for node in ast.walk(definition) if isinstance(node, ast.AnnAssign)):
            if "#" not in lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset :]:
                name = ast.unparse(node.target)
                raise Failed(f"{name} has no comment on its line of `Config`: write one, it is the help text")


def the_default_resolution_can_be_built(subject: Subject) -> None:
    for native in NATIVE:
        resolution, most = subject.gan_class.resolution(native), max(64, native)
        if resolution > most:
            raise Failed(f"`resolution({native})` is {resolution}, which enlarges the images: give {most} or less")
        subject.gan(resolution=resolution)


def what_it_says_of_itself_is_true(subject: Subject) -> None:
    gan = subject.gan().eval()
    if gan.task not in get_args(Task):
        raise Failed(f"task is {gan.task!r}: choose one of {', '.join(get_args(Task))}")
    taken = gan.condition(subject.batch(5)).keys()
    if gan.conditioned_on_images != bool(taken - {"label"}):
        raise Failed(
            f"`condition` gives {_some(taken) or 'nothing'}, but conditioned_on_images is {gan.conditioned_on_images}"
        )
    if gan.conditional != ("label" in taken):
        raise Failed(f"`condition` gives {_some(taken) or 'nothing'}, but conditional is {gan.conditional}")
    if (gan.conditional or gan.needs_labels) and not gan.can_take_labels:
        raise Failed("it learns by class: set can_take_labels")
    if gan.judges:
        batch = subject.batch(5)
        alone = Batch({"label": batch["label"]}, batch.rows)
        alone.begin("check")
        opinion = gan.judge(alone, batch["image"])
        if opinion is None or opinion.shape != (5,):
            raise Failed("`judge` does not give one number for each image")
    for network in gan.averaged:
        if not isinstance(getattr(gan, network, None), nn.Module):
            raise Failed(f"`averaged` names {network!r}, which is no network of it")
    if gan.task == "translation":
        batch = subject.batch(5)
        x, z = gan.condition(batch)["input"], noise.normal(1, batch.rows, *gan.latent)
        images = gan.translate(x, z)
        if images.shape != batch["image"].shape:
            raise Failed(f"`translate` gave {tuple(images.shape)} for {tuple(batch['image'].shape)}")
        if gan.two_way and (back := gan.translate(images, z, reverse=True)).shape != x.shape:
            raise Failed(f"`translate` with reverse=True gave {tuple(back.shape)} for {tuple(x.shape)}")
    if gan.image_network:
        remedy = f"image_network is {gan.image_network!r}: name the part of D that takes images alone, or None"
        try:
            features = gan.get_submodule(gan.image_network)(subject.batch(5)["image"])
        except Exception as error:
            raise Failed(f"{_told(error, subject.gan_class)}; {remedy}") from error
        if not isinstance(features, Tensor) or len(features) != 5:
            raise Failed(f"it does not give a row for each image; {remedy}")


CASES: dict[str, Callable[[Subject], None]] = {
    case.__name__.replace("_", " "): case
    for case in (
        images_have_the_requested_shape_and_range,
        first_samples_are_not_saturated,
        a_phase_moves_exactly_what_its_optimizer_owns,
        every_weight_is_owned_and_every_phase_has_terms,
        the_same_seed_gives_the_same_bits,
        a_resumed_training_gives_the_same_bits,
        the_averaged_networks_follow_and_make_the_samples,
        parts_give_the_gradients_of_the_whole,
        two_ranks_give_the_gradients_of_one,
        later_rounds_have_fresh_early_fields,
        the_source_leaves_gradients_and_devices_to_the_trainer,
        every_option_has_a_comment,
        the_default_resolution_can_be_built,
        what_it_says_of_itself_is_true,
    )
}


# What the cases are made of.


class Gradients(NamedTuple):
    """What one step computes."""

    updates: list[tuple[str, Tensor]]  # for each update: the optimizer, and all its gradients end to end
    terms: dict[str, float]
    mixed: bool  # whether a loss depends on which images share a batch


def _gradients(trainer: Trainer) -> Gradients:
    """The gradients of one step of a trainer whose optimizers move nothing."""
    updates: list[tuple[str, Tensor]] = []

    def record(name: str, optimizer: torch.optim.Optimizer) -> None:
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in _weights(optimizer)]
        updates.append((name, torch.cat([gradient.flatten() for gradient in gradients])))

    for name, optimizer in trainer.gan.optimizers.items():
        optimizer.register_step_pre_hook(lambda o, *_, name=name: record(name, o))
    trainer.step()
    own = tuple(f"{name}/" for name in trainer.gan.optimizers)
    trainer.ranks.average(trainer.meter.sums())
    terms = {name: value for name, value in trainer.meter.means().items() if name.startswith(own)}
    return Gradients(updates, terms, trainer.gan.mixes_images)


def _compare(whole: Gradients, other: Gradients, what: str) -> None:
    """See that both are the same up to rounding."""
    if whole.mixed:
        return
    remedy = "let every image weigh the same; if a loss compares images on purpose, set mixes_images"
    for (name, one), (_, another) in zip(whole.updates, other.updates, strict=True):
        error, length = float((one - another).norm()), float(one.norm())
        if not error <= TOLERANCE * length + 1e-6:
            raise Failed(f"{what} gives other gradients for {name} (off by {error / max(length, 1e-12):.2g}): {remedy}")
    for name, value in whole.terms.items():
        if not abs(value - other.terms[name]) <= TOLERANCE * abs(value) + 1e-5:
            raise Failed(f"{what} has {name} {other.terms[name]:.5g}, not {value:.5g}: {remedy}")


class _Thread(Ranks):
    """One of two ranks that are threads of this process. The trainer cannot tell them from processes."""

    def __init__(self, rank: int, barrier: threading.Barrier, slots: list[Any]) -> None:
        self.world, self.rank, self.local, self._owns_group = 2, rank, rank, False
        self._barrier, self._slots = barrier, slots

    def exchange(self, value: Any) -> list[Any]:
        """The values of both."""
        self._slots[self.rank] = value
        self._barrier.wait()
        values = list(self._slots)
        self._barrier.wait()
        return values

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            tensor.data.copy_(self.exchange(tensor.data.clone())[0])

    def average(self, tensors: Sequence[Tensor]) -> None:
        for tensor in tensors:
            tensor.copy_(torch.stack(self.exchange(tensor.clone())).mean(0))

    def any(self, flag: bool, device: torch.device) -> bool:
        return any(self.exchange(flag))

    def wait(self) -> None:
        self.exchange(None)


def _on_two_ranks(subject: Subject, work: Callable[[GAN, Ranks], T]) -> list[T]:
    """What `work` gives on each rank. The GANs begin with other weights, which the trainer must make the same."""
    barrier, slots, gans = threading.Barrier(2), [None, None], [subject.gan(seed=rank) for rank in (0, 1)]
    results: list[Any] = [None, None]
    errors: list[Exception] = []

    def run(rank: int) -> None:
        try:
            results[rank] = work(gans[rank], _Thread(rank, barrier, slots))
        except Exception as error:
            if not isinstance(error, threading.BrokenBarrierError):  # the other rank has the error
                errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def _resume(one: Trainer, other: Trainer) -> None:
    """Let `other` go on where `one` is."""
    tensors, state = one.state()
    other.load({name: value.clone() for name, value in tensors.items()}, state)


def _difference(one: Trainer, other: Trainer) -> str:
    """The name of a tensor of the state in which they differ; "" if there is none."""
    (tensors, state), (others, other_state) = one.state(), other.state()
    if tensors.keys() != others.keys():
        return _some(tensors.keys() ^ others.keys())
    differing = [name for name, value in tensors.items() if not torch.equal(value, others[name])]
    return differing[0] if differing else "" if state == other_state else "the counters"


def _owned(gan: GAN, phase: Phase) -> list[Tensor]:
    if phase.optimizer not in gan.optimizers:
        raise Failed(f"a phase names the optimizer {phase.optimizer!r}, and `optimizers` has {_some(gan.optimizers)}")
    return _weights(gan.optimizers[phase.optimizer])


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _with_terms(phase: Phase) -> Callable[[Batch], Terms]:
    """The loss of a phase, which must return finite scalars."""

    def loss(batch: Batch) -> Terms:
        terms = phase.loss(batch)
        if not terms:
            raise Failed(f"the loss {_title(phase)} returned no terms: return a dict of named scalars")
        for name, term in terms.items():
            if term.shape != () or not term.isfinite():
                raise Failed(f"the loss {_title(phase)} returned {term.tolist()} as {name!r}: return a finite scalar")
        return terms

    return loss


def _title(phase: Phase) -> str:
    return f"`{getattr(phase.loss, '__name__', phase.optimizer)}`"


def _some(names: Iterable[str]) -> str:
    """The first of the names, and how many more there are."""
    first, *more = sorted(names) or ["nothing"]
    return f"{first} and {len(more)} more" if more else first


def _source(gan_class: type[GAN]) -> str:
    """The code of the class and of all that it uses from its module, without comments and docstrings."""
    file = _file_of(gan_class)
    try:
        tree = ast.parse(
            Path(file).read_text(encoding="utf-8") if file else textwrap.dedent(inspect.getsource(gan_class))
        )
        known = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        if gan_class.__name__ not in known:  # it was defined in a function
            known |= {gan_class.__name__: ast.parse(textwrap.dedent(inspect.getsource(gan_class)))}  # type: ignore[dict-item]
    except (OSError, TypeError, SyntaxError) as error:
        raise Skipped("its source cannot be read") from error
    used: dict[str, ast.AST] = {}
    names = [gan_class.__name__]
    while names:
        name = names.pop()
        if name in known and name not in used:
            used[name] = known[name]
            names += [node.id for node in ast.walk(known[name]) if isinstance(node, ast.Name)]
    for node in (node for root in used.values() for node in ast.walk(root)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return "\n".join(map(ast.unparse, used.values()))


def _told(error: Exception, gan_class: type[GAN]) -> str:
    """The kind of an error, its text, and the line of the GAN's file that it came from."""
    if isinstance(error, GanfoldError):
        return str(error)
    file, frames = _file_of(gan_class), extract_tb(error.__traceback__)
    frame = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1])
    return f"{type(error).__name__}: {error} ({Path(frame.filename).name}, line {frame.lineno})"


def _file_of(gan_class: type[GAN]) -> str | None:
    return getattr(sys.modules.get(gan_class.__module__), "__file__", None)
