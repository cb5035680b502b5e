"""Directions, codes, features and inversion, for every GAN that draws from noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.gans import find
from ganfold.gans.contract import GAN, NOTHING, Condition, Shape
from ganfold.gans.registry import GANS
from ganfold.latent import directions, inversion, layers, requested
from tiny import small_gan

FROM_NOISE = [name for name in GANS if find(name).task == "generation" and not find(name).conditioned_on_images]


class Plain(GAN):
    """Images by two matrices, whose directions are known."""

    config_class = object

    def __init__(self, weight: Tensor) -> None:
        super().__init__(None, Shape(1, 2))
        self.latent = (weight.shape[1],)
        self.first = nn.Linear(weight.shape[1], weight.shape[0], bias=True)
        self.second = nn.Linear(weight.shape[0], 4)
        self.first.weight.data = weight
        self.eval().requires_grad_(False)

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        images: Tensor = self.second(self.first(z).relu()).tanh().unflatten(1, (1, 2, 2))
        return images


def ready(name: str) -> GAN:
    return small_gan(name).eval().requires_grad_(False)


def scaled() -> Plain:
    return Plain(torch.diag(torch.tensor([1.0, 5.0, 3.0])))


@pytest.mark.parametrize("name", FROM_NOISE)
@pytest.mark.parametrize("way", [directions.sefa, directions.pca])
def test_every_gan_from_noise_has_directions(name: str, way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "COUNT", 64)
    gan = ready(name)
    found = way(gan)
    vectors = found.vectors.flatten(1)
    assert 0 < len(vectors) <= vectors.shape[1] == np.prod(gan.latent)
    assert vectors.isfinite().all()
    assert vectors.norm(dim=1).numpy() == pytest.approx(1, abs=1e-4)
    assert len(found.names) == len(vectors)
    assert torch.equal(way(gan).vectors, found.vectors)


def test_sefa_is_the_eigenvectors_of_the_first_weight() -> None:
    found = directions.sefa(scaled())
    assert torch.allclose(found.vectors, torch.eye(3)[[1, 2, 0]], atol=1e-5)


@pytest.mark.parametrize("name", ["dcgan", "rsgan"])
def test_sefa_of_a_convolution_is_that_of_its_matrix(name: str) -> None:
    gan = ready(name)
    weight = next(p for p in gan.G.parameters() if p.ndim == 4)  # type: ignore[union-attr]
    _, _, rows = torch.linalg.svd(weight.flatten(1).T, full_matrices=False)
    found = directions.sefa(gan).vectors
    cosines = (found * rows[: len(found)]).sum(1).abs()
    assert cosines.numpy() == pytest.approx(1, abs=1e-3)


def test_a_dimension_that_changes_nothing_is_no_direction() -> None:
    gan = Plain(torch.diag(torch.tensor([1.0, 0.0, 3.0])))
    assert len(directions.sefa(gan).vectors) == 2


def test_pca_finds_the_largest_change() -> None:
    first = directions.pca(scaled()).vectors[0]
    assert abs(float(first[1])) > 0.97


def test_a_network_without_layers_is_one_sentence() -> None:
    gan = scaled()
    gan.sample = lambda z, condition=NOTHING: z.view(-1, 1, 3, 1).expand(-1, 1, 3, 3)  # type: ignore[method-assign]
    with pytest.raises(GanfoldError, match="no layer of this generator has weights that z meets"):
        directions.sefa(gan)


@pytest.mark.parametrize("name", FROM_NOISE)
def test_truncated_features_go_from_one_image_to_the_sample(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "COUNT", 64)
    gan = ready(name)
    z, condition = layers.latents_for_statistics(gan, 0)
    mean = layers.first_features(gan, z, condition).mean(0)
    same = {key: value[:1].expand(4) for key, value in condition.items()}
    plain = gan.sample(z[:4], same)
    with layers.truncated(gan, mean, 1.0):
        assert torch.allclose(gan.sample(z[:4], same), plain, atol=1e-5)
    assert torch.equal(gan.sample(z[:4], same), plain)
    if "label" in same and name == "r3gan":
        return  # its label enters later, and all images have it here
    with layers.truncated(gan, mean, 0.0):
        made = gan.sample(z[:4], same)
    assert torch.allclose(made, made[:1].expand_as(made), atol=1e-5)


def test_a_code_is_what_was_set_and_the_noise_stays_normal() -> None:
    gan: Any = ready("infogan")
    z = torch.randn(8, *gan.latent, generator=torch.Generator().manual_seed(0))
    moved = gan.with_code(gan.with_code(z, 0, 3), 1, -0.5)
    category, continuous = gan.codes(moved)
    assert (category == 3).all()
    assert continuous[:, 0].numpy() == pytest.approx(-0.5, abs=1e-6)
    assert torch.equal(continuous[:, 1], gan.codes(z)[1][:, 1])
    first, last = gan.config.z_dim, gan.config.z_dim + gan.config.categories
    assert torch.equal(moved[:, first:last].sort(1)[0], z[:, first:last].sort(1)[0])
    assert torch.equal(moved[:, :first], z[:, :first])
    assert gan.with_code(z, 2, 1.0).isfinite().all()


def test_a_search_finds_the_latent_of_its_own_image() -> None:
    gan = scaled()
    z = torch.tensor([[0.5, -0.3, 0.4]])
    target = gan.sample(z)

    def loss(made: Tensor, _: Condition) -> Tensor:
        return (made - target).abs().mean((1, 2, 3))

    begin = torch.zeros(1, 3) + 0.1
    _, left = inversion.search(gan, begin, {}, loss, 300)
    assert float(left) < 0.1 * float(loss(gan.sample(begin), {}))
    assert torch.equal(begin, torch.zeros(1, 3) + 0.1)


def test_an_inversion_says_how_near_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inversion, "COMPARED", 32)
    gan = ready("cgan")
    image = gan.sample(torch.randn(1, *gan.latent), {"label": torch.tensor([1])})
    seen: list[int] = []
    found = inversion.invert(gan, image, steps=8, starts=3, times=3, watch=lambda step, _: seen.append(step))
    assert list(found.residuals) == sorted(found.residuals)
    assert found.labels is not None
    made = gan.sample(found.z, {"label": found.labels})
    assert found.residuals == pytest.approx((127.5 * (made - image).abs().mean((1, 2, 3))).tolist(), abs=1e-3)
    assert seen == list(range(8))
    assert found.path.shape == (3, 3, *gan.latent)
    far = inversion.invert(gan, torch.ones_like(image), steps=4, starts=2, label=2)
    assert far.is_far
    assert far.sentence.startswith("This image is far from what the generator makes: the search ended at ")
    assert far.labels is not None
    assert (far.labels == 2).all()


def test_directions_by_class_point_to_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    monkeypatch.setattr(directions, "pooled", lambda images: images.reshape(len(images), -1).astype(np.float32))
    labels = np.arange(80) % 2
    images = np.stack([labels * 100 + random.integers(0, 9, 80), random.integers(0, 99, 80)], 1).reshape(80, 2, 1, 1)
    z = torch.from_numpy(random.standard_normal((400, 6)).astype(np.float32))
    made = np.stack([50 + 20 * z[:, 4].numpy(), random.integers(0, 99, 400)], 1).reshape(400, 2, 1, 1)
    found = directions.by_class(images, labels, ("dark", "bright"), z, made)
    assert found.names == ("dark", "bright")
    assert float(found.vectors[1, 4]) > 0.95
    assert float(found.vectors[0, 4]) < -0.95
    assert found.notes[0] == "The classifier is right on 100% of 20 real images that it has not seen."


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (np.zeros((2, 3)), r"holds the shape \(2, 3\), and this generator takes \(N, 4\)"),
        (np.zeros((0, 4)), r"holds the shape \(0, 4\)"),
        (np.array([["a"] * 4]), "latents are real numbers"),
        (np.zeros((1, 4), complex), "latents are real numbers"),
        (np.array([[0, 0, 0, np.nan]]), "holds infinity, NaN or a number beyond 32 bits"),
        (np.array([[0, 0, 0, 1e300]]), "holds infinity, NaN or a number beyond 32 bits"),
        (b"", "cannot read latents"),
        (b"\x93NUMPY\x01\x00", "cannot read latents"),
    ],
)
def test_a_file_of_other_latents_is_one_sentence(content: Any, sentence: str, tmp_path: Any) -> None:
    path = tmp_path / "z.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    with pytest.raises(GanfoldError, match=sentence):
        requested.read_latents(path, (4,))


def test_a_file_that_needs_pickle_or_claims_more_than_it_holds_is_refused(tmp_path: Any) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with open(tmp_path / "b.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 4)})
    np.savez(tmp_path / "c.npz", z=np.zeros((1, 4)))
    for name in ("a.npy", "b.npy", "c.npz", "none.npy"):
        with pytest.raises(GanfoldError, match=name):
            requested.read_latents(tmp_path / name, (4,))
    np.save(tmp_path / "one.npy", np.arange(4))
    assert requested.read_latents(tmp_path / "one.npy", (4,)).tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["0"], "--code 0 holds no name and number"),
        (["0=x"], "--code 0=x holds no name and number"),
        (["0=inf"], "holds no name and number"),
        (["0=1", "0=2"], "gives 0 twice"),
        ({0: None}, "holds no name and number"),
    ],
)
def test_pairs_that_are_none_are_one_sentence(given: Any, sentence: str) -> None:
    with pytest.raises(GanfoldError, match=sentence):
        requested.pairs("--code", given, "0=3")


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        ({"7": 0.0}, "has no code '7': its codes are 0, 1, 2"),
        ({"-1": 0.0}, "has no code '-1'"),
        ({"0": 10.0}, "code 0 of r is a whole number from 0 to 9, not 10"),
        ({"0": 1.5}, "code 0 of r is a whole number"),
        ({"1": 1.01}, "code 1 of r is a number from -1 to 1, not 1.01"),
    ],
)
def test_codes_that_it_does_not_have_are_one_sentence(codes: dict[str, float], sentence: str) -> None:
    with pytest.raises(GanfoldError, match=sentence):
        requested.check_codes(ready("infogan"), "r", codes)


def test_a_gan_without_codes_says_so() -> None:
    with pytest.raises(GanfoldError, match="r has no codes"):
        requested.check_codes(ready("dcgan"), "r", {"0": 1})


@pytest.mark.parametrize(
    ("shares", "sentence"),
    [
        ({"rad": 1.0}, "no class 'rad' in r; did you mean 'red'"),
        ({"red": -1.0}, "is -1: give 0"),
        ({"red": 0.0}, "all"),
    ],
)
def test_shares_of_no_class_are_one_sentence(shares: dict[str, float], sentence: str) -> None:
    with pytest.raises(GanfoldError, match=sentence):
        requested.check_shares(["red", "blue"], "r", shares)
