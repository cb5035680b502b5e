"""Checkpoints: whole or not there, verified to the bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ganfold.errors import GanfoldError
from ganfold.runs import checkpoint

TENSORS = {"a": torch.arange(600.0).view(20, 30), "b": torch.tensor(3), "c": torch.empty(0)}
STATE: dict[str, Any] = {"steps": 7, "draws": 9, "seconds": 1.5, "log_bytes": 0}
STATE |= {"meter": {"counts": {"0": 2}, "names": {"0": ["Loss_D", "Loss_G"]}}}


def test_it_gives_back_what_was_saved(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 7, TENSORS, STATE)
    tensors, state = checkpoint.load(path)
    assert state == STATE
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000007.safetensors"]


def test_a_channels_last_tensor_comes_back_equal(tmp_path: Path) -> None:
    tensor = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    tensors, _ = checkpoint.load(checkpoint.save(tmp_path, 0, {"w": tensor}, STATE))
    assert torch.equal(tensors["w"], tensor)


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 999, 1000):
        checkpoint.save(tmp_path, step, TENSORS, STATE)
    assert [int(p.stem[5:]) for p in checkpoint.checkpoints(tmp_path)] == [999, 1000]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_one_cut_short_is_refused_in_a_sentence(tmp_path: Path, share: float) -> None:
    checkpoint.save(tmp_path, 1, TENSORS, STATE)
    path = checkpoint.save(tmp_path, 2, TENSORS, STATE)
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(GanfoldError, match=r"step-000000002.*is damaged.*delete it to go on from step-000000001"):
        checkpoint.load(path)


def test_every_single_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, {"a": torch.arange(40.0)}, STATE)
    good, refused = path.read_bytes(), 0
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        try:
            tensors, state = checkpoint.load(path)
        except GanfoldError:
            refused += 1
        else:  # a byte of padding, or one that JSON reads as the same
            assert state == STATE
            assert torch.equal(tensors["a"], torch.arange(40.0))
    assert refused > 0.9 * len(good)


def test_no_space_leaves_the_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, TENSORS, STATE)
    code = (
        "import resource, sys, torch; from pathlib import Path; from ganfold.runs import checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "checkpoint.save(Path(sys.argv[1]), 2, {'big': torch.zeros(10**6)}, {})"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "GanfoldError: no space left to write" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000001.safetensors"]
    checkpoint.load(tmp_path / "step-000000001.safetensors")


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GanfoldError, match="cannot write"):
        checkpoint.save(tmp_path / "file", 1, TENSORS, STATE)


def test_weights_of_another_network_are_refused_in_a_sentence() -> None:
    ours = torch.nn.Linear(2, 3)
    weights = torch.nn.Linear(2, 3).state_dict()
    checkpoint.restore(ours, weights)
    assert torch.equal(ours.weight, weights["weight"])
    before = ours.weight.clone()
    others = {
        r"'weight' has the shape \(4, 2\) and not \(3, 2\)": torch.nn.Linear(2, 4),
        "'weight' is missing": torch.nn.Sequential(ours),
        "'bias' has the type torch.float64 and not torch.float32": torch.nn.Linear(2, 3).double(),
    }
    others |= {"'bias' belongs": torch.nn.Linear(2, 3)}
    for wrong, other in others.items():
        tensors = other.state_dict()
        if "bias' has" in wrong:
            tensors["weight"] = tensors["weight"].float()
        network = torch.nn.Linear(2, 3, bias=False) if "belongs" in wrong else ours
        with pytest.raises(GanfoldError, match=f"does not fit the networks that .* ganfold builds .*{wrong}"):
            checkpoint.restore(network, tensors, "runs/a")
    assert torch.equal(ours.weight, before)


NAN = float("nan")
WRONG: dict[str, list[Any]] = {  # None: it is missing
    "steps": [None, "7", 7.0, -1, True, 2**70, NAN],
    "draws": [None, []],
    "seconds": [None, NAN, float("inf"), -1, "1", []],
    "log_bytes": [None, 1.5, -3, {}],
    "meter": [
        *(None, [], {"counts": {}}, {"counts": {"0": 1}, "names": {}}, {"counts": {"0": 1}, "names": {"0": "a"}}),
        *({"counts": {"0": count}, "names": {"0": ["a"]}} for count in (NAN, 0, "1")),
    ],
    "parts": [0],
    "checkups": ["many"],
    "best": [{"KID": "low", "kimg": 1.0}],
    "rescues": [[{"at": 1.0}]],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_counter_that_is_missing_or_of_a_wrong_type_is_named(tmp_path: Path, name: str, value: Any) -> None:
    state = {**STATE, name: value}
    if value is None:
        del state[name]
    path = checkpoint.save(tmp_path, 1, TENSORS, state)
    with pytest.raises(GanfoldError, match=f"{path}.* is damaged \\({name}"):
        checkpoint.load(path)
    with pytest.raises(GanfoldError, match="is damaged"):
        checkpoint.load(checkpoint.save(tmp_path, 2, TENSORS, []))  # type: ignore[arg-type]


def test_a_best_kid_that_is_not_finite_opens(tmp_path: Path) -> None:
    state = STATE | {"best": {"KID": float("nan"), "kimg": 0.1}, "rescues": [{"at": 2, "to": 1.0, "why": "NaN"}]}
    assert checkpoint.load(checkpoint.save(tmp_path, 1, TENSORS, state))[1]["rescues"] == state["rescues"]
