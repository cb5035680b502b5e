"""CGAN, WGAN, WGAN-GP, InfoGAN and the losses of DCGAN keep what their papers say; labels work in every verb."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import ganfold
from ganfold import GanfoldError
from ganfold.cli import main
from ganfold.data import ImageSet, load
from ganfold.gans import find, noise
from ganfold.gans.contract import GAN, Batch, Shape
from ganfold.gans.infogan import InfoGAN, mutual_information
from ganfold.gans.losses import LOSSES
from ganfold.images import grids
from ganfold.images.files import class_folders
from ganfold.networks.smooth import flatten
from ganfold.runs.conditioning import as_frequent_as, class_rows
from ganfold.runs.run import Run
from ganfold.training.batches import Batches
from ganfold.training.checkups import Checkup
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer

CPU = torch.device("cpu")


def build(name: str, shape: Shape, **options: Any) -> GAN:
    gan_class = find(name)
    torch.manual_seed(0)
    return gan_class(gan_class.config_class(**{"batch": 8, "width": 4, "z_dim": 6} | options), shape)


def trainer(name: str, images: ImageSet, **options: Any) -> Trainer:
    gan = build(name, Shape(images.channels, images.resolution, len(images.classes)), **options)
    ranks = Ranks("cpu")
    batches = Batches(images, seed=0, size=gan.config.batch, ranks=ranks, device=CPU, flips=False)
    return Trainer(gan, batches, seed=0, device=CPU, ranks=ranks, ema_images=1000)


def batch_of(count: int, resolution: int = 16, channels: int = 3) -> Batch:
    rows = torch.arange(count)
    batch = Batch({"label": rows % 3}, rows)
    batch.begin("test")
    batch["image"] = batch.uniform(channels, resolution, resolution) * 2 - 1
    return batch


@pytest.fixture(scope="module")
def images(squares: Path) -> ImageSet:
    return load(squares, progress=False)


# RSGAN with labels.


def test_rsgan_takes_labels_on_request() -> None:
    labelled = Shape(3, 16, 3)
    for gan in (build("rsgan", labelled), build("rsgan", Shape(3, 16), labels=True)):
        assert not gan.conditional
        assert gan.temper == 1.0
    gan, batch = build("rsgan", labelled, labels=True).eval(), batch_of(6)
    assert gan.conditional
    assert gan.temper == 0.5
    z = torch.randn(6, 6)
    same, other = gan.sample(z, gan.condition(batch)), gan.sample(z, {"label": batch["label"].roll(1)})
    assert (same - other).abs().amax((1, 2, 3)).min() > 0  # the same z gives another image
    judged = gan.judge(batch, batch["image"])
    batch["label"] = batch["label"].roll(1)
    assert (judged - gan.judge(batch, batch["image"])).abs().min() > 0  # the same image gets another judgement


def test_rsgan_flattens_samples_but_not_the_images_that_d_sees() -> None:
    gan, batch = build("rsgan", Shape(3, 16), flatten=True).eval(), batch_of(4)
    z = torch.randn(4, *gan.latent)
    torch.testing.assert_close(gan.sample(z), flatten(gan.G(z)))
    batch.begin(0)
    again = batch.normal(*gan.latent)
    batch.begin(0)
    assert torch.equal(gan.fake(batch)["fake"], gan.G(again))


def test_rsgans_rate_falls_only_on_request() -> None:
    assert {build("rsgan", Shape(3, 16)).rate(images) for images in (0, 10**5, 10**9)} == {1.0}
    falling = build("rsgan", Shape(3, 16), lr=1e-3, lr_end=1e-4, decay_kimg=100.0)
    assert [falling.rate(images) for images in (0, 50_000, 10**6)] == pytest.approx([1, 0.55, 0.1])


def test_rsgans_noise_is_on_all_images_that_d_sees_and_on_no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, gan = build("rsgan", Shape(3, 16)).eval(), build("rsgan", Shape(3, 16), input_noise=0.3).eval()
    assert torch.equal(gan.sample(torch.ones(2, 6)), plain.sample(torch.ones(2, 6)))
    shown: list[Tensor] = []
    monkeypatch.setattr(type(gan.D), "forward", lambda self, x, label: shown.append(x) or x.mean((1, 2, 3)))
    batch = batch_of(8)
    batch |= gan.fake(batch)
    gan.discriminator(batch)
    gan.generator(batch)
    for seen, clean in zip(shown, (batch["image"], batch["fake"], batch["fake"], batch["image"]), strict=True):
        assert 0.28 < (seen - clean).std() < 0.32


# WGAN.


@pytest.mark.parametrize("networks", ["conv", "mlp"])
def test_wgan_keeps_every_weight_of_the_critic_in_its_cube(networks: str, images: ImageSet) -> None:
    subject = trainer("wgan", images, networks=networks, clip=0.003)
    subject.step()
    weights = torch.cat([weight.detach().flatten() for weight in subject.gan.D.parameters()])
    assert weights.abs().max() <= 0.003
    assert (weights.abs() == weights.abs().max()).sum() > 1
    others = torch.cat([weight.detach().flatten() for weight in subject.gan.G.parameters()])
    assert others.abs().max() > 0.003


@pytest.mark.parametrize("name", ["wgan", "wgan-gp"])
def test_five_updates_of_the_critic_on_fresh_reals_and_fakes(
    name: str, images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = trainer(name, images)
    shown: list[Tensor] = []
    judge = type(subject.gan).judge
    monkeypatch.setattr(
        type(subject.gan), "judge", lambda self, batch, x: (shown.append(x.detach().clone()), judge(self, batch, x))[1]
    )
    subject.step()
    steps = {key: next(iter(o.state.values()))["step"].item() for key, o in subject.gan.optimizers.items()}
    assert steps == {"D": 5, "G": 1}
    assert len(shown) == 11  # a pair for each update of the critic, and G's own fakes
    assert all(not torch.equal(one, other) for i, one in enumerate(shown) for other in shown[:i])
    assert subject.images == 5 * 8


def test_wgan_is_what_its_paper_says_of_signs(images: ImageSet) -> None:
    subject = trainer("wgan", images, networks="mlp")
    for _ in range(5):
        subject.step()
    means = subject.meter.means()
    assert means["wasserstein"] > 0  # the critic gives reals higher values
    assert means["Loss_D"] == pytest.approx(-means["wasserstein"], rel=1e-4)


# WGAN-GP.


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    gan: Any = build("wgan-gp", Shape(3, 16))
    linear = nn.Linear(3 * 16 * 16, 1)
    gan.D = nn.Sequential(nn.Flatten(), linear, nn.Flatten(0))
    batch = batch_of(8)
    expected = 10 * (linear.weight.norm() - 1) ** 2
    assert gan.critic(batch)["penalty"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert batch.stats["gradient norm"].item() == pytest.approx(linear.weight.norm().item(), rel=1e-4)


@pytest.mark.parametrize("networks", ["conv", "mlp"])
def test_the_critic_judges_each_image_by_itself(networks: str) -> None:
    gan = build("wgan-gp", Shape(3, 16), networks=networks)
    assert not any("BatchNorm" in type(module).__name__ for module in gan.D.modules())
    x = batch_of(8)["image"]
    assert torch.allclose(gan.D(x)[:2], gan.D(x[:2]), atol=1e-6)


@pytest.mark.parametrize("networks", ["conv", "mlp"])
def test_the_penalty_reaches_the_critics_weights(networks: str) -> None:
    gan: Any = build("wgan-gp", Shape(3, 16), networks=networks).double()
    images = batch_of(4)["image"].double()

    def penalty() -> Tensor:
        return ((gan.gradient_norm(images.clone()) - 1) ** 2).mean()

    direction = [torch.randn_like(weight) for weight in gan.D.parameters()]
    gradients = torch.autograd.grad(
        penalty(), list(gan.D.parameters()), allow_unused=True
    )  # a last bias has no gradient
    slope = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True) if g is not None)
    values = []
    for step in (1e-6, -2e-6):
        for weight, d in zip(gan.D.parameters(), direction, strict=True):
            weight.data += step * d
        values.append(penalty().item())
    assert float(slope) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4)
    assert abs(float(slope)) > 1e-6


# CGAN.


@pytest.mark.parametrize("networks", ["conv", "mlp"])
def test_other_labels_give_other_images_and_other_logits(networks: str) -> None:
    gan = build("cgan", Shape(3, 16, 3), networks=networks).eval()
    z, batch = noise.normal(0, torch.arange(8), 6), batch_of(8)
    ones, twos = torch.full((8,), 1), torch.full((8,), 2)
    one, other_label, other_z = (
        gan.sample(latent, {"label": label}) for latent, label in ((z, ones), (z, twos), (z.flip(0), ones))
    )
    assert not torch.allclose(one, other_label)
    assert (one - other_label).norm() < (one - other_z).norm()  # otherwise each class becomes one image
    batch["label"] = ones
    first = gan.judge(batch, batch["image"])
    batch["label"] = twos
    second = gan.judge(batch, batch["image"])
    assert first is not None
    assert second is not None
    assert (first != second).all()


def test_g_and_d_get_the_same_label(images: ImageSet) -> None:
    subject = trainer("cgan", images)
    taken: dict[str, list[Tensor]] = {"G": [], "D": []}
    for name in taken:
        network = getattr(subject.gan, name)
        network.register_forward_pre_hook(lambda _, condition, name=name: taken[name].append(condition[1]))
    subject.step()
    assert len(taken["G"]) == 1
    assert len(taken["D"]) == 3  # reals, fakes, and G's turn
    assert all(torch.equal(labels, subject.batches.draw(0)["label"]) for labels in taken["G"] + taken["D"])


def test_cgan_without_labels_says_what_it_needs() -> None:
    with pytest.raises(GanfoldError, match="cgan needs labels: give each class a sub-folder"):
        build("cgan", Shape(3, 16))


# InfoGAN.


def infogan(**options: Any) -> InfoGAN:
    gan = build("infogan", Shape(1, 16), **options)
    assert isinstance(gan, InfoGAN)
    return gan


def test_codes_are_uniform() -> None:
    gan = infogan()
    category, continuous = gan.codes(noise.normal(3, torch.arange(20_000), *gan.latent))
    assert category.bincount(minlength=10).numpy() == pytest.approx(2000, abs=200)
    assert continuous.shape == (20_000, 2)
    for number in range(2):
        share = np.histogram(continuous[:, number].numpy(), 10, (-1, 1))[0]
        assert share == pytest.approx(2000, abs=200)
    assert np.corrcoef(continuous.T)[0, 1] == pytest.approx(0, abs=0.03)


def test_the_information_is_a_cross_entropy_and_a_gaussians() -> None:
    gan = infogan(information=0.7, information_continuous=0.3)
    batch = batch_of(8)
    batch["z"] = noise.normal(1, batch.rows, *gan.latent)
    logits, means = noise.normal(2, batch.rows, 10), noise.normal(4, batch.rows, 2)
    terms = gan.information(batch, logits, means)
    category, codes = gan.codes(batch["z"])
    by_hand = [-math.log(math.exp(row[c]) / sum(map(math.exp, row))) for row, c in zip(logits.tolist(), category)]  # noqa: B905
    assert terms["category"].item() == pytest.approx(0.7 * float(np.mean(by_hand)), rel=1e-5)
    likelihood = torch.distributions.Normal(means, 1.0).log_prob(codes).sum(1).mean()
    constant = math.log(2 * math.pi)  # of two codes
    assert terms["continuous"].item() == pytest.approx(0.3 * -(likelihood.item() + constant), rel=1e-5)


class Planted(nn.Module):
    """A G that draws a bright bar: the category is its column, the first continuous code its brightness."""

    def forward(self, codes: Tensor) -> Tensor:
        category, brightness = codes[:, 6:16].argmax(1), codes[:, 16]
        column = torch.arange(16)[None, None, None] - 3
        bar = (column == category[:, None, None, None]).float() * (1.2 + 0.6 * brightness)[:, None, None, None]
        return (bar - 1).expand(-1, 1, 16, 16)


def test_q_learns_to_read_the_codes_of_a_planted_g() -> None:
    gan = infogan(width=8, information_continuous=1.0)
    gan.G = Planted()
    for step in range(80):
        batch = batch_of(64, channels=1)
        batch.begin(step)
        batch.update(gan.fake(batch))
        gan.optimizers["D"].zero_grad()
        sum(gan.discriminator(batch).values()).backward()
        gan.optimizers["D"].step()
    assert batch.stats["Q reads the category"] > 0.95
    _, codes = gan.codes(batch["z"])
    _, _, means = gan.read(batch["fake"])
    assert np.corrcoef(means[:, 0].detach(), codes[:, 0])[0, 1] > 0.8


def test_categories_that_agree_share_the_information_of_one() -> None:
    sure = torch.eye(10).repeat(5, 1)
    assert mutual_information(sure, sure).item() == pytest.approx(math.log(10), abs=1e-2)
    assert mutual_information(sure, sure.roll(1, 1)).item() == pytest.approx(
        math.log(5), abs=1e-2
    )  # two categories count as one
    blind = torch.full((50, 10), 0.1)
    assert mutual_information(sure, blind).item() == pytest.approx(0, abs=1e-3)
    one = torch.zeros(50, 10)
    one[:, 3] = 1  # they agree, but carry no information
    assert mutual_information(one, one).item() == pytest.approx(0, abs=1e-3)


def test_with_invariance_g_learns_from_a_warped_fake_and_q_from_warped_reals() -> None:
    gan = infogan(width=8, invariance=3.0)
    batch = batch_of(8, channels=1)
    batch.begin(0)
    batch.update(gan.fake(batch))
    first = gan.discriminator(batch)
    assert first["invariance"].item() == pytest.approx(-3 * batch.stats["information/real and warped"].item())
    batch.begin(1)  # another warp of the same reals is read differently
    second = gan.discriminator(batch)
    assert first["invariance"] != second["invariance"]
    assert torch.equal(first["real"], second["real"])
    batch.begin(0)
    first = gan.generator(batch)
    batch.begin(1)  # and so is another warp of the same fakes
    second = gan.generator(batch)
    assert first["category"] != second["category"]
    assert torch.equal(first["fake"], second["fake"])
    assert torch.equal(first["continuous"], second["continuous"])


# The losses.


def test_smoothing_is_refused_for_losses_without_cross_entropy() -> None:
    for loss in ("lsgan", "hinge"):
        with pytest.raises(GanfoldError, match=f"--label-smoothing is for the losses of cross-entropy, not .* {loss}"):
            build("dcgan", Shape(3, 16), loss=loss, label_smoothing=0.1)
    build("dcgan", Shape(3, 16), loss="minimax", label_smoothing=0.1)


def test_losses_are_those_of_their_papers() -> None:
    d = torch.linspace(-3, 3, 7)
    p = d.sigmoid()
    for name in ("nonsaturating", "minimax"):
        assert torch.allclose(LOSSES[name].real(d), -p.log())
        assert torch.allclose(LOSSES[name].fake(d), -(1 - p).log())
    assert torch.allclose(LOSSES["nonsaturating"].generator(d), -p.log())
    assert torch.allclose(LOSSES["minimax"].generator(d), (1 - p).log())
    assert torch.allclose(LOSSES["hinge"].real(d), F.relu(1 - d))
    assert torch.allclose(LOSSES["hinge"].fake(-d), F.relu(1 - d))
    assert torch.allclose(LOSSES["lsgan"].real(d), (d - 1).square() / 2)
    assert torch.allclose(LOSSES["wasserstein"].real(d), -d)


# Labels in every verb.

NAMES = ("cat", "dog", "owl")
COUNTS = (48, 32, 16)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred images of 16 pixels in three folders. Each class has its own brightness."""
    root, random = tmp_path_factory.mktemp("animals"), np.random.default_rng(0)
    for number, (name, count) in enumerate(zip(NAMES, COUNTS, strict=True)):
        (root / name).mkdir()
        for image in range(count):
            pixels = random.integers(80 * number, 80 * number + 60, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{image}.png")
    return root


SMALL: dict[str, Any] = {"batch": 8, "width": 4, "z_dim": 6, "resolution": 16, "kimg": 0.04, "progress": False}


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ganfold.train("cgan", photos, tmp_path_factory.mktemp("runs") / "run", report_kimg=0.02, **SMALL)


def test_an_image_follows_from_seed_number_and_label(run: Run) -> None:
    many = run.sample(70, seed=3, label="dog")
    assert np.array_equal(run.sample(9, seed=3, start=29, label="dog"), many[29:38])
    assert not np.array_equal(run.sample(70, seed=3, label="owl"), many)
    drawn, labels = run.sample(70, seed=3), run.labels(70, seed=3)
    assert labels is not None
    assert np.array_equal(drawn[labels == 1], many[labels == 1])
    assert np.array_equal(run.sample(9, seed=3, start=29), drawn[29:38])
    assert np.array_equal(run.labels(9, seed=3, start=29), labels[29:38])  # type: ignore[arg-type]


def test_labels_are_drawn_as_often_as_in_training(run: Run) -> None:
    labels = run.labels(20_000, seed=5)
    assert labels is not None
    assert np.bincount(labels) / 20_000 == pytest.approx(np.array(COUNTS) / 96, abs=0.01)
    assert set(as_frequent_as([0, 3, 0, 1, 0], 0)(torch.arange(1000)).tolist()) == {1, 3}


def test_an_unknown_label_is_answered_with_the_nearest(
    run: Run, images: ImageSet, squares: Path, tmp_path: Path
) -> None:
    with pytest.raises(GanfoldError, match=r"no class 'dogs' in .*; did you mean 'dog'\? \(known: cat, dog, owl\)"):
        run.sample(1, label="dogs")
    plain = ganfold.train("dcgan", squares, tmp_path / "plain", **SMALL)
    assert plain.classes == ()
    assert plain.labels(3) is None
    with pytest.raises(GanfoldError, match="takes no label: dcgan was trained without"):
        plain.sample(1, label="0")
    with pytest.raises(GanfoldError, match="takes no label"):
        ganfold.sample(plain, tmp_path / "out", label="0")
    assert not (tmp_path / "out").exists()


def test_sample_by_label_from_the_command_line(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sample", str(run.path), "--count", "3", "--seed", "2", "--out", str(tmp_path / "owls")]
    assert main([*words, "--label", "owl"]) == 0
    files = sorted((tmp_path / "owls").iterdir())
    assert [file.name for file in files] == ["000000.png", "000001.png", "000002.png"]
    assert np.array_equal(np.asarray(Image.open(files[1])), run.sample(3, seed=2, label="owl")[1])
    assert main([*words, "--label", "owls", "--force"]) == 2
    assert "did you mean 'owl'?" in capsys.readouterr().err


def test_a_folder_of_samples_has_the_classes(run: Run, tmp_path: Path) -> None:
    ganfold.sample(run, tmp_path / "made", count=60, seed=1, start=5)
    labels = run.labels(60, seed=1, start=5)
    assert labels is not None
    found = ganfold.check(tmp_path / "made", contact_sheet=tmp_path / "contact.png")
    assert list(found.classes) == list(NAMES)
    assert list(found.classes.values()) == np.bincount(labels).tolist()
    for number in range(60):
        assert (tmp_path / "made" / NAMES[labels[number]] / f"{number + 5:06d}.png").is_file()


def test_the_rows_of_a_grid_hold_their_class(run: Run, tmp_path: Path) -> None:
    ganfold.sample(run, tmp_path / "grid.png", count=12, seed=4, start=7)
    expected = np.concatenate([run.sample(4, 4, 7 + 4 * row, name) for row, name in enumerate(NAMES)])
    grid = grids.grid(expected, 4, scale=grids.enlargement(expected))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "grid.png")), np.asarray(grid))


def test_a_reports_grid_has_a_row_for_each_class(run: Run, tmp_path: Path) -> None:
    last = sorted((run.path / "samples").glob("0*.png"))[-1]
    ganfold.sample(Run(run.path, "last"), tmp_path / "grid.png", count=64, seed=0)
    assert np.array_equal(np.asarray(Image.open(last)), np.asarray(Image.open(tmp_path / "grid.png")))


@pytest.mark.parametrize(("count", "classes", "rows"), [(64, 10, 10), (64, 3, 3), (64, 300, 8), (1, 5, 1), (64, 2, 2)])
def test_grids_of_few_and_of_many_classes(count: int, classes: int, rows: int) -> None:
    number, columns, labelling = class_rows(count, classes, start=9)
    labels = labelling(torch.arange(9, 9 + number)).view(-1, columns)
    assert len(labels) == rows
    assert (labels == torch.arange(rows)[:, None]).all()
    assert abs(number - count) <= max(count // 4, 1)


ODD = (
    "a/b", "a_b", "..", ".", "", ".hidden", "__MACOSX", "A_B", "tail.", "tail_", "größer", "猫", "é", 'q"?*', "x" * 300,
    "x" * 301, "a\\b", "new\nline", *(f"class {i}" for i in range(300)),
)  # fmt: skip


def test_odd_names_of_classes_become_folders_of_their_own(tmp_path: Path) -> None:
    folders = class_folders(ODD)
    assert len({folder.casefold() for folder in folders}) == len(ODD)
    assert {"a_b", "größer", "猫", "class 7"} < set(folders)
    pixels = np.random.default_rng(0).integers(0, 255, (len(ODD), 8, 8), dtype=np.uint8)
    for image, folder in zip(pixels, folders, strict=True):
        (tmp_path / "set" / folder).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "set" / folder / "0.png")
    assert {path.parent.parent for path in tmp_path.rglob("*.png")} == {tmp_path / "set"}
    assert set(load(tmp_path / "set", progress=False).classes) == set(folders)


def test_a_run_with_odd_names_writes_them_all(squares: Path, tmp_path: Path) -> None:
    with np.load(squares) as held:
        np.savez(tmp_path / "odd.npz", **held, classes=np.array(["a/b", "..", "a_b"]))
    odd = ganfold.train("cgan", tmp_path / "odd.npz", tmp_path / "run", **SMALL)
    assert set(odd.classes) == {"a/b", "..", "a_b"}
    ganfold.sample(odd, tmp_path / "out" / "made", count=40)
    made = sorted(path.relative_to(tmp_path / "out" / "made") for path in (tmp_path / "out").rglob("*.png"))
    assert len(made) == 40
    assert {len(path.parts) for path in made} == {2}
    assert len({path.parts[0] for path in made}) == 3
    assert ganfold.sample(odd, tmp_path / "dots.png", label="..").is_file()


def test_checkups_and_evaluation_of_a_conditional_run_know_the_classes(tmp_path: Path) -> None:
    run = ganfold.train("cgan", "digits", tmp_path / "run", **SMALL | {"networks": "mlp", "evaluate_every": 0})
    found = ganfold.evaluate(run, features="pixels", count=300, progress=False)
    assert list(found.classes) == [str(digit) for digit in range(10)]
    assert {metric.name for metric in found.classes["3"]} == {metric.name for metric in found.metrics}


def test_a_checkup_draws_classes_as_often_as_training_does(
    photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = load(photos, held_out=0.5, progress=False)
    subject = trainer("cgan", held)
    requested: list[Tensor] = []
    sample = subject.sample
    monkeypatch.setattr(
        subject, "sample", lambda z, condition: (requested.append(condition["label"]), sample(z, condition))[1]
    )
    examine = Checkup(held, 0, CPU)
    look = staticmethod(lambda images: torch.from_numpy(images.reshape(len(images), -1)[:, :60] / 255).float())
    monkeypatch.setattr(Checkup, "features", look)
    monkeypatch.setattr(Checkup, "reference", torch.rand(48, 60))
    row = examine(subject)
    expected = as_frequent_as(held.class_counts, 0)(torch.arange(48))
    assert torch.equal(torch.cat(requested)[:48], expected)
    assert all(math.isfinite(value) for value in row.values())


@pytest.mark.parametrize("networks", ["conv", "mlp"])
def test_a_conditional_run_goes_on_to_the_same_bits(networks: str, photos: Path, tmp_path: Path) -> None:
    options = SMALL | {"networks": networks}
    whole = ganfold.train("cgan", photos, tmp_path / "whole", **options)
    ganfold.train("cgan", photos, tmp_path / "parts", **options | {"kimg": 0.016})
    parts = ganfold.train("cgan", photos, tmp_path / "parts", **options)
    first, second = whole.gan.state_dict(), parts.gan.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert np.array_equal(whole.sample(20, label="cat"), parts.sample(20, label="cat"))
