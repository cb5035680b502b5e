"""A training step never waits for its device, mixes no devices, and does the same work each time.

No GPU is needed. On the CPU a mode sees each operation. On PyTorch's device `meta` tensors have no values: whatever
reads one on the host fails, and so does an operation on tensors of two devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ganfold.data import ImageSet
from ganfold.gans import GANS, find
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer
from tiny import BATCH, RGB, images_for, rich_images, small_config, write_squares

WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2", "bincount")
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in GANS),
    ("srgan", {"pretrain_kimg": 0.0}),
    ("dcgan", {"augment": 0.5, "input_noise": 0.1}),
    ("cgan", {"networks": "mlp"}),
    ("rsgan", {"labels": True}),
    ("r3gan", {"penalty": "exact"}),
    ("infogan", {"invariance": 3.0}),
    ("context-encoder", {"holes": "random"}),
    ("gawwn", {"where": "keypoints"}),
    ("cyclegan", {"identity": 0.5, "smooth": True}),
    *(("pix2pix", {"input": kind}) for kind in ("edges", "grey", "lowres", "masked")),
]


class Operations(TorchDispatchMode):
    """Notes each operation with its shapes, and fails at those for which a GPU's host waits."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, tensors = (
            func._schema.name.removeprefix("aten::"),
            [t for t in tree_leaves(args) if isinstance(t, Tensor)],
        )
        masked = name in ("index", "index_put_", "_index_put_impl_") and any(t.dtype == torch.bool for t in tensors[1:])
        assert name not in WAITS, f"{name} waits for the device"
        assert not masked, f"{name} with a mask waits for the device"
        self.seen.append((name, *(tuple(tensor.shape) for tensor in tensors)))
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return rich_images(write_squares(tmp_path_factory.mktemp("sync") / "squares.npz"))


@pytest.fixture
def swapped() -> Iterator[None]:
    """A weight that moves to another device stays the object that its optimizer knows."""
    torch.__future__.set_swap_module_params_on_conversion(True)
    yield
    torch.__future__.set_swap_module_params_on_conversion(False)


def trainer(name: str, options: dict[str, Any], images: ImageSet, device: str) -> Trainer:
    torch.manual_seed(0)
    gan = find(name)(replace(small_config(name), **options), RGB)
    where, ranks = torch.device(device), Ranks("cpu")
    batches = Batches(images_for(name, images), seed=0, size=BATCH, ranks=ranks, device=where, flips=True)
    if device == "meta":  # where there is no fused step
        for optimizer in gan.optimizers.values():
            for group in optimizer.param_groups:
                group |= {"fused": False, "foreach": True}
    return Trainer(gan, batches, seed=0, device=where, ranks=ranks, ema_images=1000)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_step_never_waits_and_does_the_same_each_time(name: str, options: dict[str, Any], images: ImageSet) -> None:
    made = trainer(name, options, images, "cpu")
    made.step()  # only the first one allocates moments and loads what is frozen
    steps = []
    for _ in range(2):
        made.steps = 0  # it also logs how far the weights move
        with Operations() as operations:
            made.step()
        steps.append(operations.seen)
    assert steps[0] == steps[1]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_step_reads_no_value_and_stays_on_its_device(
    name: str, options: dict[str, Any], images: ImageSet, swapped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "_autocast", lambda *_, **__: nullcontext())  # there is none for `meta`
    made = trainer(name, options, images, "meta")
    made.step()
    assert all(tensor.device.type == "meta" for tensor in made.meter.sums())
