"""Means of scalars. They stay on the device until a report reads them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Meter:
    """Sums of named scalars: one vector for each group of scalars that are added together."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._names: dict[str, list[str]] = {}

    def add(self, group: str, scalars: dict[str, Tensor]) -> None:
        """Add one observation of the group's scalars. A group always has the same scalars."""
        values = torch.stack([value.detach().float().reshape(()) for value in scalars.values()])
        if group in self._sums:
            self._sums[group] += values
        else:
            self._sums[group], self._names[group] = values, list(scalars)
        self._counts[group] = self._counts.get(group, 0) + 1

    def not_finite(self) -> list[str]:
        """The names whose sum is infinite or NaN (a sum never becomes finite again). Waits for the device."""
        return [name for name, value in self.means().items() if not math.isfinite(value)]

    def means(self) -> dict[str, float]:
        """The mean of each scalar since the last `clear`. Waits for the device."""
        return {
            name: total / self._counts[group]
            for group, sums in self._sums.items()
            for name, total in zip(self._names[group], sums.tolist(), strict=True)
        }

    def sums(self) -> list[Tensor]:
        """The sums themselves, to be averaged over ranks."""
        return list(self._sums.values())

    def clear(self) -> None:
        self._sums, self._counts, self._names = {}, {}, {}

    def state(self) -> tuple[dict[str, Tensor], dict[str, object]]:
        """Tensors and JSON for a checkpoint."""
        return dict(self._sums), {"counts": self._counts, "names": self._names}

    def load(self, sums: dict[str, Tensor], state: dict[str, dict[str, object]], device: torch.device) -> None:
        self._sums = {group: tensor.to(device) for group, tensor in sums.items()}
        self._counts = dict(state["counts"])  # type: ignore[arg-type]
        self._names = dict(state["names"])  # type: ignore[arg-type]
