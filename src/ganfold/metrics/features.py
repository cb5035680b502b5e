"""Images in, one vector of features each out: the networks that the metrics look through.

Whichever network it is, images reach it in one way: uint8, as they would be saved; resized once, by an
antialiased bicubic filter in floating point (Parmar, Zhang, Zhu 2022, "On aliased resizing and surprising
subtleties in GAN evaluation", arXiv:2104.11222).
"""

from __future__ import annotations

import hashlib
import io
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ganfold.data.cache import default_cache
from ganfold.errors import GanfoldError, did_you_mean
from ganfold.files import check_sha256, sha256, write_atomically, write_bytes
from ganfold.networks.perceptual import EFFICIENTNET_SHA256, efficientnet_lite0

KNOWN = ("efficientnet", "inception", "dinov2", "pixels")
BICUBIC = "bicubic, antialiased"
BAR = 1000  # images: from here on a bar shows how far it is
NETWORK_SIZE = 224  # pixels a side: what EfficientNet-Lite0 and DINOv2 were trained at
INCEPTION_URL = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt"
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"


@dataclass(frozen=True)
class Extractor:
    """A network that turns images into features, with what a figure's protocol must say of it."""

    name: str
    digest: str  # SHA-256 of its weights; "" where there are none
    size: int | None  # pixels a side that it is shown; None: the images' own
    resizer: str
    network: Callable[[Tensor], Tensor]  # float32 (B, 3, S, S) in [0, 255] -> (B, D)
    device: torch.device

    @torch.no_grad()
    def __call__(self, images: np.ndarray) -> Tensor:
        """Features of images: uint8 (N, C, H, W), C of 1, 3 or 4 -> float32 (N, D) on the CPU.

        Grey is shown as equal red, green and blue; transparency lies on white.
        """
        batch = 256 if self.device.type == "cuda" else 32
        parts = []
        # A bar on a terminal, for what takes longer than a moment (a network on a CPU: some 50 images a second).
        for start in track(
            range(0, len(images), batch),
            f"Looking at {len(images):,} images",
            console=Console(stderr=True),
            transient=True,
            disable=len(images) < BAR or not sys.stderr.isatty(),
        ):
            pixels = _rgb(torch.from_numpy(np.array(images[start : start + batch])).to(self.device).float())
            if self.size and pixels.shape[-1] != self.size:
                pixels = F.interpolate(pixels, (self.size, self.size), mode="bicubic", antialias=True)
            parts.append(self.network(pixels.clamp(0, 255)).float().cpu().flatten(1))
        return torch.cat(parts)

    def cached(self, images: np.ndarray) -> Tensor:
        """As calling it, but looked up by the images' content if they were seen before: for real images."""
        digest = hashlib.blake2b(f"{self.name} {self.digest} {self.size} {images.shape}".encode(), digest_size=16)
        for start in range(0, len(images), 4096):
            digest.update(np.ascontiguousarray(images[start : start + 4096]).data)
        path = default_cache() / "features" / f"{digest.hexdigest()}.npy"
        try:
            return torch.from_numpy(np.load(path))
        except (OSError, ValueError, EOFError):  # not there, or cut short
            features = self(images)
        stored = io.BytesIO()
        np.save(stored, features.numpy())
        write_bytes(path, stored.getvalue())
        return features

    def protocol(self) -> dict[str, object]:
        """What must be equal for two figures to be comparable."""
        size = f"{self.size} px" if self.size else "the images' own"
        return {"extractor": self.name, "weights": self.digest, "input size": size, "resizer": self.resizer}


def extractor(name: str, weights: str | Path | None = None, device: str | torch.device = "cpu") -> Extractor:
    """The extractor of this name.

    Args:
        name: "efficientnet" (EfficientNet-Lite0, 1,280 features; needs no network), "inception" (the network of
            published FIDs, 2,048), "dinov2" (the base model's class token, 768), "pixels", or the path of a TorchScript
            file that turns float32 (B, 3, H, W) in [0, 255], at the images' own size, into (B, D).
        weights: for inception its TorchScript file, for dinov2 a folder in the format of the transformers library;
            by default they are downloaded.
        device: where to compute.

    Raises:
        GanfoldError: no such extractor, a file that is not what it must be, or nothing to be had without a network.
    """
    device = torch.device(device)
    if weights and name not in ("inception", "dinov2"):
        raise GanfoldError(f"{name} takes no weights: --weights goes with --features inception or dinov2")
    match name:
        case "efficientnet":
            return efficientnet(device=device)
        case "inception":
            return _inception(weights, device)
        case "dinov2":
            return _dinov2(weights, device)
        case "pixels":
            return Extractor("pixels", "", None, "none", lambda pixels: pixels / 255, device)
    if not Path(name).is_file():
        raise GanfoldError(
            f"there are no features {name!r}{did_you_mean(name, KNOWN)} (known: {', '.join(KNOWN)}, "
            "or the path of a TorchScript file)"
        )
    return Extractor(Path(name).name, sha256(Path(name)), None, "none", _script(Path(name), device), device)


def efficientnet(size: int = NETWORK_SIZE, device: torch.device | str = "cpu") -> Extractor:
    """EfficientNet-Lite0 (Tan, Le 2019, arXiv:1905.11946; Liu 2020) trained on ImageNet: 1,280 features, averaged
    over places after the last activation. The weights come with a package.

    Pixels are scaled as in its authors' training, (x - 127) / 128, not by ImageNet's mean and deviation.
    """
    network = efficientnet_lite0().to(device)
    network.to(memory_format=torch.channels_last)

    def features(pixels: Tensor) -> Tensor:
        scaled = ((pixels - 127) / 128).contiguous(memory_format=torch.channels_last)
        return network.extract_features(scaled).mean((2, 3))

    return Extractor("efficientnet", EFFICIENTNET_SHA256, size, BICUBIC, features, torch.device(device))


def _inception(weights: str | Path | None, device: torch.device) -> Extractor:
    """Inception-v3 as in Heusel 2017's code (arXiv:1706.08500), with the resizing that is part of its graph."""
    path = Path(weights) if weights else _download(INCEPTION_URL, "inception-2015-12-05.pt")
    check_sha256(path, INCEPTION_SHA256, f"get {INCEPTION_URL} and give it by --weights")
    network = _script(path, device)
    own = "its own (bilinear to 299, not antialiased), as in published FIDs"
    return Extractor(
        "inception", INCEPTION_SHA256, None, own, lambda pixels: network(pixels, return_features=True), device
    )


def _dinov2(weights: str | Path | None, device: torch.device) -> Extractor:
    """DINOv2 ViT-B/14 (Oquab 2023, arXiv:2304.07193): the class token after the last norm (Stein 2023)."""
    try:
        from transformers import Dinov2Model
    except ImportError as error:
        raise GanfoldError('--features dinov2 needs one more package: pip install "ganfold[dinov2]"') from error
    name = str(weights or "facebook/dinov2-base")
    try:
        network: Any = Dinov2Model.from_pretrained(name, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise GanfoldError(
            f"no DINOv2 weights in {name}: where there is a network, `huggingface-cli download facebook/dinov2-base` "
            "gets them; give their folder by --weights"
        ) from error
    network.eval().requires_grad_(False).to(device)
    mean, deviation = (
        torch.tensor(values, device=device).view(3, 1, 1) * 255
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    digest = hashlib.sha256()
    for _, tensor in sorted(network.state_dict().items()):
        digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy())

    def features(pixels: Tensor) -> Tensor:
        return network((pixels - mean) / deviation).last_hidden_state[:, 0]

    return Extractor("dinov2", digest.hexdigest(), NETWORK_SIZE, BICUBIC, features, device)


def _script(path: Path, device: torch.device) -> Callable[..., Tensor]:
    try:
        network: Any = torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]
        return network.eval()
    except (RuntimeError, ValueError) as error:
        raise GanfoldError(f"{path} is not a TorchScript file: make one with torch.jit.trace or script") from error


def _download(url: str, name: str) -> Path:
    path = default_cache() / "weights" / name

    def fetch(temporary: Path) -> None:
        try:
            urllib.request.urlretrieve(url, temporary)
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            raise GanfoldError(
                f"cannot download {url} ({error}): get it where there is a network and give it by --weights"
            ) from error

    if not path.exists():
        write_atomically(path, fetch)
    return path


def _rgb(pixels: Tensor) -> Tensor:
    if pixels.shape[1] == 4:
        alpha = pixels[:, 3:] / 255
        return pixels[:, :3] * alpha + 255 * (1 - alpha)
    return pixels.expand(-1, 3, -1, -1)
