"""`ganfold.train` as its user meets it: start, stop, go on, refuse."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
from dataclasses import fields
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import ganfold
from ganfold import GanfoldError
from ganfold.cli import main
from ganfold.gans import GANS, find
from ganfold.interface.settings import Settings
from ganfold.runs import checkpoint
from ganfold.training.loop import _next_report
from ganfold.training.request import command_line, configured
from ganfold.training.trainer import Trainer

SMALL: dict[str, Any] = {
    "batch": 8,
    "z_dim": 6,
    "kimg": 0.08,
    "report_kimg": 0.02,
    "resolution": 16,
    "progress": False,
}


NEEDS: dict[str, dict[str, Any]] = {
    "dcgan": {"width": 4},
    "pix2pix": {"width": 4, "input": "edges"},
    "cyclegan": {"width": 4, "blocks": 1, "target": "digits"},
}


def small(gan: str, data: Path, out: Path, **options: Any) -> ganfold.Run:
    known = {field.name for kind in (find(gan).config_class, Settings) for field in fields(kind)} | {"progress"}
    common = {name: value for name, value in SMALL.items() if name in known}
    return ganfold.train(gan, data, out, **{**common, **NEEDS.get(gan, {}), **options})


def rows(out: Path) -> list[dict[str, float]]:
    """The log, but for what the clock on the wall says."""
    return [
        {k: v for k, v in json.loads(line).items() if k not in ("images/s", "minutes")}
        for line in (out / "log.jsonl").read_text().splitlines()
    ]


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint.checkpoints(out / "checkpoints")[-1])


def contents(out: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def assert_same_run(one: Path, other: Path) -> None:
    assert rows(one) == rows(other)
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    names = sorted(p.name for p in (one / "samples").iterdir())
    assert names == sorted(p.name for p in (other / "samples").iterdir())
    assert all((one / "samples" / n).read_bytes() == (other / "samples" / n).read_bytes() for n in names)


def test_a_run_leaves_all_that_a_reader_needs(squares: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = small("dcgan", squares, out)
    names = {p.name for p in out.iterdir()}
    assert names == {
        "checkpoints", "config.json", "contact.png", "data.json", "forms.json", "log.jsonl", "progress.webp", "samples",
        "state.json", "tensorboard",
    }  # fmt: skip
    log = rows(out)
    assert [row["kimg"] for row in log] == [0.024, 0.04, 0.064, 0.08]
    for name in (
        "Loss_D",
        "Loss_G",
        "D(x)",
        "D(G(z)) before",
        "D(G(z)) after",
        "grad_norm/D",
        "grad_norm/G",
        "step",
    ):
        assert all(name in row for row in log)
    assert all(0 < row["D(x)"] < 1 for row in log)
    assert json.loads((out / "state.json").read_text())["status"] == "done"
    assert len(list((out / "samples").glob("0*.png"))) == 5  # before the first step, too
    assert list((out / "tensorboard").iterdir())
    with Image.open(out / "progress.webp") as film:
        assert film.n_frames == 5  # type: ignore[attr-defined]
    assert run.sample(3).shape == (3, 16, 16, 3)


def test_samples_follow_from_seed_and_number_alone(squares: Path, tmp_path: Path) -> None:
    small("dcgan", squares, tmp_path / "run")
    run = ganfold.load(tmp_path / "run")
    many = run.sample(70, seed=3)
    assert many.dtype == np.uint8
    assert np.array_equal(run.sample(5, seed=3), many[:5])
    assert np.array_equal(run.sample(9, seed=3, start=29), many[29:38])
    assert not np.array_equal(run.sample(5, seed=4), many[:5])
    assert len(np.unique(many.reshape(70, -1), axis=0)) == 70
    assert run.sample(0).shape == (0, 16, 16, 3)
    with pytest.raises(GanfoldError, match="must be 0 or more"):
        run.sample(-1)


def test_the_grid_of_a_report_is_the_sample_of_the_runs_seed(squares: Path, tmp_path: Path) -> None:
    run = small("dcgan", squares, tmp_path / "run", seed=5)
    last = sorted((tmp_path / "run" / "samples").glob("0*.png"))[-1]
    ganfold.sample(run, tmp_path / "grid.png", count=64, seed=5)
    with Image.open(last) as grid, Image.open(tmp_path / "grid.png") as mine:
        assert np.array_equal(np.asarray(grid), np.asarray(mine))


def test_the_same_call_again_says_that_it_is_done(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small("dcgan", squares, tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}
    small("dcgan", squares, tmp_path / "run", progress=True)
    assert "is done: 0.1 kimg. For more, raise --kimg" in capsys.readouterr().out
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}


@pytest.mark.parametrize("gan", GANS)
def test_a_larger_budget_goes_on_to_the_same_bits(gan: str, squares: Path, captioned: Path, tmp_path: Path) -> None:
    data = captioned if gan == "gawwn" else squares
    small(gan, data, tmp_path / "whole")
    small(gan, data, tmp_path / "parts", kimg=0.032)  # between two reports
    small(gan, data, tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_run_that_goes_on_draws_its_real_images_only_where_they_are_gone(squares: Path, tmp_path: Path) -> None:
    contact, reals = tmp_path / "run" / "contact.png", tmp_path / "run" / "samples" / "reals.png"
    small("gan", squares, tmp_path / "run", kimg=0.016)
    before, content = contact.stat().st_mtime_ns, reals.read_bytes()
    reals.unlink()
    small("gan", squares, tmp_path / "run", kimg=0.024)
    assert contact.stat().st_mtime_ns == before
    assert reals.read_bytes() == content


def test_ctrl_c_saves_says_how_to_go_on_and_loses_nothing(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small("dcgan", squares, tmp_path / "whole")
    step = Trainer.step

    def interrupted(self: Trainer) -> None:
        step(self)
        if self.steps == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "step", interrupted)
    run = small("dcgan", squares, tmp_path / "run", progress=True)
    assert run.stopped_by == "Ctrl-C"
    said = capsys.readouterr().out
    assert "Stopped by Ctrl-C and saved at 0.0 kimg" in said
    assert "ganfold train dcgan --data" in said
    monkeypatch.setattr(Trainer, "step", step)
    assert small("dcgan", squares, tmp_path / "run").stopped_by is None
    assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seed": 1}, "was trained with seed = 0, and 1 is requested"),
        ({"batch": 16}, "was trained with batch = 8, and 16 is requested"),
        ({"lr": 1e-3}, "was trained with lr = 0.0002, and 0.001 is requested"),
        ({"betas": (0.0, 0.9)}, "trained with betas"),
        ({"flips": True}, "trained with flips"),
    ],
)
def test_other_hyper_parameters_are_named_and_refused(
    change: dict[str, Any], sentence: str, squares: Path, tmp_path: Path
) -> None:
    small("dcgan", squares, tmp_path / "run", kimg=0.016)
    kept = weights(tmp_path / "run")
    with pytest.raises(GanfoldError, match=sentence):
        small("dcgan", squares, tmp_path / "run", **change)
    assert all(torch.equal(value, kept[name]) for name, value in weights(tmp_path / "run").items())


def test_another_gan_or_other_images_are_refused_and_restart_begins_anew(squares: Path, tmp_path: Path) -> None:
    small("dcgan", squares, tmp_path / "run", kimg=0.016)
    with pytest.raises(GanfoldError, match="was trained with gan = dcgan, and gan is requested"):
        small("gan", squares, tmp_path / "run")
    other = tmp_path / "other.npz"
    np.savez(other, images=np.load(squares)["images"][::-1][:64] + 1)
    with pytest.raises(GanfoldError, match="was trained on other images than .*other.npz holds now"):
        small("dcgan", other, tmp_path / "run")
    small("gan", other, tmp_path / "run", restart=True)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["gan"] == "gan"
    assert rows(tmp_path / "run")[0]["step"] == 3


def test_a_restart_that_cannot_train_deletes_nothing(squares: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    small("dcgan", squares, out, kimg=0.016)
    before = contents(out)
    for data, options in ((tmp_path / "nowhere", {}), (squares, {"batch": 1000}), (squares, {"resolution": 48})):
        with pytest.raises(GanfoldError):
            small("dcgan", data, out, restart=True, **options)
        assert contents(out) == before


def test_restart_keeps_what_is_not_the_runs(squares: Path, tmp_path: Path) -> None:
    small("dcgan", squares, tmp_path / "new", kimg=0.016, restart=True)
    out = tmp_path / "run"
    small("dcgan", squares, out, seed=1)
    (out / "generated.png").write_text("precious")
    (out / "evaluation.json").write_text("of the earlier weights")
    small("dcgan", squares, out, kimg=0.016, restart=True)
    assert not (out / "evaluation.json").exists()
    assert_same_run(out, tmp_path / "new")
    assert (out / "generated.png").read_text() == "precious"


def test_a_folder_that_is_no_run_is_not_touched(squares: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    for restart in (False, True):
        with pytest.raises(GanfoldError, match="not a run"):
            small("dcgan", squares, tmp_path, restart=restart)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_damaged_checkpoint_stops_the_resume_and_the_earlier_one_still_serves(squares: Path, tmp_path: Path) -> None:
    small("dcgan", squares, tmp_path / "whole")
    out = tmp_path / "run"
    small("dcgan", squares, out, kimg=0.04, checkpoint_minutes=0)
    last = checkpoint.checkpoints(out / "checkpoints")[-1]
    content = bytearray(last.read_bytes())
    content[-5] ^= 1
    last.write_bytes(content)
    with pytest.raises(GanfoldError, match="is damaged"):
        small("dcgan", squares, out)
    with pytest.raises(GanfoldError, match="is damaged"):
        ganfold.load(out).sample(1)
    last.unlink()
    small("dcgan", squares, out)
    assert_same_run(tmp_path / "whole", out)


@pytest.mark.parametrize("device", ["cpu", "meta"])  # meta: one where not every step is checked
def test_a_loss_that_is_not_finite_stops_with_a_sentence_and_keeps_the_last_good_state(
    device: str, squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def poisoned(self: Trainer) -> None:
        if self.steps == 6:
            next(self.gan.D.parameters()).data[0] = float("nan")
        step(self)
        if self.steps == 7:
            self.device = torch.device(device)

    monkeypatch.setattr(Trainer, "step", poisoned)
    out = tmp_path / "run"
    with pytest.raises(
        GanfoldError, match=r"Loss_D.* became infinite or NaN.*the last good state is kept.*try a lower --lr"
    ):
        small("dcgan", squares, out, checkpoint_minutes=0, rescue=False)
    assert json.loads((out / "state.json").read_text())["status"] == "failed"
    assert all(value.isfinite().all() for value in weights(out).values())
    monkeypatch.setattr(Trainer, "step", step)
    small("dcgan", squares, out)  # the same command goes on from there


def test_a_run_that_diverged_goes_on_from_the_last_good_state_with_half_the_learning_rate(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step, poisons, rates = Trainer.step, iter([True]), []

    def poisoned(self: Trainer) -> None:
        if self.steps == 6 and next(poisons, False):
            next(self.gan.D.parameters()).data[0] = float("nan")
        step(self)
        rates.append(self.gan.optimizers["G"].param_groups[0]["lr"])

    monkeypatch.setattr(Trainer, "step", poisoned)
    out = tmp_path / "run"
    small("dcgan", squares, out, checkpoint_minutes=0, progress=True)
    assert rates[6] == 2 * rates[7] == 2 * rates[-1]
    assert "Doctor: training diverged (" in capsys.readouterr().out
    state = json.loads((out / "state.json").read_text())
    assert state["status"] == "done"
    assert [rescue["at"] > rescue["to"] for rescue in state["rescues"]] == [True]
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert all(value.isfinite().all() for value in weights(out).values())
    monkeypatch.setattr(Trainer, "step", step)  # the lower rate outlasts a resume
    trained = []
    monkeypatch.setattr(Trainer, "slow_down", lambda self, factor: trained.append(factor))
    small("dcgan", squares, out, kimg=1)
    assert trained == [0.5]


def test_three_rescues_are_the_most(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Trainer.step

    def poisoned(self: Trainer) -> None:
        step(self)
        if self.steps == 6:
            next(self.gan.D.parameters()).data[0] = float("nan")

    monkeypatch.setattr(Trainer, "step", poisoned)
    with pytest.raises(GanfoldError, match="after 3 rescues with ever lower learning rates; the last good state"):
        small("dcgan", squares, tmp_path / "run")


def test_an_exploding_learning_rate_is_caught(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(GanfoldError, match="infinite or NaN"):
        small("gan", squares, tmp_path / "run", lr=1e30, kimg=1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"widht": 3}, r"dcgan has no option 'widht'; did you mean 'width'\?"),
        ({"kimg": 0}, "kimg must be above 0"),
        ({"kimg": float("nan")}, "kimg must be above 0"),
        ({"minutes": -1}, "minutes must be above 0"),
        ({"lr": -1.0}, "lr must be 0 or more"),
        ({"lr": float("nan")}, "lr must be 0 or more"),
        ({"batch": 0}, "batch must be 1 or more"),
        ({"width": 0}, "width must be 1 or more"),
        ({"betas": (0.5, 1.0)}, "betas must be 0 or more and below 1"),
        ({"label_smoothing": 1.5}, "label_smoothing must be 0 or more and below 1"),
        ({"augment": 3.0}, "augment must be 0 or more and at most 1, not 3"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"resolution": 48}, "16, 32, 64, 128 or 256 pixels a side, not 48"),
        ({"batch": 1000}, "a batch of 1000 is larger than the 96 training images"),
        ({"device": "cuda"}, "--device cuda"),
        ({"precision": "bf16"}, "no bf16 arithmetic"),
    ],
)
def test_bad_options_are_one_sentence_and_leave_nothing(
    options: dict[str, Any], sentence: str, squares: Path, tmp_path: Path
) -> None:
    if options == {"device": "cuda"} and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    if options == {"precision": "bf16"} and (torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()):
        pytest.skip("bf16 is real here")
    with pytest.raises(GanfoldError, match=sentence):
        small("dcgan", squares, tmp_path / "run", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_share_may_be_given_as_a_whole_number() -> None:
    config, _ = configured(find("dcgan"), {"augment": 0, "input_noise": 0, "lr": 1})
    assert (config.augment, config.input_noise, config.lr) == (0, 0, 1)


def test_input_noise_and_smoothing_change_what_they_should(squares: Path, tmp_path: Path) -> None:
    plain = small("dcgan", squares, tmp_path / "plain", kimg=0.024)
    for name, options in {"noise": {"input_noise": 0.5}, "smooth": {"label_smoothing": 0.1}}.items():
        other = small("dcgan", squares, tmp_path / name, kimg=0.024, **options)
        assert not np.array_equal(plain.sample(4), other.sample(4))
    first, smooth = rows(tmp_path / "plain")[0], rows(tmp_path / "smooth")[0]
    assert smooth["D/real"] != first["D/real"]


def test_reports_come_rarer_in_long_runs() -> None:
    times, now = [], 0.0
    while now < 10**7:
        now = _next_report(int(now), 2.0)
        times.append(now)
    assert times[:3] == [2000, 4000, 6000]
    assert len(times) < 600
    assert all(b > a for a, b in pairwise(times))


def test_a_budget_of_kimg_minutes_or_the_default() -> None:
    assert Settings().budget_kimg == 1000
    assert Settings(minutes=3).budget_kimg == float("inf")
    assert Settings(minutes=3).is_spent(0, 3.0)
    assert not Settings(kimg=1, minutes=3).is_spent(999, 2.9)
    assert Settings(kimg=1, minutes=3).is_spent(1000, 0)


def test_minutes_are_a_budget(squares: Path, tmp_path: Path) -> None:
    ticks = count()
    small("gan", squares, tmp_path / "run", kimg=None, minutes=1, clock=lambda: 0.5 * next(ticks))
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    assert state["status"] == "done"
    assert 1 <= state["minutes"] < 1.1  # by the clock that was given, which moves by half a second a look


def test_the_recorded_command_repeats_the_call() -> None:
    said = command_line(
        find("dcgan"), "my photos", Path("r"), {"kimg": 5, "flips": True, "betas": (0.5, 0.9), "minutes": None}
    )
    assert said == "ganfold train dcgan --data 'my photos' --out r --kimg 5 --flips --betas 0.5 0.9"


def test_a_switch_that_is_on_by_default_can_be_turned_off(squares: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = ganfold.train("r3gan", squares, out, kimg=0.032, labels=False, norm=True, rescue=False, progress=False)
    assert not run.gan.conditional
    words = shlex.split(run.record.command)
    assert {"--no-labels", "--no-rescue"} <= set(words)
    assert not {"--norm", "--no-norm", "--labels"} & set(words)
    assert main([*words[1:], "--kimg", "0.064"]) == 0
