"""Networks on images of any size, tile by tile."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ganfold.images.tiles import fade_tiles, tiled


@pytest.mark.parametrize(("height", "width"), [(50, 70), (16, 16), (33, 90), (9, 64)])
def test_tiles_have_no_seams_from_the_networks_reach_on(height: int, width: int) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.ReLU(), nn.Conv2d(4, 12, 3, 1, 1), nn.PixelShuffle(2))
    sizes = []

    def network(image: Tensor) -> Tensor:
        sizes.append(image.shape[2:].numel())
        return layers(image)

    image = torch.randn(1, 3, height, width)
    made = tiled(network, image, scale=2, tile=16, margin=2)
    with torch.no_grad():
        whole = layers(image)
    assert made.shape == (1, 3, 2 * height, 2 * width)
    torch.testing.assert_close(made, whole, rtol=1e-4, atol=1e-5)
    assert max(sizes) <= 20 * 20
    seams = tiled(network, image, scale=2, tile=16, margin=0)
    assert (seams - whole).abs().max() > 1e-3 or max(height, width) <= 16


@pytest.mark.parametrize("size", [(64, 64), (200, 33), (33, 130), (150, 131), (8, 9)])
def test_tiles_are_put_where_they_were(size: tuple[int, int]) -> None:
    image, seen = torch.rand(1, 3, *size), []

    def network(x: Tensor) -> Tensor:
        seen.append(x.shape[2:])
        return 2 * x

    torch.testing.assert_close(fade_tiles(network, image, tile=64, multiple=16), 2 * image)
    assert all(side % 16 == 0 and side <= 64 for shape in seen for side in shape)


def test_tiles_fade_into_each_other() -> None:
    """A network that paints each tile in a grey of its own leaves no step of more than its share of a pixel."""
    greys = iter([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    made = fade_tiles(lambda x: torch.full_like(x, next(greys)), torch.zeros(1, 1, 64, 200), tile=64, multiple=16)
    steps = made[0, 0, 0].diff().abs()
    assert steps.max() < 0.1
    assert made.max() == 1
