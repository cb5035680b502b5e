"""How z speaks to every layer of a generator, not to the first alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 32  # units between z and what it says


class Modulate(nn.Module):
    """Maps (B, C, H, W), normalised, times 1 + scale plus shift, both made from z (B, z_dim) by a small network.

    Chen, Lucic, Houlsby, Gelly 2018, "On self modulation for generative adversarial networks", arXiv:1810.01365, eq. 3
    and 4, on top of the BatchNorm's own scale and shift. It begins as the identity.
    """

    def __init__(self, z_dim: int, channels: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(z_dim, HIDDEN)
        self.says = nn.Linear(HIDDEN, 2 * channels)
        nn.init.zeros_(self.says.weight)
        nn.init.zeros_(self.says.bias)

    def forward(self, maps: Tensor, z: Tensor) -> Tensor:
        scale, shift = self.says(self.hidden(z).relu())[..., None, None].chunk(2, 1)
        return torch.addcmul(shift, maps, 1 + scale)
