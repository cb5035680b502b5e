"""Pixels as bytes and as numbers in [-1, 1]: the two conversions, here and nowhere else."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_float(pixels: np.ndarray | Tensor, memory_format: torch.memory_format = torch.preserve_format) -> Tensor:
    """uint8 pixels, an array or a tensor of any shape, as float32 in [-1, 1] of the same shape."""
    tensor = pixels if isinstance(pixels, Tensor) else torch.from_numpy(np.array(pixels))  # it may be a memory map
    assert tensor.dtype == torch.uint8
    return tensor.to(dtype=torch.float32, memory_format=memory_format).div_(127.5).sub_(1)


def to_bytes(images: Tensor) -> Tensor:
    """Images in [-1, 1] of any shape as uint8, rounded; what lies outside becomes 0 or 255."""
    return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)


def to_rows(images: Tensor) -> np.ndarray:
    """Images in [-1, 1], (B, C, H, W) on any device, as a uint8 array (B, H, W, C)."""
    return to_bytes(images).permute(0, 2, 3, 1).cpu().numpy()
