"""Arrays, tensors, data sets and lists where a path is needed: one sentence, whose call saves them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import ganfold
from ganfold import data
from ganfold.errors import GanfoldError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
IMAGES = [Image.fromarray(pixels) for pixels in PIXELS]


class Tensors(Dataset[tuple[torch.Tensor, int]]):
    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index >= len(PIXELS):
            raise IndexError(index)
        return torch.from_numpy(PIXELS[index].transpose(2, 0, 1)).float() / 255, index % 2


SAVED = {
    "array": PIXELS,
    "int64": PIXELS.astype(np.int64),
    "0 to 1": PIXELS / 255,
    "-1 to 1": PIXELS / 127.5 - 1,
    "float to 255": PIXELS.astype(np.float32),
    "16 bits": PIXELS.astype(np.uint16) * 257,
    "tensor": torch.from_numpy(PIXELS).permute(0, 3, 1, 2),
    "images": IMAGES,
    "pairs": [(image, i % 2) for i, image in enumerate(IMAGES)],
    "data set": Tensors(),
    "loader": DataLoader(Tensors(), 2),
}


def refused(call: Any) -> str:
    with pytest.raises(GanfoldError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("name", SAVED)
def test_the_call_in_the_sentence_saves_what_was_given(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = SAVED[name]
    sentence = refused(lambda: ganfold.train("dcgan", data=x, out="run"))
    assert "\n" not in sentence
    saving = re.search(r"save it with numpy\.(savez\(.*?\))(?= \(labels|, and give)", sentence)
    assert saving, sentence
    eval(f"numpy.{saving[1]}", {"numpy": np, "x": x})
    images = data.load("images.npz", cache=tmp_path / "cache", progress=False)
    np.testing.assert_array_equal(images.images, PIXELS.transpose(0, 3, 1, 2))
    assert (images.labels is not None) == (name in ("pairs", "data set", "loader"))
    assert not Path("run").exists()


def test_every_verb_refuses_them() -> None:
    for call in (
        lambda: ganfold.check(PIXELS),  # type: ignore[arg-type]
        lambda: ganfold.train(data=PIXELS),
        lambda: ganfold.plan(PIXELS),
        lambda: ganfold.evaluate(PIXELS),  # type: ignore[arg-type]
        lambda: ganfold.evaluate("x", reference=PIXELS),  # type: ignore[arg-type]
        lambda: ganfold.copies(PIXELS, reference="x"),  # type: ignore[arg-type]
        lambda: ganfold.study(PIXELS, "out"),
        lambda: ganfold.augment(PIXELS, "out"),
        lambda: data.load(PIXELS),  # type: ignore[arg-type]
    ):
        assert "takes a path, not an array x of uint8 (6, 16, 16, 3): save it with" in refused(call)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (["a.png", Path("b.png")], "data takes one path, not a list of paths: put the files into one folder"),
        (7, "data takes a path, not an int"),
        ({"a": 1}, "data takes a path, not a dict"),
        ([], "data takes a path, not a list"),
        (iter(IMAGES), "data takes a path, not a list_iterator x: save it with numpy.savez"),
    ],
)
def test_other_objects_are_named(value: Any, said: str) -> None:
    assert refused(lambda: ganfold.train("dcgan", data=value)).startswith(said)
    assert refused(lambda: ganfold.sample([1], "out.png")) == "run takes a path, not a list"  # type: ignore[arg-type]
