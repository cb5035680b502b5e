"""`smooth` is the published step: it smooths flat areas and keeps edges."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor, nn

from ganfold.networks.smooth import REACHES, SHARE, flatten, smooth


def edges(images: Tensor, value: float) -> Tensor:
    return images.new_full((len(images), 1, *images.shape[2:]), value)


def plain(images: Tensor, edge: Tensor, reach: int) -> Tensor:
    """One step, pixel by pixel."""
    made = images.clone()
    height, width = images.shape[2:]
    for y, x in product(range(height), range(width)):
        for down, right in ((0, reach), (0, -reach), (reach, 0), (-reach, 0)):
            if 0 <= y + down < height and 0 <= x + right < width:
                difference = images[:, :, y + down, x + right] - images[:, :, y, x]
                sharp = 16 * 32 ** edge[:, 0, y, x] + 16 * 32 ** edge[:, 0, y + down, x + right]
                conductance = (-sharp * difference.square().sum(1)).exp()
                made[:, :, y, x] += SHARE * conductance[:, None] * difference
    return made


def test_it_is_perona_and_maliks_step_pixel_by_pixel() -> None:
    torch.manual_seed(0)
    images, edge = torch.rand(2, 3, 7, 9) * 2 - 1, torch.rand(2, 1, 7, 9) * 2 - 1
    by_pixel = images
    for reach in REACHES:
        by_pixel = plain(by_pixel, edge, reach)
    torch.testing.assert_close(smooth(images, edge), by_pixel)


def test_its_gradient_is_that_of_the_plain_form() -> None:
    torch.manual_seed(0)
    images = (torch.rand(2, 3, 6, 7).double() * 2 - 1).requires_grad_(True)
    edge = (torch.rand(2, 1, 6, 7).double() * 2 - 1).requires_grad_(True)
    toward = torch.randn(2, 3, 6, 7).double()
    by_pixel: Tensor = images
    for reach in REACHES:
        by_pixel = plain(by_pixel, edge, reach)
    mine = torch.autograd.grad((smooth(images, edge) * toward).sum(), (images, edge))
    theirs = torch.autograd.grad((by_pixel * toward).sum(), (images, edge))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_grain_goes_an_edge_stays() -> None:
    torch.manual_seed(0)
    step = torch.cat([torch.full((1, 3, 16, 8), -0.4), torch.full((1, 3, 16, 8), 0.4)], 3)
    grainy = step + 0.04 * torch.randn_like(step)
    made = smooth(grainy, edges(grainy, 0.0))
    assert (made - step).std() < 0.4 * (grainy - step).std()
    assert (made[..., 8] - made[..., 7]).mean() > 0.75  # of 0.8


def test_at_one_end_nothing_changes_at_the_other_a_pixel_tends_to_those_around_it() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 1, 16, 16) * 2 - 1
    assert (smooth(images, edges(images, 1.0)) - images).abs().mean() < 0.01
    assert smooth(0.2 * images, edges(images, -1.0)).std() < 0.3 * (0.2 * images).std()


def test_no_colour_is_invented_and_none_is_lost() -> None:
    torch.manual_seed(0)
    images, edge = torch.rand(4, 3, 8, 8).double() * 2 - 1, torch.rand(4, 1, 8, 8).double() * 2 - 1
    made = smooth(images, edge)
    assert made.amin() >= images.amin()
    assert made.amax() <= images.amax()
    torch.testing.assert_close(made.mean((2, 3)), images.mean((2, 3)))


def test_flattened_grounds_are_nearly_one_colour_and_what_is_drawn_on_them_stays() -> None:
    """The ground has blotches that are too wide for `smooth`, and a square on it."""
    drawn = (0.05 * torch.sin(torch.arange(32) * math.tau / 16)).expand(1, 3, 32, 32).clone()
    ground = torch.ones(32, 32, dtype=torch.bool)
    ground[12:20, 12:20] = False
    drawn[..., ~ground] = 0.9
    made, near = flatten(drawn), smooth(drawn, edges(drawn, 0.25))
    assert made[..., ground].std() < 0.25 * drawn[..., ground].std()
    assert near[..., ground].std() > 0.5 * drawn[..., ground].std()
    assert (made[..., ~ground] > 0.85).all()


class Flattened(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return flatten(smooth(images, images[:, :1]))


def test_an_exported_form_takes_any_batch_and_gives_the_same() -> None:
    torch.manual_seed(0)
    images = torch.rand(5, 3, 16, 16) * 2 - 1
    batch = {"images": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(Flattened().eval(), (images[:2],), dynamic_shapes=batch).module()
    torch.testing.assert_close(exported(images), Flattened()(images), rtol=0, atol=2e-6)
