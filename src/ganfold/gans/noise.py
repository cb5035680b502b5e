"""Random numbers that follow from their purpose, not from earlier draws.

With a hidden state each number depends on all draws before it: on the batch size, on the number of ranks, on where a
run was interrupted. Here a number follows from (key, row, column) alone. The SplitMix64 mixing function (Steele, Lea,
Flood 2014, "Fast splittable pseudorandom number generators", fig. 16) serves as a counter-based hash. Image `i` of seed
`s` is therefore the same in any batch, two ranks draw what one rank with the joined batch draws, and a checkpoint needs
no state of a random generator.

A key is an integer, or the same 64 bits as an int64 tensor () on the device of the rows. A step that was captured once,
such as a CUDA graph, reads its keys from such tensors, and a replay gets new ones in their place.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def _signed(x: int) -> int:
    """The int64 with the same 64 bits, because torch has no uint64 arithmetic."""
    x &= _MASK
    return x - (1 << 64) if x >> 63 else x


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser for each element. Int64 products wrap; a mask makes right shifts logical."""
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * _signed(0x94D049BB133111EB)
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def key_of(*words: int | str) -> int:
    """A 64-bit key for one purpose, e.g. `key_of(seed, "phase", step, 0)`."""
    digest = hashlib.blake2b("\x1f".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _bits(key: int | Tensor, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """64 random bits for each element of (len(rows), *shape)."""
    columns = torch.arange(math.prod(shape), device=rows.device) * _signed(_GOLDEN)
    streams = _mix(rows * _signed(_GOLDEN) + (_signed(key) if isinstance(key, int) else key))
    return _mix(streams[:, None] + columns).view(len(rows), *shape)


def _unit(bits: Tensor, shift: int) -> Tensor:
    """23 of the bits as the midpoint of one of 2^23 cells of (0, 1). Float32 holds it exactly."""
    return (((bits >> shift) & 0x7FFFFF).float() + 0.5) * 2.0**-23


def uniform(key: int | Tensor, rows: Tensor, *shape: int) -> Tensor:
    """Uniform numbers in (0, 1), float32 (len(rows), *shape). Row `i` depends on `key` and `rows[i]` alone."""
    return _unit(_bits(key, rows, shape), 40)


def normal(key: int | Tensor, rows: Tensor, *shape: int) -> Tensor:
    """Standard normal numbers, float32 (len(rows), *shape), by Box and Muller (1958). See `uniform`."""
    bits = _bits(key, rows, shape)
    radius = (-2.0 * _unit(bits, 40).log()).sqrt()
    return radius * (2.0 * math.pi * _unit(bits, 16)).cos()
