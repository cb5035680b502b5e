"""`ganfold.plan`, and `train` without a GAN's name."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganfold
from ganfold import GanfoldError
from ganfold.cli import main
from ganfold.gans import find
from ganfold.gans.contract import Shape
from ganfold.training import planning, rules, trial
from ganfold.training.trainer import Trainer

TINY: dict[str, Any] = {"width": 4, "batch": 8, "progress": False}


@pytest.fixture(autouse=True)
def _short_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "OFTEN", 3)


def values(plan: planning.Plan) -> dict[str, str]:
    return {choice.name: choice.value for choice in plan.choices}


def config(out: Path) -> dict[str, Any]:
    return json.loads((out / "config.json").read_text())


@pytest.mark.parametrize(
    ("where", "minutes", "native", "side"),
    [
        ("cpu", None, 64, 32),
        ("cpu", 30, 1000, 32),
        ("cpu", 180, 1000, 64),
        ("cpu", None, 28, 32),
        ("cpu", None, 20, 16),
        ("cpu", 180, 50, 32),
        ("cpu", None, 8, 16),
        ("cuda", None, 1000, 64),
        ("mps", 5, 28, 32),
    ],
)
def test_the_resolution_is_what_images_and_time_allow(
    where: str, minutes: float | None, native: int, side: int
) -> None:
    assert rules.choose_resolution(where, minutes, native)[0] == side


def test_a_batch_is_never_above_the_number_of_images() -> None:
    assert [rules.choose_batch("cpu", count)[0] for count in (5_000, 16, 15, 5, 2)] == [16, 16, 8, 4, 2]
    assert rules.choose_batch("cuda", 5_000)[0] == 128


def test_fewer_images_are_augmented_more() -> None:
    counts = (60, 1_999, 2_000, 29_999, 30_000)
    assert [rules.choose_augment("cpu", count)[0] for count in counts] == [0.5, 0.5, 0, 0, 0]
    assert [rules.choose_augment("cuda", count)[0] for count in counts] == [0.5, 0.5, 0.5, 0.5, 0]


def test_pixels_exactly_like_their_neighbour_in_all_channels_are_counted() -> None:
    random = np.random.default_rng(0)
    drawn = np.repeat(random.integers(0, 255, (4, 3, 16, 4), np.uint8), 4, axis=3)  # stripes of four pixels
    all_four = np.arange(4)
    assert f"{rules.share_alike(drawn, all_four):.0%}" == "80%"
    grainy = drawn + random.integers(0, 2, drawn.shape, np.uint8)
    assert rules.share_alike(grainy, all_four) < rules.DRAWN
    in_one_channel = drawn.copy()
    in_one_channel[:, 2] = grainy[:, 2]
    assert f"{rules.share_alike(in_one_channel, all_four):.0%}" == "41%"
    assert rules.share_alike(np.concatenate([grainy, drawn]), all_four) < 0.15  # the others do not count


def test_drawings_are_flattened_and_plain_grounds_get_noise() -> None:
    assert rules.choose_flatten(0.8, 32) == (True, "80% of neighbouring pixels are alike: drawings")
    assert rules.choose_flatten(0.25, 32) == (False, "25% of neighbouring pixels are alike: photos")
    assert rules.choose_flatten(0.8, 16)[0] is False
    assert [rules.choose_noise(share)[0] for share in (0.0, 0.34, 0.47, 0.65, 1)] == [0.1, 0.1, 0.2, 0.35, 0.35]


def test_a_budget_of_nobodys_is_longer_on_a_slow_machine() -> None:
    assert [rules.choose_minutes(speed)[0] for speed in (10_000, 200, 1)] == [15, 25, 60]


def test_the_command_line_takes_all_options_of_the_gan_that_it_names(
    squares: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plan", str(squares), "--gan=pix2pix", "--input", "grey", "--width", "8", "--batch", "16", "--kimg", "1"]
    assert main([*words, "--patch", "16"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"batch +16 +as requested", said)  # though 16 is its default
    assert re.search(r"D \d+,\d{3} weights", said)
    assert {"--input grey", "--patch 16"} <= set(re.findall(r"--\w+ \w+", said.splitlines()[-1]))
    assert main(["plan", str(squares), "--gan", "rsgan", "--width", "4", "--no-smooth", "--kimg", "1"]) == 0
    assert "--no-smooth" in capsys.readouterr().out.splitlines()[-1]
    assert main(["plan", str(squares), "--width", "4", "--kimg", "1", "--flatten", "True", "--input-noise", "0"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"flatten +yes +as requested", said)
    assert re.search(r"input noise +0 +as requested", said)
    assert "--flatten --input-noise 0 " in said + " "
    assert main([*words, "--smooth"]) == 2
    assert "--smooth" in capsys.readouterr().err


def test_what_a_step_costs_is_counted(squares: Path) -> None:
    """Fully connected: a layer costs its weights once forward, once for its weights' gradient and, but for the first,
    once for its input's. G is run and taught; D is run on reals, on fakes, taught by both, and run once more for G."""
    plan = ganfold.plan(squares, gan="gan", resolution=28, channels=1, kimg=1, progress=False)
    gan: Any = find("gan")(find("gan").config_class(), Shape(1, 28))
    of_g, of_d = (sum(w.numel() for w in net.parameters() if w.ndim == 2) for net in (gan.G, gan.D))
    assert 2 * of_g + 6 * of_d <= plan.multiply_adds <= 3 * of_g + 9 * of_d
    assert plan.weights == f"G {of_g / 1e6:.1f} M, D {of_d / 1e6:.1f} M"
    assert f"{plan.multiply_adds / 1e6:,.0f} M multiply-adds" in "\n".join(plan.lines())


@pytest.mark.parametrize("where", ["cpu", "cuda", "mps"])
def test_what_is_chosen_is_there_and_has_its_size_options(where: str) -> None:
    name, why, sizes = rules.choose_gan(where)
    assert why
    find(name).config_class(**{option: value for option, (value, _) in sizes.items()})


def test_a_plan_chooses_all_with_reasons_and_writes_nothing(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = ganfold.plan(squares, progress=False, device="cpu")
    assert list(tmp_path.iterdir()) == []
    assert plan.gan == "rsgan"
    found = values(plan)
    wanted = {
        "resolution": "16",
        "batch": "16",
        "augment": "0.5",
        "width": "32",
        "flatten": "no",
        "input noise": "0.35",
    }
    assert found.items() >= wanted.items()
    assert all(choice.why for choice in plan.choices)
    assert plan.images_per_second > 0
    assert plan.memory > 2**20
    assert plan.epochs == pytest.approx(plan.kimg * 1000 / 96)
    assert re.fullmatch(r"G 100,544, D \d\d,\d{3}", plan.weights)  # one unit for all
    assert "decay_kimg" not in plan.options  # its rate does not fall
    assert plan.kimg == pytest.approx(plan.minutes * 60 * plan.images_per_second / 1000)
    text = "\n".join(plan.lines())
    assert "96 images to train on, 16 px, 3 classes" in text
    assert plan.command in text
    assert plan.command.startswith(f"ganfold train rsgan --data {squares} --out runs/squares --")


def test_what_the_user_gives_is_kept_and_the_rest_goes_around_it(squares: Path) -> None:
    plan = ganfold.plan(squares, kimg=2, resolution=32, augment=0.0, channels=1, batch=8, progress=False)
    given = {"kimg": 2, "resolution": 32, "augment": 0.0, "channels": 1, "batch": 8}
    assert plan.options.items() >= given.items()
    assert "minutes" not in plan.options
    assert plan.kimg == pytest.approx(2)
    assert values(plan).items() >= {"channels": "1", "budget": "2 kimg", "batch": "8", "augment": "0"}.items()
    reasons = {choice.name: choice.why for choice in plan.choices}
    assert all(reasons[name].startswith("as ") for name in ("resolution", "augment", "channels", "batch", "budget"))
    both = ganfold.plan(squares, kimg=1000, minutes=1, **TINY)
    assert both.minutes == 1
    assert values(both)["budget"] == "1,000 kimg or 1 minute"


def test_a_budget_that_holds_no_step_is_said_and_a_small_one_in_words(
    squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "try_steps", lambda *_: trial.Trial(8.0, 2**20, 1, "", 0))  # a step takes a second
    plan = ganfold.plan(squares, minutes=0.01, **TINY)
    assert plan.minutes == pytest.approx(1 / 60)
    assert {choice.name: choice.why for choice in plan.choices}[
        "budget"
    ] == "as requested, but training makes at least one step"
    taken = "Training will take about 0.017 minutes and see about 0.008 kimg: each image less than once."
    assert f"{taken} An epoch, each image once, is 0.096 kimg." in plan.lines()
    text = "\n".join(ganfold.plan(squares, minutes=1, **TINY).lines())
    assert "Training will take about 1 minute and see about 0.48 kimg: each image about 5 times." in text
    assert re.search(r"budget +1 minute +as requested", text)


def test_a_plan_for_a_gan_of_the_users_choice(squares: Path) -> None:
    plan = ganfold.plan(squares, gan="cgan", minutes=1, **TINY)
    assert plan.command.startswith("ganfold train cgan ")
    assert "labels" not in values(plan)
    for gan, way in (("rsgan", "train rsgan --labels"), ("wgan", "--gan rsgan --labels")):
        choices = {choice.name: choice for choice in ganfold.plan(squares, gan=gan, minutes=1, **TINY).choices}
        assert f"{way} learns the 3 classes" in choices["labels"].why
    small = {name: value for name, value in TINY.items() if name != "width"}
    for gan, options in (("r3gan", {}), ("rsgan", {"labels": True})):
        assert "labels" not in values(ganfold.plan(squares, gan=gan, minutes=1, **small, **options))
    assert "augment" not in ganfold.plan(squares, gan="wgan", minutes=1, **TINY).options


def test_the_planned_command_is_the_run_of_the_plan(squares: Path, tmp_path: Path) -> None:
    """The bare call and the command that the plan prints write the same run."""
    options = TINY | {"kimg": 0.04}
    ganfold.train(data=squares, out=tmp_path / "bare", **options)
    plan = ganfold.plan(squares, tmp_path / "named", **options)
    assert main(plan.command.split()[1:]) == 0
    one, other = config(tmp_path / "bare"), config(tmp_path / "named")
    assert one["command"] == plan.command.replace("named", "bare")
    for part in ("gan", "config", "settings", "data"):
        assert one[part] == other[part]


def test_the_bare_command_again_goes_on_without_another_plan(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["train", "--data", str(squares), "--out", str(out), "--width", "4", "--report-kimg", "0.02"]
    step = Trainer.step

    def interrupted(self: Trainer) -> None:
        step(self)
        if self.steps == 16:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(planning, "try_steps", lambda *_: trial.Trial(100.0, 2**20, 1, "", 0))
        patch.setattr(Trainer, "step", interrupted)
        assert main(words) == 130
    said = capsys.readouterr().out
    assert "budget       50 minutes" in said
    assert "Stopped by Ctrl-C" in said
    before = config(out)
    monkeypatch.setattr("ganfold.training.planning.plan_training", lambda *_, **__: pytest.fail("planned anew"))
    assert main([*words, "--kimg", "0.4"]) == 0
    after = config(out)
    assert after["config"] == before["config"]
    assert after["settings"] == before["settings"] | {"kimg": 0.4, "minutes": None}
    assert "Going on at 0.3 kimg" in capsys.readouterr().out
    assert main([w for w in words if w not in ("--width", "4")]) == 0
    assert "is done: 0.4 kimg" in capsys.readouterr().out
    assert main([*words, "--batch", "8"]) == 2
    assert "was trained with batch = 16, and 8 is requested" in capsys.readouterr().err


def test_a_restart_plans_anew(squares: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ganfold.train(data=squares, out=out, **TINY, kimg=0.016)
    ganfold.train(data=squares, out=out, width=8, kimg=0.032, progress=False, restart=True)
    assert config(out)["config"]["width"] == 8
    assert config(out)["config"]["batch"] == 16


def test_a_plan_for_drawings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    plain = np.repeat(np.repeat(random.integers(0, 255, (40, 4, 4, 3), np.uint8), 8, 1), 8, 2)
    np.save(tmp_path / "plain.npy", plain)
    plan = ganfold.plan(tmp_path / "plain.npy", kimg=1, progress=False, device="cpu", width=8)
    assert values(plan).items() >= {"flatten": "yes", "input noise": "0.35"}.items()
    assert "--flatten --input-noise 0.35" in plan.command
    assert main(["plan", str(tmp_path / "plain.npy"), "--width", "4", "--kimg", "1", "--flatten", "False"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"flatten +no +as requested", said)
    assert "--flatten" not in said


def test_a_plan_for_twenty_images(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.savez(tmp_path / "few.npz", images=random.integers(0, 255, (20, 40, 40, 3), np.uint8))
    plan = ganfold.plan(tmp_path / "few.npz", width=4, minutes=1, progress=False)
    assert plan.options.items() >= {"batch": 16, "resolution": 32, "augment": 0.5}.items()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("plan {tmp}/nowhere", "no such file or folder"),
        ("plan {squares} --gan dcgam", "did you mean 'dcgan'?"),
        ("plan {squares} --minutes 0", "minutes must be above 0"),
        ("plan {squares} --batch 400", "a batch of 400 is larger than the 96 training images"),
        ("plan {squares} --resolution 40", "16, 32, 64, 128 or 256 pixels a side, not 40"),
        ("train --data {tmp}/nowhere --out {tmp}/run", "no such file or folder"),
        ("train --data {squares} --out {squares}", "exists and is not a run"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(
    words: str, sentence: str, squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.format(tmp=tmp_path, squares=squares) for word in words.split()]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_mistakes_in_python(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GanfoldError, match="say on which images"):
        ganfold.train()
    with pytest.raises(GanfoldError, match=r"rsgan has no option 'widht'; did you mean 'width'\?"):
        ganfold.plan(squares, widht=3, progress=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(GanfoldError, match="made by one process"):
        ganfold.plan(squares, progress=False)


def test_a_trial_whose_memory_runs_out_says_so(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Trainer.step

    def scarce(self: Trainer) -> None:
        if self.batches.size // self.parts > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        step(self)

    monkeypatch.setattr(Trainer, "step", scarce)
    plan = ganfold.plan(squares, width=4, batch=16, minutes=1, progress=False)
    assert values(plan)["parts"] == "4"
    monkeypatch.setattr(Trainer, "split_further", lambda self: False)
    with pytest.raises(GanfoldError, match="out of memory: give a smaller --batch"):
        ganfold.plan(squares, width=4, batch=16, minutes=1, progress=False)


def test_a_plan_for_a_gan_looks_for_what_that_gan_wants(squares: Path) -> None:
    with pytest.raises(GanfoldError, match="holds no pairs: give it two sub-folders A and B"):
        ganfold.plan(squares, gan="pix2pix", kimg=1, **TINY)
    with pytest.raises(GanfoldError, match="by --target"):
        ganfold.plan(squares, gan="cyclegan", kimg=1, **TINY)
    found = ganfold.plan(squares, gan="pix2pix", input="grey", kimg=1, **TINY)
    assert found.options["decay_kimg"] == 1
