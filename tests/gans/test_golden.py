"""Fifty recorded steps of each GAN. A change that should not move numbers must not move these.

`python tests/gans/test_golden.py` records them anew, after a change that should.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from ganfold.data import ImageSet
from ganfold.gans import GANS
from machine import machine
from tiny import rich_images, small_trainer, write_squares

RECORD = Path(__file__).with_name("golden.json")
STEPS, EVERY = 50, 10
TOLERANCE = 0.05  # on other machines rounding differs, and training amplifies it


def recorded(name: str, images: ImageSet) -> dict[str, Any]:
    """The means of all logged values, every ten steps, and a digest of the whole state at the end."""
    trainer = small_trainer(name, images)
    rows = []
    for step in range(1, STEPS + 1):
        trainer.step()
        if step % EVERY == 0:
            rows.append(trainer.meter.means())
            trainer.meter.clear()
    tensors, state = trainer.state()
    digest = hashlib.blake2b(json.dumps(state, sort_keys=True).encode(), digest_size=16)
    for key in sorted(tensors):
        digest.update(key.encode() + tensors[key].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return {"rows": rows, "digest": digest.hexdigest()}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return rich_images(write_squares(tmp_path_factory.mktemp("golden") / "squares.npz"))


@pytest.mark.parametrize("name", GANS)
def test_fifty_steps_give_the_recorded_losses(name: str, images: ImageSet) -> None:
    golden = json.loads(RECORD.read_text())
    expected, found = golden["gans"][name], recorded(name, images)
    if machine() == golden["machine"]:
        assert found == expected
    for row, wanted in zip(found["rows"], expected["rows"], strict=True):
        assert row.keys() == wanted.keys()
    first, wanted = found["rows"][0], expected["rows"][0]
    assert {key: first[key] for key in first} == pytest.approx(wanted, rel=TOLERANCE, abs=TOLERANCE)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        images_ = rich_images(write_squares(Path(folder) / "squares.npz"))
        found_ = {name: recorded(name, images_) for name in GANS}
    content = {"machine": machine(), "gans": found_}
    RECORD.write_text(json.dumps(content, indent=1) + "\n")
