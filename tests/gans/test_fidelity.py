"""The networks, first weights and latents of the papers can be had, by default or by an option."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ganfold
from ganfold.data.fields import Fields
from ganfold.errors import GanfoldError
from ganfold.gans import GANS, find
from ganfold.gans.contract import GAN, Batch, Shape
from ganfold.interface.options import check_ranges, described
from ganfold.interface.settings import Settings
from ganfold.networks import dcgan, mlp
from ganfold.networks.uniform import Uniform
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer
from tiny import RGB, images_for, rich_images, small_config

CPU = torch.device("cpu")
PAGES = Path(__file__).parents[2] / "docs" / "gans"


def build(name: str, shape: Shape = RGB, **options: Any) -> GAN:
    torch.manual_seed(0)
    return find(name)(replace(small_config(name), **options), shape)


# First weights of `wgan-gp`.


@pytest.mark.parametrize("kernel", [4, 5])
def test_wgan_gps_first_weights_count_the_terms_of_an_output_pixel(kernel: int) -> None:
    gan: Any = build("wgan-gp", Shape(3, 32), width=32, z_dim=100, kernel=kernel)
    first, *middle, last = (layer for layer in gan.G if isinstance(layer, nn.ConvTranspose2d))
    assert first.weight.std().item() == pytest.approx(math.sqrt(2 / 100), rel=0.02)
    assert len(middle) == 2
    for layer in middle:
        terms = layer.in_channels * kernel**2 / 4
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / terms), rel=0.02)
    assert last.weight.std().item() == pytest.approx(math.sqrt(1 / (32 * kernel**2 / 4)), rel=0.05)
    for halve in (halve for halve in gan.D.modules() if isinstance(halve, nn.Conv2d)):
        terms = halve.in_channels * halve.kernel_size[0] ** 2
        assert halve.weight.std().item() == pytest.approx(math.sqrt(2 / terms), rel=0.1)


def test_wgan_gp_begins_with_a_tanh_that_has_a_slope() -> None:
    gan: Any = build("wgan-gp", Shape(1, 32), width=64, z_dim=100)
    with torch.no_grad():
        images = gan.sample(torch.randn(32, 100))
    assert 0.5 < torch.atanh(images).std() < 1  # of He's weights with gain 1 after ReLU: sqrt(1/2)


# Layer normalisation.


def test_layer_normalisation_judges_each_image_by_itself_and_can_be_penalised() -> None:
    gan: Any = build("wgan-gp", norm="layer").double()
    norms = [layer for layer in gan.D.modules() if isinstance(layer, nn.GroupNorm)]
    assert [(norm.num_groups, norm.num_channels) for norm in norms] == [(1, 8)]  # not after the first convolution
    x = torch.rand(4, 3, 16, 16, dtype=torch.float64) * 2 - 1
    torch.testing.assert_close(gan.D(x)[:2], gan.D(x[:2]))
    inside: list[torch.Tensor] = []
    norms[0].register_forward_hook(lambda layer, args, made: inside.append(made.detach().clone()))
    gan.D(x)
    torch.testing.assert_close(inside[0].mean((1, 2, 3)), torch.zeros(4, dtype=torch.float64), atol=1e-6, rtol=0)
    ((gan.gradient_norm(x) - 1) ** 2).mean().backward()
    for weight in (gan.D[0][0].weight, norms[0].weight):
        assert weight.grad.abs().sum() > 0


# Kernels of 5 x 5.


@pytest.mark.parametrize("resolution", [16, 64, 256])
def test_kernels_of_five_keep_all_sizes(resolution: int) -> None:
    with torch.device("meta"):
        images = dcgan.Generator(5, 2, 3, resolution, kernel=5)(torch.empty(4, 5))
        assert images.shape == (4, 3, resolution, resolution)
        assert dcgan.Discriminator(2, 3, resolution, kernel=5)(images).shape == (4,)


def test_the_transpose_of_a_kernel_of_five_is_its_transpose() -> None:
    """<halve(x), y> = <x, double(y)> with the same weights, which only the right output padding gives."""
    torch.manual_seed(0)
    halve, double = dcgan.halve(3, 4, 5, twice=False), dcgan.double(4, 3, 5)
    x, y = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 4, 4)
    assert (halve.padding, double.padding, double.output_padding) == ((2, 2), (2, 2), (1, 1))
    back = F.conv_transpose2d(y, halve.weight, None, double.stride, double.padding, double.output_padding)  # type: ignore[arg-type]
    torch.testing.assert_close((halve(x) * y).sum(), (x * back).sum())
    assert double(y).shape == x.shape


@pytest.mark.parametrize("name", ["dcgan", "wgan-gp"])
def test_an_option_gives_kernels_of_five_in_g_and_d(name: str) -> None:
    gan: Any = build(name, kernel=5)
    sides = {
        network: [layer.kernel_size[0] for layer in getattr(gan, network).modules() if isinstance(layer, kind)]
        for network, kind in (("G", nn.ConvTranspose2d), ("D", nn.Conv2d))
    }
    assert sides == {"G": [4, 5, 5], "D": [5, 5, 4]}  # the first and the last one are matrix products of the 4 x 4 map


# Uniform latents.


@pytest.mark.parametrize("name", ["dcgan", "gan", "cgan", "infogan"])
def test_uniform_latents_are_the_normal_ones_by_rank(name: str) -> None:
    plain, gan = build(name), build(name, latent="uniform")
    z, label = torch.randn(9, *gan.latent), {"label": torch.arange(9) % 3}
    spread = z.clone()
    own = gan.config.z_dim  # the rest of infogan's latent is its codes
    spread[:, :own] = 2 * torch.distributions.Normal(0, 1).cdf(z[:, :own]) - 1
    torch.testing.assert_close(gan.sample(z, label), plain.sample(spread, label), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(gan.sample(z, label), plain.sample(z, label), atol=1e-3)


def test_uniform_latents_fill_their_range_evenly() -> None:
    torch.manual_seed(0)
    made = Uniform()(torch.randn(100_000))
    assert made.abs().max() <= 1
    assert torch.histc(made, 10, -1, 1) / 100_000 == pytest.approx([0.1] * 10, abs=0.005)


# A fully connected generator against DCGAN's critic.


def test_wgan_gives_a_fully_connected_generator_dcgans_critic() -> None:
    gan: Any = build("wgan", networks="mlp-g")
    layers = [layer for layer in gan.G if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in layers] == [512, 512, 512, 3 * 16 * 16]
    assert not any("Norm" in type(layer).__name__ for layer in gan.G)
    critic, conv = gan.D.state_dict(), build("wgan").D.state_dict()
    assert {name: value.shape for name, value in critic.items()} == {name: value.shape for name, value in conv.items()}
    assert isinstance(build("wgan", networks="mlp").D, mlp.Discriminator)


# A batch of one.


@pytest.mark.parametrize("name", GANS)
def test_a_batch_of_one_trains_where_no_batchnorm_forbids_it(name: str, squares: Path) -> None:
    kind, images = find(name), images_for(name, rich_images(squares))

    def trainer(**options: Any) -> Trainer:
        ranks = Ranks("cpu")
        batches = Batches(images, seed=0, size=1, ranks=ranks, device=CPU, flips=True)
        return Trainer(build(name, batch=1, **options), batches, seed=0, device=CPU, ranks=ranks, ema_images=1000)

    if name in ("gan", "infogan"):
        with pytest.raises(GanfoldError, match="a batch of one has none to compare with: give --batch 2 or more"):
            trainer()
        return
    if name == "gawwn":  # an image takes the text of another one
        with pytest.raises(GanfoldError, match="batch must be 2 or more, not 1"):
            check_ranges(kind.config_class(batch=1))
        return
    if hasattr(kind.config_class(), "networks"):
        with pytest.raises(GanfoldError, match="give --batch 2 or more"):
            trainer(networks="mlp")
    subject = trainer()
    subject.step()
    assert all(math.isfinite(value) for value in subject.meter.means().values())


# A latent that matters in `gawwn`.


def test_gawwns_variety_is_paid_for_images_that_differ_as_their_latents_do(squares: Path) -> None:
    rows, images = np.arange(8), rich_images(squares)

    def term(variety: float) -> dict[str, torch.Tensor]:
        gan: Any = build("gawwn", variety=variety)
        batch = Batch(Fields(images, CPU)(rows, rows), torch.from_numpy(rows))
        batch.begin("test")
        batch.update(gan.fake(batch))
        if variety < 0.2:
            return dict(gan.generator(batch))
        gan.sample = lambda z, condition: batch["fake"] + 0.5 * (z - batch["z"]).abs().mean()
        return dict(gan.generator(batch))

    assert set(term(0)) == {"fake"}
    assert set(term(0.1)) == {"fake", "variety"}
    assert term(0.3)["variety"].item() == pytest.approx(0.3 / 0.5, rel=1e-3)


# Epochs, in which the papers count.


def test_the_log_and_the_console_say_how_long_an_epoch_is(
    squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"batch": 8, "width": 4, "z_dim": 6, "resolution": 16, "evaluate_every": 0, "report_kimg": 0.05}
    run = ganfold.train("dcgan", squares, tmp_path / "run", kimg=0.192, **options)
    assert "An epoch, each image once, is 0.096 kimg." in " ".join("".join(capsys.readouterr()).split())
    assert [row["epoch"] for row in run.log] == [round(row["kimg"] / 0.096, 3) for row in run.log]
    assert run.log[-1]["epoch"] > 1


# The tables of the pages.


def flags(page: Path) -> list[tuple[str, str]]:
    """The flags in the last column of a page's fidelity table, each with its value or nothing."""
    table = page.read_text(encoding="utf-8").partition("## Fidelity")[2].partition("**What did not")[0]
    columns = [row.rstrip("| ").rpartition("|")[2] for row in table.splitlines() if row.startswith("|")]
    written = [" ".join(re.findall("`(.*?)`", column)) for column in columns]
    return [match for text in written for match in re.findall(r"--([\w-]+)(?: ([^\s-]\S*))?", text)]


@pytest.mark.parametrize("name", GANS)
def test_a_flag_of_a_fidelity_table_departs_from_the_default(name: str) -> None:
    options = [*described(find(name).config_class), *described(Settings)]
    defaults = {option.name: option.default for option in options}
    found = flags(PAGES / f"{name}.md")
    assert found
    for flag, value in found:
        option = flag.replace("-", "_")
        if option not in defaults:  # --no-smooth
            assert defaults[option.removeprefix("no_")] is True, flag
        elif value:
            default = defaults[option]
            assert value != str(default), f"--{flag} {value} is the default"
            if isinstance(default, int | float):
                assert float(value) != default, f"--{flag} {value} is the default"
