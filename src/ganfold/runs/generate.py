"""From latents to images: image `i` of a seed is the same whatever else is made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ganfold.gans import noise
from ganfold.gans.contract import NOTHING, Condition
from ganfold.images.pixels import to_rows
from ganfold.runs.conditioning import Conditioning

CHUNK = 32  # images made at once: always this many, since another number could change the last bits


@torch.inference_mode()
def generate(
    sample: Callable[[Tensor, Condition], Tensor],
    latent: tuple[int, ...],
    seed: int,
    count: int,
    start: int = 0,
    device: str | torch.device = "cpu",
    conditioning: Conditioning | None = None,
    latents: Tensor | None = None,
) -> np.ndarray:
    """Make images `start` to `start + count` of a seed, in whole chunks aligned at 0.

    Args:
        sample: latents (B, *latent) and their condition -> images in [-1, 1], (B, C, H, W).
        latent: the shape of one latent.
        conditioning: gives the condition of each sample; None: there is none.
        latents: (count, *latent); None: the noise of the seed.

    Returns:
        uint8 (count, H, W, C).
    """
    key = noise.key_of(seed, "sample")
    first, last = start // CHUNK * CHUNK, start + count
    parts = []
    for begin in range(first, max(last, first + 1), CHUNK):
        rows = torch.arange(begin, begin + CHUNK, device=device)
        condition = conditioning(rows) if conditioning else NOTHING
        z = noise.normal(key, rows, *latent)
        if latents is not None:
            inside = slice(max(0, start - begin), last - begin)
            z[inside] = latents[max(0, begin - start) :][: len(z[inside])].to(z)
        images = sample(z, condition).float()
        parts.append(to_rows(images)[max(0, start - begin) : last - begin])
    return np.concatenate(parts)
