"""`ganfold env`: versions and machine, as a bug report needs them."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ganfold.interface.options import verb
from ganfold.interface.result import Result
from ganfold.interface.result import version as own_version

PACKAGES = ("torch", "numpy", "pillow", "safetensors", "scikit-learn", "opencv-python-headless", "tyro", "rich")
EXTRAS = ("datasets", "transformers", "kornia")  # of optional parts


@dataclass(frozen=True, repr=False)
class Environment(Result):
    """Versions and machine."""

    ganfold: str
    python: str
    system: str
    packages: dict[str, str]  # "not installed" where it is not
    devices: list[str]
    cpu: str
    cores: int
    threads: int  # that PyTorch uses
    cache: str  # the folder of prepared images

    def lines(self) -> list[str]:
        """One fact a line."""
        return [
            f"ganfold {self.ganfold}",
            f"Python {self.python} on {self.system}",
            *(f"{name} {number}" for name, number in self.packages.items()),
            f"devices: {', '.join(self.devices)}",
            f"CPU: {self.cpu}, {self.cores} cores, {self.threads} threads",
            f"cache: {self.cache}",
        ]


@dataclass(frozen=True)
class Options:
    pass


@verb(Options)
def env(options: Options) -> Environment:
    """Say which versions and which machine this is, for a bug report.

    It names no files of yours but the cache.
    """
    import os

    import torch

    from ganfold import device
    from ganfold.data.cache import default_cache

    described: dict[str, Any] = device.describe(torch.device("cpu"))
    return Environment(
        ganfold=own_version(),
        python=sys.version.split()[0],
        system=platform.platform(),
        packages={name: _installed(name) for name in (*PACKAGES, *EXTRAS)},
        devices=["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available() + ["cpu"],
        cpu=str(described["cpu"]),
        cores=os.cpu_count() or 0,
        threads=torch.get_num_threads(),
        cache=str(default_cache()),
    )


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
