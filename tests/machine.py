"""What the bits of a training depend on besides the code: where this agrees, so must every bit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch


def machine() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    told = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    cpu = hashlib.blake2b("".join(told).encode(), digest_size=8).hexdigest()
    return {"cpu": cpu, "threads": torch.get_num_threads(), "torch": torch.__version__}
