"""The first layer that a latent meets in a generator, whichever its networks are, and what it makes of latents."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.gans import noise
from ganfold.gans.contract import GAN, Terms

MOST = 4096  # dimensions of a latent whose slopes are taken at once
COUNT = 2048  # latents for statistics of the first features
AT_ONCE = 256  # of them


class _Reached(Exception):
    """The layer that was looked for has its input."""


def first_slopes(gan: GAN, condition: Terms) -> Tensor:
    """The matrix of the first layer: d output / d z, (dimensions of z, values of the output).

    Each row follows one dimension forward through the network, up to the first layer with weights that depends on z.

    Args:
        condition: of one image.

    Raises:
        GanfoldError: there is no such layer, or z is too large.
    """
    size = math.prod(gan.latent)
    if size > MOST:
        raise GanfoldError(f"a latent of {size:,} dimensions is too large for directions: at most {MOST:,}")
    layers = _first_layers(gan, condition)
    if not layers:
        raise GanfoldError("no layer of this generator has weights that z meets: there are no directions to find")
    found: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        found.append(forward_ad.unpack_dual(output).tangent)  # type: ignore[no-untyped-call]
        raise _Reached

    handle = layers[0].register_forward_hook(keep)
    try:
        with torch.no_grad(), forward_ad.dual_level():
            z = torch.zeros(size, *gan.latent)
            _run(gan, forward_ad.make_dual(z, torch.eye(size).view_as(z)), condition)  # type: ignore[no-untyped-call]
    finally:
        handle.remove()
    return found[0].flatten(1)


def first_features(gan: GAN, z: Tensor, condition: Terms) -> Tensor:
    """What the second layer receives: the first layer's output after its norm and activation, (B, values).

    Raises:
        GanfoldError: there is no second layer.
    """
    layer = second_layer(gan, {name: value[:1] for name, value in condition.items()})
    found: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        found.append(inputs[0].detach().clone())
        raise _Reached

    handle = layer.register_forward_pre_hook(keep)
    try:
        with torch.no_grad():
            for start in range(0, len(z), AT_ONCE):
                part = slice(start, start + AT_ONCE)
                _run(gan, z[part], {name: value[part] for name, value in condition.items()})
    finally:
        handle.remove()
    return torch.cat(found)


@contextmanager
def truncated(gan: GAN, mean: Tensor, share: float) -> Iterator[None]:
    """Let the generator draw from features between their mean (0) and its own (1).

    Args:
        mean: of `first_features`, (*features).
        share: how far from the mean.
    """
    layer = second_layer(gan, _one_condition(gan))
    handle = layer.register_forward_pre_hook(lambda _, inputs: (mean + share * (inputs[0] - mean), *inputs[1:]))
    try:
        yield
    finally:
        handle.remove()


def second_layer(gan: GAN, condition: Terms) -> nn.Module:
    """The second layer with weights that depends on z.

    Raises:
        GanfoldError: there is none.
    """
    layers = _first_layers(gan, condition)
    if len(layers) < 2:
        raise GanfoldError("this generator has no second layer with weights, and no features before it")
    return layers[1]


def latents_for_statistics(gan: GAN, seed: int) -> tuple[Tensor, Terms]:
    """Normal latents, and the classes in turn where the generator takes labels."""
    rows = torch.arange(COUNT)
    return noise.normal(noise.key_of(seed, "statistics"), rows, *gan.latent), labels_in_turn(gan, rows)


def labels_in_turn(gan: GAN, rows: Tensor) -> Terms:
    """The condition of samples that take each class in turn; empty where the generator takes no labels."""
    return {"label": rows % gan.shape.classes} if gan.conditional else {}


def _one_condition(gan: GAN) -> Terms:
    return labels_in_turn(gan, torch.arange(1))


def _first_layers(gan: GAN, condition: Terms) -> list[nn.Module]:
    """The first layers with weights whose input depends on z: at most two, in the order of use."""
    found: list[nn.Module] = []

    def note(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        if any(isinstance(x, Tensor) and forward_ad.unpack_dual(x).tangent is not None for x in inputs):  # type: ignore[no-untyped-call]
            found.append(layer)
            if len(found) == 2:
                raise _Reached

    handles = [layer.register_forward_pre_hook(note) for layer in gan.modules() if _has_weights(layer)]
    try:
        with torch.no_grad(), forward_ad.dual_level():
            z = torch.zeros(1, *gan.latent)
            _run(gan, forward_ad.make_dual(z, torch.ones_like(z)), condition)  # type: ignore[no-untyped-call]
    finally:
        for handle in handles:
            handle.remove()
    return found


def _has_weights(layer: nn.Module) -> bool:
    weight = getattr(layer, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim >= 2 and not isinstance(layer, nn.Embedding)


def _run(gan: GAN, z: Tensor, condition: Terms) -> None:
    """Draw images until a hook has what it looks for."""
    try:
        gan.sample(z, {name: value.expand(len(z)) if len(value) == 1 else value for name, value in condition.items()})
    except _Reached:
        pass
    except NotImplementedError as error:  # a function without a forward derivative, before the first layer
        raise GanfoldError(
            "the first layer of this generator cannot be differentiated: it has no directions"
        ) from error
