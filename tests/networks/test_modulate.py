"""What z says to a layer."""

from __future__ import annotations

import torch
from torch import nn

from ganfold.networks.modulate import Modulate


def test_it_begins_as_the_identity() -> None:
    maps = torch.randn(3, 5, 4, 4)
    assert torch.equal(Modulate(7, 5)(maps, torch.randn(3, 7)), maps)


def test_each_channel_is_scaled_and_shifted_as_z_says() -> None:
    modulate, z, maps = Modulate(7, 5), torch.randn(3, 7), torch.randn(3, 5, 4, 4)
    nn.init.normal_(modulate.says.weight)
    nn.init.normal_(modulate.says.bias)
    said = modulate.says(torch.relu(modulate.hidden(z)))
    for image in range(3):
        for channel in range(5):
            wanted = maps[image, channel] * (1 + said[image, channel]) + said[image, 5 + channel]
            torch.testing.assert_close(modulate(maps, z)[image, channel], wanted)
