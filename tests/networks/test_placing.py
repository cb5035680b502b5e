"""Crops and pastes of maps by boxes, bumps at points, and words as a vector."""

from __future__ import annotations

import pytest
import torch

from ganfold.networks.placing import Place, Words, bumps, crop, paste

MAPS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def boxes(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)


def test_the_whole_image_is_the_maps_themselves() -> None:
    whole = boxes([0, 0, 1, 1], [0, 0, 1, 1])
    torch.testing.assert_close(crop(MAPS, whole, 8), MAPS)
    torch.testing.assert_close(paste(MAPS, whole, 8), MAPS)


def test_a_box_on_whole_pixels_is_cut_out_and_put_back_exactly() -> None:
    box = boxes([0.25, 0.5, 0.5, 0.375], [0.25, 0.5, 0.5, 0.375])
    cut = crop(MAPS[:, :, :, :], box, 8)
    torch.testing.assert_close(crop(MAPS, boxes([0.25, 0.5, 0.5, 0.5], [0.5, 0, 0.5, 0.5]), 4)[0], MAPS[0, :, 4:, 2:6])
    back = paste(cut, box, 8)
    assert (back[:, :, :3] == 0).all()
    assert (back[:, :, :, :1] == 0).all()
    assert (back[:, :, 7:] == 0).all() or back[:, :, 7:].abs().mean() < back[:, :, 4:7].abs().mean()


@pytest.mark.parametrize("box", [[0.25, 0.25, 0.5, 0.5], [0.5, 0.0, 0.25, 0.75], [0.0, 0.0, 0.125, 1.0]])
def test_a_pasted_plane_is_one_inside_and_nothing_far_outside(box: list[float]) -> None:
    made = paste(torch.ones(1, 1, 8, 8), boxes(box), 16)[0, 0]
    left, top, width, height = (round(16 * n) for n in box)
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[top : top + height, left : left + width] = True
    assert made[inside].min() >= 0.49
    assert made[~inside].max() <= 0.51
    assert made.sum() == pytest.approx(width * height, rel=0.15)
    near = torch.nn.functional.max_pool2d(inside[None, None].float(), 3, 1, 1)[0, 0] > 0
    assert (made[~near] == 0).all()


def test_small_boxes_hold_the_mean_not_a_pixel() -> None:
    """A fine pattern, pasted very small, becomes grey and not one of its two values."""
    pattern = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 1.0
    made = paste(pattern[None, None], boxes([0, 0, 0.25, 0.25]), 8)[0, 0]
    assert made[:2, :2].sub(0.5).abs().max() < 0.2


def test_both_can_be_differentiated() -> None:
    maps = MAPS.double().requires_grad_()
    box = torch.tensor([[0.1, 0.2, 0.5, 0.7], [0.3, 0.0, 0.2, 0.4]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda m: crop(m, box, 5), maps[:, :1])
    assert torch.autograd.gradcheck(lambda m: paste(m, box, 9), maps[:, :1])


def test_bumps_are_at_their_points_and_the_unseen_have_none() -> None:
    points = torch.tensor([[[0.3125, 0.8125, 1.0], [0.5, 0.5, 0.0]]])
    made = bumps(points, 8)
    assert made.shape == (1, 2, 8, 8)
    assert made[0, 0].argmax() == 6 * 8 + 2
    assert made[0, 0].max() == pytest.approx(1)
    assert (made[0, 1] == 0).all()


def test_a_place_is_a_box_or_keypoints() -> None:
    box = boxes([0.25, 0.25, 0.5, 0.5])
    where, maps = Place("box", 8, 0)(box)
    assert where is box
    assert maps.shape == (1, 1, 8, 8)
    points = torch.tensor([[[0.25, 0.5, 1], [0.75, 0.625, 1]], [[0.5, 0.5, 1], [0, 0, 0]], [[0.5, 0.5, 0]] * 2])
    where, maps = Place("keypoints", 8, 2)(points)
    assert where.tolist() == [[0.125, 0.375, 0.75, 0.375], [0.375, 0.375, 0.25, 0.25], [0, 0, 1, 1]]
    assert maps.shape == (3, 2, 8, 8)


def test_words_have_neighbours_and_padding_has_no_say() -> None:
    torch.manual_seed(0)
    words = Words(6, 8).eval()
    short, long = words(torch.tensor([[1, 2, 3, 0]])), words(torch.tensor([[1, 2, 3, 0, 0, 0, 0]]))
    torch.testing.assert_close(short, long)
    assert not torch.allclose(
        words(torch.tensor([[1, 2, 4, 3]])), words(torch.tensor([[1, 3, 4, 2]]))
    )  # word order matters
    assert words(torch.zeros(1, 4, dtype=torch.int64)).isfinite().all()
