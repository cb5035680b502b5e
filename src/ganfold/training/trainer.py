"""The step of the only training loop. It runs the phases of any GAN, and does all that a GAN's file leaves out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer, RMSprop

from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Terms
from ganfold.runs.checkpoint import misfit, restore, wrong_counter, wrong_tensor
from ganfold.runs.record import RunRecord
from ganfold.runs.run import build
from ganfold.training.average import Average
from ganfold.training.batches import Batches
from ganfold.training.meter import Meter
from ganfold.training.ranks import Ranks

MOVE_STEPS = 32  # every so many steps, log how far an update moves the weights, relative to their length


class Trainer:
    """A GAN with its batches, its averages and the state of its optimizers. `step` trains it by one step.

    All random numbers follow from (seed, step, phase), and everything else is in `state`. A trainer that loads the
    state of another therefore continues exactly as that one would.

    `parts` is the number of parts in which a batch is processed, one after the other, if memory does not hold it at
    once. Their gradients add up to those of the whole batch. BatchNorm sees the images of one part at a time.
    """

    def __init__(
        self,
        gan: GAN,
        batches: Batches,
        *,
        seed: int,
        device: torch.device,
        ranks: Ranks,
        ema_images: float,
        bf16: bool = False,
    ) -> None:
        if batches.size == ranks.world and any(isinstance(module, nn.BatchNorm1d) for module in gan.modules()):
            raise GanfoldError(
                "BatchNorm of this GAN compares the images of a batch, and a batch of one has none to compare with: "
                f"give --batch {2 * ranks.world} or more"
            )
        gan.to(device)
        self.gan = gan.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self.batches, self.seed, self.device, self.ranks, self.bf16 = batches, seed, device, ranks, bf16
        ranks.broadcast([*gan.parameters(), *gan.buffers()])
        self.averages = {name: Average(getattr(gan, name), ema_images, gan.ema_share) for name in gan.averaged}
        self.meter = Meter()
        self.steps = self.draws = 0
        self.parts = 1
        self._owned = {name: _weights(optimizer) for name, optimizer in gan.optimizers.items()}
        self._rates = {n: [group["lr"] for group in o.param_groups] for n, o in gan.optimizers.items()}
        self._slowed = 1.0
        gan.requires_grad_(False)

    @property
    def images(self) -> int:
        """Real images seen, over all ranks: the clock."""
        return self.draws * self.batches.size

    def step(self) -> None:
        """Run every phase that is due, in order, then move the averages. A step never waits for the device."""
        before = self.images
        self.gan.seen.fill_(before)
        self._set_rates(self.gan.rate(before))
        due = {
            number: phase
            for number, phase in enumerate(self.gan.phases)
            if self.steps % phase.every == 0 and phase.since <= before / 1000 < phase.until
        }
        first = last = self._draw()
        early = {number: self._early(number, phase, first) for number, phase in due.items() if phase.early}
        for number, phase in due.items():
            batch = first if phase.early else last  # the batch that its early fields belong to
            for turn in range(phase.rounds):
                if turn:
                    batch = last = self._draw()
                    batch.make = partial(self._early_of_all, due, turn)
                    if phase.early:
                        early[number] = self._early(number, phase, batch, turn)
                batch.update(early.get(number, {}))
                batch.begin(self.seed, "phase", self.steps, number, turn)
                self._update(number, phase, batch, turn)
                batch.update(_constant(early.get(number, {})))
        fake = last.get("fake", first.get("fake"))
        if fake is not None and len(fake) > 1 and fake.shape == last["image"].shape:
            self.meter.add("spread", {"spread/real": _spread(last["image"]), "spread/fake": _spread(fake)})
        for name, average in self.averages.items():
            average.update(getattr(self.gan, name), self.images - before, self.images)
        self.steps += 1

    def slow_down(self, factor: float) -> None:
        """From now on use this share of every learning rate that the GAN sets."""
        self._slowed = factor

    def _set_rates(self, share: float) -> None:
        for name, optimizer in self.gan.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self._rates[name], strict=True):
                group["lr"] = rate * share * self._slowed

    def split_further(self) -> bool:
        """From now on process a batch in twice as many parts. False if a part would hold one image only."""
        if 4 * self.parts > self.batches.size // self.ranks.world:
            return False
        self.parts *= 2
        for optimizer in self.gan.optimizers.values():
            optimizer.zero_grad()
        return True

    def _early(self, number: int, phase: Phase, batch: Batch, turn: int = 0) -> Terms:
        """The early fields of one phase, which it can differentiate through. The batch gets them as constants."""
        assert phase.early
        batch.begin(*self._early_key(number, turn))
        if self.parts == 1:
            with self._training(phase), self._autocast():
                fields = phase.early(batch)
        else:
            before = [
                buffer.clone() for buffer in self.gan.buffers()
            ]  # the phase runs it again, and it must count once
            with torch.no_grad(), self._autocast():
                made = [phase.early(part) for part in batch.split(self.parts)]
            for buffer, value in zip(self.gan.buffers(), before, strict=True):
                buffer.copy_(value)
            fields = {name: torch.cat([part[name] for part in made]) for name in made[0]}
        batch.update(_constant(fields))
        return fields

    def _early_of_all(self, due: dict[int, Phase], turn: int, batch: Batch) -> Terms:
        """The early fields of every due phase for a batch of a later round, as constants; see `Batch.__missing__`."""
        seen = Batch(dict(batch), batch.rows)  # the batch itself is in the middle of its phase
        fields: Terms = {}
        with torch.no_grad(), self._autocast(cache=False):  # a cached weight would have no gradient in the phase
            for number, phase in due.items():
                if phase.early:
                    seen.begin(*self._early_key(number, turn))
                    fields |= phase.early(seen)
                    seen.update(fields)
        return fields

    def _early_key(self, number: int, turn: int) -> tuple[int | str, ...]:
        return (self.seed, "early", self.steps, number, *([turn] if turn else []))

    def _update(self, number: int, phase: Phase, batch: Batch, turn: int = 0) -> None:
        """One update of a phase's weights."""
        optimizer, weights = self.gan.optimizers[phase.optimizer], self._owned[phase.optimizer]
        with self._training(phase):
            optimizer.zero_grad()
            if self.parts == 1:
                with self._autocast():
                    terms = phase.loss(batch)
                loss = _total(terms)
                loss.backward()  # type: ignore[no-untyped-call]
            else:
                terms = self._in_parts(number, phase, batch, turn)
                loss = _total(terms)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        self.ranks.average(gradients)
        before = [weight.clone() for weight in weights] if self.steps % MOVE_STEPS == 0 else []
        optimizer.step()
        if before:
            moved = torch._foreach_sub(list(weights), before)
            share = nn.utils.get_total_norm(moved) / nn.utils.get_total_norm(before)
            self.meter.add(f"move {number}", {f"move/{phase.optimizer}": share})
        is_first = not any(
            earlier.optimizer == phase.optimizer and earlier.until > phase.since and earlier.since < phase.until
            for earlier in self.gan.phases[:number]
        )
        self.meter.add(
            str(number),
            ({f"Loss_{phase.optimizer}": loss} if is_first else {})
            | {f"{phase.optimizer}/{term}": value for term, value in terms.items()}
            | batch.stats
            | ({f"grad_norm/{phase.optimizer}": nn.utils.get_total_norm(gradients)} if is_first else {}),
        )

    def _in_parts(self, number: int, phase: Phase, batch: Batch, turn: int) -> Terms:
        """The gradients and the terms of the whole batch, one part at a time."""
        terms: Terms = {}
        for part, early in zip(batch.split(self.parts), batch.split(self.parts), strict=True):
            share = len(part.rows) / len(batch.rows)
            with self._autocast():
                if phase.early:
                    early.begin(*self._early_key(number, turn))
                    part.update(phase.early(early))
                of_part = phase.loss(part)
            (share * _total(of_part)).backward()  # type: ignore[no-untyped-call]
            for sums, values in ((terms, of_part), (batch.stats, part.stats)):
                for name, value in values.items():
                    sums[name] = sums.get(name, 0) + share * value.detach()
        return terms

    @contextmanager
    def _training(self, phase: Phase) -> Iterator[None]:
        """Within this context the weights that the phase's optimizer owns take gradients. No other weights ever do."""
        weights = self._owned[phase.optimizer]
        for weight in weights:
            weight.requires_grad_(True)
        try:
            yield
        finally:  # also if memory runs out: the step is tried again
            for weight in weights:
                weight.requires_grad_(False)

    def _autocast(self, cache: bool = True) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16, cache_enabled=cache)

    def _draw(self) -> Batch:
        self.draws += 1
        return self.batches.draw(self.draws - 1)

    @torch.no_grad()
    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        """Images in [-1, 1] by the averaged networks, from latents and a condition, on the trainer's device."""
        live = {name: getattr(self.gan, name) for name in self.averages}
        for name, average in self.averages.items():
            setattr(self.gan, name, average.network)
        try:
            return self.gan.sample(z, condition)
        finally:
            for name, network in live.items():
                setattr(self.gan, name, network)

    # The checkpoint: tensors by name, and counters.

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that a trainer needs to continue, as tensors and JSON."""
        sums, meter = self.meter.state()
        tensors = self._networks()
        for name, number, key, value in self._moments():
            tensors[f"optimizer.{name}.{number}.{key}"] = value
        tensors |= {f"meter.{group}": value for group, value in sums.items()}
        return tensors, {"steps": self.steps, "draws": self.draws, "parts": self.parts, "meter": meter}

    def load(self, tensors: dict[str, Tensor], state: dict[str, Any], whose: str | Path = "this checkpoint") -> None:
        """Continue from another trainer's `state`.

        Args:
            tensors, state: from there.
            whose: names their file in the error.

        Raises:
            GanfoldError: something is missing, not known, or of another shape or type. Nothing has been loaded then.
        """
        if wrong := self._misfit(tensors, state):
            raise misfit(whose, wrong)
        restore(self.gan, _below("gan.", tensors))
        for name, average in self.averages.items():
            restore(average.network, _below(f"average.{name}.", tensors))
        for name, optimizer in self.gan.optimizers.items():
            moments: dict[int, dict[str, Tensor]] = {}
            for key, value in _below(f"optimizer.{name}.", tensors).items():
                number, _, moment = key.partition(".")
                moments.setdefault(int(number), {})[moment] = value
            optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
            for weight, loaded in optimizer.state.items():
                for key, value in loaded.items():
                    if (
                        value.shape == weight.shape
                    ):  # a fused step walks both in memory order: they need the same layout
                        loaded[key] = torch.empty_like(weight).copy_(value)
        self.meter.load(_below("meter.", tensors), state["meter"], self.device)
        self.steps, self.draws, self.parts = state["steps"], state["draws"], state.get("parts", 1)

    def _misfit(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> str:
        """What is wrong with another trainer's `state` for this one; "" if nothing is."""
        if wrong := wrong_counter(state):
            return wrong
        if state.get("parts", 1) > self.batches.size:
            return f"parts in its state is {state['parts']}, with a batch of {self.batches.size}"
        expected = self._networks()
        for name, optimizer in self.gan.optimizers.items():
            found = _below(f"optimizer.{name}.", tensors)
            if wrong := _wrong_moment(optimizer, self._owned[name], found):
                return f"in the optimizer {name} {wrong}"
            expected |= {f"optimizer.{name}.{key}": value for key, value in found.items()}
        for group, names in state["meter"]["names"].items():
            expected[f"meter.{group}"] = torch.empty(len(names), dtype=torch.float32)
        return wrong_tensor(tensors, expected)

    def _networks(self) -> dict[str, Tensor]:
        """The weights and buffers of the networks and of their averages."""
        tensors = {f"gan.{name}": value for name, value in self.gan.state_dict().items()}
        for name, average in self.averages.items():
            tensors |= {f"average.{name}.{key}": value for key, value in average.network.state_dict().items()}
        return tensors

    def _moments(self) -> Iterator[tuple[str, int, str, Tensor]]:
        """The tensors of each optimizer, with its name and the number of the weight that they belong to."""
        for name, optimizer in self.gan.optimizers.items():
            for number, weight in enumerate(self._owned[name]):
                for key, value in optimizer.state.get(weight, {}).items():
                    yield name, number, key, value


def weights(gan: GAN) -> str:
    """The number of weights of each network, all in one unit: "G 0.7 M, D 0.4 M" or "G 130,211, D 41,473"."""
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in gan.named_children()}
    counts = {name: count for name, count in counts.items() if count}
    large = min(counts.values(), default=0) >= 1e5
    return ", ".join(f"{name} {count / 1e6:.1f} M" if large else f"{name} {count:,}" for name, count in counts.items())


def make_trainer(
    record: RunRecord, gan_class: type[GAN], images: ImageSet, device: torch.device, ranks: Ranks
) -> Trainer:
    """The trainer of the run that the record describes, at its beginning.

    Raises:
        GanfoldError: the batch is larger than the set, or cannot be shared by the ranks.
    """
    gan, settings = build(record, gan_class), record.settings
    batches = Batches(
        images,
        seed=settings.seed,
        size=record.batch,
        ranks=ranks,
        device=device,
        flips=settings.flips,
        temper=gan.temper,
    )
    if settings.sync_bn and ranks.world > 1:
        if device.type != "cuda":
            raise GanfoldError("--sync-bn needs CUDA devices: PyTorch has no synchronised BatchNorm elsewhere")
        gan = torch.nn.SyncBatchNorm.convert_sync_batchnorm(gan)  # type: ignore[no-untyped-call]
    return Trainer(
        gan,
        batches,
        seed=settings.seed,
        device=device,
        ranks=ranks,
        ema_images=1000 * (gan.ema_kimg if settings.ema_kimg is None else settings.ema_kimg),
        bf16=settings.precision == "bf16",
    )


def _constant(fields: Terms) -> Terms:
    return {name: value.detach() for name, value in fields.items()}


def _weights(optimizer: Optimizer) -> Sequence[nn.Parameter]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _wrong_moment(optimizer: Optimizer, weights: Sequence[Tensor], moments: dict[str, Tensor]) -> str:
    """The first of an optimizer's loaded moments, "<number of the weight>.<name>", that it must not get; "" if none.

    A fused step does not look: it reads and writes each moment to the length of its weight. PyTorch's other optimizers
    also have moments of one number, or shorter in some dimensions.
    """
    kinds, fused = _kinds(optimizer), any(group.get("fused") for group in optimizer.param_groups)
    known = {str(place) for place in range(len(weights))}
    own: dict[str, set[str]] = {}
    for key, value in moments.items():
        number, _, kind = key.partition(".")
        if number not in known:
            return f"{key!r} belongs to none of its {len(known)} weights"
        weight = weights[int(number)]
        own.setdefault(number, set()).add(kind)
        wanted = () if kind == "step" else tuple(weight.shape)
        if tuple(value.shape) != wanted and (kinds or fused or not _is_within(value, weight)):
            return f"{key!r} has the shape {tuple(value.shape)} and not {wanted}"
        types = (torch.float32, torch.get_default_dtype()) if kind == "step" else (weight.dtype,)
        if value.dtype not in types:
            return f"{key!r} has the type {value.dtype} and not {types[0]}"
        if kind == "step" and not 0 <= float(value) < math.inf:
            return f"{key!r} is {float(value)}"
    for number, names in own.items():
        if kinds and (differing := sorted(names ^ kinds)):
            return f"{number + '.' + differing[0]!r} {'belongs to nothing' if differing[0] in names else 'is missing'}"
    return ""


def _kinds(optimizer: Optimizer) -> set[str]:
    """The moments that each weight has in PyTorch's Adam or RMSprop; empty for any other optimizer."""
    options = optimizer.defaults
    if isinstance(optimizer, Adam):
        return {"step", "exp_avg", "exp_avg_sq"} | ({"max_exp_avg_sq"} if options["amsgrad"] else set())
    if isinstance(optimizer, RMSprop):
        more = {"momentum_buffer": options["momentum"], "grad_avg": options["centered"]}
        return {"step", "square_avg"} | {name for name, is_on in more.items() if is_on}
    return set()


def _is_within(moment: Tensor, weight: Tensor) -> bool:
    """Whether a moment has one number, or in each dimension as many as its weight or one (Adafactor)."""
    return moment.dim() == 0 or (
        moment.dim() == weight.dim() and all(n in (1, of) for n, of in zip(moment.shape, weight.shape, strict=True))
    )


def _total(terms: Terms) -> Tensor:
    return torch.stack([term.float() for term in terms.values()]).sum()


def _spread(images: Tensor) -> Tensor:
    """The deviation of a pixel over the batch, averaged over a grid of 8 x 8 pixels; 0 if all images are equal."""
    step = max(1, images.shape[-1] // 8)
    return images.detach()[:, :, ::step, ::step].float().std(0).mean()


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
