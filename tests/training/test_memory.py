"""A batch in parts, and a run whose memory does not hold it at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganfold
from ganfold import GanfoldError
from ganfold.data import ImageSet, load
from ganfold.data.captions import LENGTH, Captions
from ganfold.device import ran_out_of_memory
from ganfold.gans import GANS, find
from ganfold.gans.contract import Batch, Phase, Shape
from ganfold.runs import checkpoint
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer

SIZE = 10
SMALL: dict[str, Any] = {"width": 4, "z_dim": 6, "batch": 8, "resolution": 16, "report_kimg": 0.02, "progress": False}
TOO_LITTLE = torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("not enough memory: you tried")


@pytest.fixture(scope="module")
def images(squares: Path) -> ImageSet:
    """Images with inputs that belong to them, and captions: one text for all, since a batch exchanges them."""
    images = load(squares, progress=False)
    places = np.random.default_rng(0).uniform(0.1, 0.4, (len(images), 4)).astype(np.float32)
    captions = Captions(("square",), np.ones((len(images), LENGTH), np.uint16), places, None)
    inputs = replace(images, images=255 - images.images)
    return replace(images, inputs=inputs, partner=np.arange(len(images)), captions=captions)


def trainer(name: str, images: ImageSet, parts: int) -> Trainer:
    kind, cpu, ranks = find(name), torch.device("cpu"), Ranks("cpu")
    torch.manual_seed(0)
    known = kind.config_class.__dataclass_fields__
    config = kind.config_class(
        **{k: v for k, v in {"width": 4, "z_dim": 6, "augment": 0.5, "share": 1.0}.items() if k in known}
    )
    images = replace(images, partner=None) if kind.data_kind(config) == "domains" else images
    batches = Batches(images, seed=0, size=SIZE, ranks=ranks, device=cpu, flips=True)
    made = Trainer(
        kind(config, Shape(3, 16, 3, inputs=3, words=2)), batches, seed=0, device=cpu, ranks=ranks, ema_images=1000
    )
    made.parts = parts
    return made


@pytest.mark.parametrize("name", GANS)
@pytest.mark.parametrize("parts", [2, 4])  # 4 parts of 10 images are of unequal size
def test_parts_give_the_gradients_terms_and_statistics_of_the_whole(name: str, parts: int, images: ImageSet) -> None:
    whole, split = trainer(name, images, 1), trainer(name, images, parts)
    for subject in (whole, split):
        subject.gan.eval()  # BatchNorm with its running statistics: each image for itself
        subject.step()
    expected, found = whole.meter.means(), split.meter.means()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if "spread" in key or "grad_norm" in key or "move" in key or key.startswith(("Loss_", "D(", "logit")):
            assert found[key] == pytest.approx(value, rel=1e-3, abs=1e-5), key
    for one, other in zip(whole.gan.parameters(), split.gan.parameters(), strict=True):
        # Adam's first step is lr * sign(gradient): where that is as good as 0, its sign is chance
        assert (one - other).abs().gt(1e-5).float().mean() < 0.02


def test_gradients_of_parts_are_those_of_the_whole(images: ImageSet) -> None:
    gradients = []
    for parts in (1, 2, 4):
        subject = trainer("dcgan", images, parts)
        subject.gan.eval()
        subject.step()
        gradients.append([weight.grad.clone() for weight in subject.gan.parameters() if weight.grad is not None])
    assert len(gradients[0]) == len(list(subject.gan.parameters()))
    for other in gradients[1:]:
        for one, another in zip(gradients[0], other, strict=True):
            assert torch.allclose(one, another, rtol=1e-3, atol=1e-5 * float(one.abs().max()))


def test_the_early_half_run_again_makes_the_same_fakes_and_counts_once(images: ImageSet) -> None:
    subject, seen = trainer("dcgan", images, 2), []
    for number, phase in enumerate(subject.gan.phases):
        loss = phase.loss

        def watched(batch: Batch, loss: Any = loss) -> Any:
            seen.append(batch["fake"].detach().clone())
            return loss(batch)

        subject.gan.phases[number] = type(phase)(watched, phase.optimizer, early=phase.early)
    subject.step()
    assert torch.equal(torch.cat(seen[:2]), torch.cat(seen[2:]))  # D's and G's, BatchNorm in training
    counts = [int(value) for name, value in subject.gan.G.named_buffers() if "num_batches" in name]
    assert set(counts) == {2}


def test_a_field_is_split_with_its_rows(images: ImageSet) -> None:
    batch = trainer("dcgan", images, 1).batches.draw(0)
    batch.begin("x")
    parts = batch.split(4)
    assert torch.equal(torch.cat([part["label"] for part in parts]), batch["label"])
    assert torch.equal(torch.cat([part.normal(3) for part in parts]), batch.normal(3))
    assert torch.equal(torch.cat([part.uniform() for part in parts]), batch.uniform())


def test_parts_outlast_a_resume(images: ImageSet) -> None:
    whole, first, second = (trainer("dcgan", images, parts) for parts in (2, 2, 1))
    for _ in range(4):
        whole.step()
    for _ in range(2):
        first.step()
    tensors, state = first.state()
    second.load({name: value.clone() for name, value in tensors.items()}, state)
    for _ in range(2):
        second.step()
    assert second.parts == 2
    assert all(torch.equal(value, second.state()[0][name]) for name, value in whole.state()[0].items())


def test_a_part_holds_two_images_at_least(images: ImageSet) -> None:
    subject = trainer("dcgan", images, 1)
    assert [subject.split_further() for _ in range(3)] == [True, True, False]
    assert subject.parts == 4


def scarce(monkeypatch: pytest.MonkeyPatch, most: int, error: BaseException, first: int = 0) -> None:
    """G's phase fails for more than so many images; D's has made its step by then."""
    generator = find("dcgan").generator  # type: ignore[attr-defined]
    calls = iter(range(10**6))

    def refuse(self: Any, batch: Batch) -> Any:
        if len(batch.rows) > most and next(calls) >= first:
            raise error
        return generator(self, batch)

    monkeypatch.setattr(find("dcgan"), "generator", refuse)


@pytest.mark.parametrize("error", TOO_LITTLE, ids=["cuda", "python", "cpu"])
def test_out_of_memory_in_the_first_steps_halves_the_batch_and_loses_nothing(
    error: BaseException,
    squares: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scarce(monkeypatch, most=2, error=error)
    ganfold.train("dcgan", squares, tmp_path / "whole", **{**SMALL, "progress": True}, kimg=0.08)
    said = capsys.readouterr().out
    assert "Out of memory: from now on a batch of 8 is taken in 2 parts of about 4" in said
    assert "in 4 parts of about 2, whose gradients are added up. BatchNorm sees each part by itself." in said
    ganfold.train("dcgan", squares, tmp_path / "parts", **SMALL, kimg=0.032)
    monkeypatch.undo()  # memory enough now, but the run goes on as it began
    monkeypatch.setattr(Trainer, "split_further", lambda self: pytest.fail("it is split already"))
    ganfold.train("dcgan", squares, tmp_path / "parts", **SMALL, kimg=0.08)
    tensors = [
        checkpoint.load(checkpoint.checkpoints(tmp_path / name / "checkpoints")[-1]) for name in ("whole", "parts")
    ]
    assert tensors[0][1]["parts"] == tensors[1][1]["parts"] == 4
    assert all(torch.equal(value, tensors[1][0][name]) for name, value in tensors[0][0].items())


def test_the_steps_after_a_halving_are_those_of_a_trainer_in_parts(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it happens at the third step: back to the checkpoint, the step half made is undone."""
    scarce(monkeypatch, most=4, error=TOO_LITTLE[0], first=2)
    ganfold.train("dcgan", squares, tmp_path / "late", **SMALL, kimg=0.04)
    scarce(monkeypatch, most=4, error=TOO_LITTLE[0])
    ganfold.train("dcgan", squares, tmp_path / "soon", **SMALL, kimg=0.04)
    late, soon = (checkpoint.load(checkpoint.checkpoints(tmp_path / n / "checkpoints")[-1]) for n in ("late", "soon"))
    assert all(torch.equal(value, soon[0][name]) for name, value in late[0].items())


def test_memory_that_holds_no_part_and_errors_of_another_kind_end_the_run(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scarce(monkeypatch, most=0, error=TOO_LITTLE[2])
    with pytest.raises(GanfoldError, match="out of memory: give a smaller --batch"):
        ganfold.train("dcgan", squares, tmp_path / "none", **SMALL, kimg=0.04)
    scarce(monkeypatch, most=0, error=RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        ganfold.train("dcgan", squares, tmp_path / "other", **SMALL, kimg=0.04)


def test_what_counts_as_out_of_memory() -> None:
    assert all(ran_out_of_memory(error) for error in TOO_LITTLE)
    assert ran_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not ran_out_of_memory(RuntimeError("mat1 and mat2"))
    assert not ran_out_of_memory(KeyError("out of memory"))


def test_what_the_early_half_made_is_constant_to_the_phases_after_it(images: ImageSet) -> None:
    subject, attached = trainer("dcgan", images, 1), []

    def after(batch: Batch) -> dict[str, torch.Tensor]:
        attached.append(batch["fake"].requires_grad)
        return {"fake": subject.gan.judge(batch, batch["fake"]).mean()}

    subject.gan.phases.append(Phase(after, "D"))
    subject.step()
    assert attached == [False]
