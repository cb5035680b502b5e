"""Several processes that torchrun starts act as one trainer: one flat all-reduce a phase, no wrapped networks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ganfold.runs.team import join_group


class Ranks:
    """This process's place among all of them. With a single process, every method is a no-op."""

    def __init__(self, device_type: str) -> None:
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.local = int(os.environ.get("LOCAL_RANK", "0"))
        self._owns_group = self.world > 1 and not dist.is_initialized()
        if self._owns_group:
            # An optimizer imports this module later. Default arguments in it would then keep the group alive, and
            # `destroy_process_group` would leave gloo's threads running, which can abort a process that ends.
            import torch.distributed.nn.functional

            if device_type == "cuda":
                torch.cuda.set_device(self.local)
            join_group("nccl" if device_type == "cuda" else "gloo")

    @property
    def first(self) -> bool:
        """Whether this rank writes the files."""
        return self.rank == 0

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Copy rank 0's values to all ranks."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor.data, 0)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over ranks, in one all-reduce of all tensors laid end to end."""
        if self.world > 1 and tensors:
            flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
            dist.all_reduce(flat)
            flat /= self.world
            for tensor, part in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag stands on any rank."""
        if self.world == 1:
            return flag
        shared = torch.tensor(int(flag), device=device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return bool(shared)

    def wait(self) -> None:
        """Wait until all ranks are here."""
        if self.world > 1:
            dist.barrier()

    def close(self) -> None:
        if self._owns_group:
            dist.destroy_process_group()


def has_batch_norm(network: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
