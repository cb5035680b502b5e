"""A run of any GAN, made without training: small networks whose images are full of contrast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from ganfold.gans.contract import GAN
from ganfold.interface.settings import Settings
from ganfold.runs import checkpoint
from ganfold.runs.record import DataRecord, InputsRecord, RunRecord
from ganfold.runs.run import Run
from tiny import RGB, WORDS, small_config, small_gan

COUNTERS = {"steps": 7, "draws": 7, "seconds": 1.0, "log_bytes": 0, "meter": {"counts": {}, "names": {}}}
CLASSES = ("fox", "owl", "</script><b>'''")
Make = Callable[..., Run]


def contrast(gan: GAN) -> None:
    """Larger weights than training begins with: the images of fresh networks are all grey, and agree with anything."""
    torch.manual_seed(1)
    for weight in gan.parameters():
        if weight.ndim > 1:
            terms = weight[0].numel() if weight.ndim == 2 else weight.shape[1] * weight[0, 0].numel()
            torch.nn.init.normal_(weight, 0, 1.5 / terms**0.5)
    for name, statistic in gan.named_buffers():
        if name.endswith("running_mean"):
            torch.nn.init.normal_(statistic, 0, 0.3)


@pytest.fixture
def tiny_run(tmp_path: Path) -> Make:
    def make(name: str, classes: tuple[str, ...] = CLASSES) -> Run:
        folder = tmp_path / "secret" / name
        data = DataRecord(
            str(tmp_path / "secret" / "photos"), "f00d" * 8, 96, 0, RGB.resolution, RGB.channels, classes, (32, 32, 32),
            inputs=InputsRecord(str(tmp_path / "secret" / "inputs"), "beef" * 8, 3), words=WORDS, keypoints=2,
        )  # fmt: skip
        RunRecord(name, asdict(small_config(name)), Settings(), data, command=f"train {tmp_path}").write(folder)
        gan = small_gan(name)
        contrast(gan)
        tensors = {f"gan.{key}": value for key, value in gan.state_dict().items()}
        checkpoint.write(checkpoint.place(folder / "checkpoints", 7), tensors, COUNTERS)
        return Run(folder)

    return make
