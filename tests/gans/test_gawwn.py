"""GAWWN: text in a box, or at keypoints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ganfold.data import ImageSet
from ganfold.data.captions import Captions
from ganfold.data.fields import Fields
from ganfold.data.sources.findings import Findings
from ganfold.errors import GanfoldError
from ganfold.gans import noise
from ganfold.gans.contract import Batch, Shape
from ganfold.gans.gawwn import GAWWN, Config
from ganfold.images.pixels import to_bytes
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer

WORDS = ("blue", "green", "red")
COLOURS = np.array([[40, 60, 250], [40, 220, 60], [250, 50, 40]])
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def blocks() -> ImageSet:
    """Blocks of three colours at any place on a dark ground, 16 px, with captions of one word."""
    random = np.random.default_rng(0)
    count = 512
    images = np.full((count, 3, 16, 16), 20, np.uint8)
    boxes = np.zeros((count, 4), np.float32)
    colours = random.integers(0, 3, count)
    for image, box, colour in zip(images, boxes, colours, strict=True):
        size = random.integers(5, 11, 2)
        corner = random.integers(0, 17 - size)
        image[:, corner[1] : corner[1] + size[1], corner[0] : corner[0] + size[0]] = COLOURS[colour][:, None, None]
        box[:] = [*corner / 16, *size / 16]
    tokens = np.zeros((count, 4), np.uint16)
    tokens[:, 0] = colours + 1
    corners = np.stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    keypoints = np.concatenate([corners, np.ones((count, 2, 1), np.float32)], 2).astype(np.float32)
    return ImageSet(
        images=images,
        labels=None,
        classes=(),
        attributes=None,
        names=[str(i) for i in range(count)],
        train=np.arange(count),
        held_out=np.arange(0),
        fingerprint="",
        source="blocks",
        findings=Findings("blocks"),
        captions=Captions(WORDS, tokens, boxes, keypoints),
    )


def trainer(blocks: ImageSet, **options: object) -> Trainer:
    torch.manual_seed(0)
    small = {"batch": 16, "width": 8, "z_dim": 8, "text_dim": 8}
    gan = GAWWN(Config(**(small | options)), Shape(3, 16, words=4, keypoints=2))  # type: ignore[arg-type]
    batches = Batches(blocks, seed=0, size=16, ranks=Ranks("cpu"), device=CPU, flips=True)
    return Trainer(gan, batches, seed=0, device=CPU, ranks=Ranks("cpu"), ema_images=400)


@pytest.mark.slow
def test_it_draws_what_the_text_says_in_the_box(blocks: ImageSet) -> None:
    subject = trainer(blocks, decay_kimg=6.0)
    for _ in range(280):
        subject.step()
    fields = Fields(blocks, CPU)(np.arange(64))
    made = to_bytes(subject.sample(noise.normal(1, torch.arange(64), 8), fields)).permute(0, 2, 3, 1).numpy()
    bright = made.max(3).astype(float)

    def stands_out(boxes: np.ndarray) -> float:
        inside = np.zeros(bright.shape, bool)
        for mask, (left, top, width, height) in zip(inside, (boxes * 16).astype(int), strict=True):
            mask[top : top + height, left : left + width] = True
        return float(bright[inside].mean() - bright[~inside].mean())

    boxes = fields["box"].numpy()
    assert stands_out(boxes) > 30  # the blocks are 220 brighter than the ground
    assert stands_out(np.roll(boxes, 1, 0)) < stands_out(boxes) / 2
    middles = [
        image[int(top + height / 2), int(left + width / 2)]
        for image, (left, top, width, height) in zip(made, boxes * 16, strict=True)
    ]
    read = np.abs(COLOURS - np.array(middles)[:, None]).sum(2).argmin(1) + 1
    requested = fields["text"][:, 0].numpy()
    assert (read == requested).mean() > 0.6
    assert (read == np.roll(requested, 1)).mean() < 0.55


def test_each_text_is_judged_by_itself(blocks: ImageSet) -> None:
    """With BatchNorm over texts D could tell a batch of wrong texts without looking at the images."""
    gan = trainer(blocks).gan
    fields = Fields(blocks, CPU)(np.arange(16))
    others = fields["text"].clone()
    others[1:] = others[1:].roll(1, 0)
    with torch.no_grad():
        one, two = gan.D(fields["image"], fields["box"], fields["text"], others)
        (alone,) = gan.D(fields["image"], fields["box"], others)
    torch.testing.assert_close(one[0], two[0])
    torch.testing.assert_close(two, alone)
    assert not torch.allclose(one[1:], two[1:])


def test_the_wrong_text_is_that_of_another_image_and_counts_half(blocks: ImageSet) -> None:
    gan = trainer(blocks).gan
    batch = Batch(Fields(blocks, CPU)(np.arange(16)), torch.arange(16))
    batch.begin("test")
    batch.update(gan.fake(batch))
    terms = gan.phases[0].loss(batch)
    softplus = torch.nn.functional.softplus
    wrong = gan.D(batch["image"], batch["box"], batch["text"].roll(1, 0))[0]
    fake = gan.D(batch["fake"], batch["box"], batch["text"])[0]
    torch.testing.assert_close(terms["wrong text"], softplus(wrong).mean() / 2)
    torch.testing.assert_close(terms["fake"], softplus(fake).mean() / 2)


def test_the_local_pathway_has_no_effect_outside_the_box(blocks: ImageSet) -> None:
    """The box is pasted in, so its weights change nothing far away from it."""
    gan = trainer(blocks).gan.eval()
    z = noise.normal(1, torch.arange(2), 8)
    condition = {"text": torch.tensor([[1, 0], [2, 0]]), "box": torch.tensor([[0.0, 0.0, 0.25, 0.25]] * 2)}
    with torch.no_grad():
        before = gan.sample(z, condition)
        for weight in gan.G.local.parameters():
            weight.add_(0.3)
        after = gan.sample(z, condition)
    assert (before != after)[:, :, :4, :4].any()
    assert (before == after)[:, :, 12:, 12:].all()


@pytest.mark.parametrize("where", ["box", "keypoints"])
def test_a_sample_is_made_from_text_and_place(blocks: ImageSet, where: str) -> None:
    gan = trainer(blocks, where=where).gan.eval()
    fields = Fields(blocks, CPU)(np.arange(4))
    batch = Batch(fields, torch.arange(4))
    assert set(gan.condition(batch)) == {"text", where}
    z = noise.normal(1, torch.arange(4), 8)
    made = gan.sample(z, fields)
    other = gan.sample(z, fields | {"text": fields["text"] % 3 + (fields["text"] > 0)})
    moved = gan.sample(z, fields | {where: fields[where].roll(1, 0)})
    assert not torch.allclose(made, other)
    assert not torch.allclose(made, moved)


def test_keypoints_must_be_there() -> None:
    with pytest.raises(GanfoldError, match=r"--where keypoints needs .* in each line of metadata.jsonl"):
        GAWWN(Config(where="keypoints"), Shape(3, 16, words=4))


def test_resume_at_keypoints_gives_the_same_bits(blocks: ImageSet) -> None:
    one, other = trainer(blocks, where="keypoints"), trainer(blocks, where="keypoints")
    one.step()
    tensors, state = one.state()
    other.load({key: value.clone() for key, value in tensors.items()}, state)
    one.step()
    other.step()
    assert all(torch.equal(value, other.state()[0][name]) for name, value in one.state()[0].items())


def test_d_gives_no_opinion_of_images_alone(blocks: ImageSet) -> None:
    """A checkup shows D images without texts and places, so D must not be asked there."""
    assert not trainer(blocks).gan.judges


def test_a_set_without_keypoints_can_have_boxes(blocks: ImageSet) -> None:
    assert blocks.captions
    subject = trainer(replace(blocks, captions=replace(blocks.captions, keypoints=None)))
    subject.step()
    assert subject.steps == 1
