"""Extractors: networks that turn each image into a vector of features, in which metrics compare images.

Every network receives images in the same way: as uint8, as they would be saved, resized once by an antialiased
bicubic filter in floating point (Parmar, Zhang, Zhu 2022, "On aliased resizing and surprising subtleties in GAN
evaluation", arXiv:2104.11222).

An installed package adds extractors by entry points of the group "ganfold.features". Each names a function that takes
a `torch.device` and returns an `Extractor`.
"""

from __future__ import annotations

import hashlib
import io
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
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
from ganfold.runs.team import ALONE, Team

KNOWN = ("efficientnet", "inception", "dinov2", "pixels")
GROUP = "ganfold.features"  # the entry points by which an installed package adds extractors
BICUBIC = "bicubic, antialiased"
DIGEST = 16  # bytes
BAR = 1000  # images: with so many or more, a terminal shows a bar
NETWORK_SIZE = 224  # pixels a side at which EfficientNet-Lite0 and DINOv2 were trained
INCEPTION_URL = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt"
INCEPTION_SHA256 = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"


@dataclass(frozen=True)
class Extractor:
    """A network that turns images into features, with all that a metric's protocol says about it.

    Features of real images are cached by `name` and `digest`, so two networks must not share both.
    """

    name: str
    digest: str  # SHA-256 of its weights; "" without weights
    size: int | None  # side of the images that it receives, in pixels; None: the images' own
    resizer: str  # how images come to that size
    network: Callable[[Tensor], Tensor]  # float32 (B, 3, S, S) in [0, 255] -> (B, D)
    device: torch.device
    team: Team = ALONE  # the processes that share the work; all of them must call the extractor alike

    def __call__(self, images: np.ndarray) -> Tensor:
        """Features of images uint8 (N, C, H, W), C of 1, 3 or 4: float32 (N, D) on the CPU.

        Grey becomes equal red, green and blue. Transparent images are laid on white.
        """
        made = self.team.rows(len(images), self.batch, lambda begin, n: self._features(images[begin : begin + n]))
        return torch.from_numpy(made)

    @property
    def batch(self) -> int:
        """Images at once."""
        return 256 if self.device.type == "cuda" else 32

    @torch.no_grad()
    def _features(self, images: np.ndarray) -> np.ndarray:
        parts = []
        for start in track(
            range(0, len(images), self.batch),
            f"Looking at {len(images):,} images",
            console=Console(stderr=True),
            transient=True,
            disable=len(images) < BAR or not sys.stderr.isatty() or not self.team.first,
        ):
            pixels = _rgb(torch.from_numpy(np.array(images[start : start + self.batch])).to(self.device).float())
            if self.size and pixels.shape[-1] != self.size:
                pixels = F.interpolate(pixels, (self.size, self.size), mode="bicubic", antialias=True)
            parts.append(self.network(pixels.clamp(0, 255)).float().cpu().flatten(1))
        return torch.cat(parts).numpy()

    def cached(self, images: np.ndarray) -> Tensor:
        """The same, from the cache if these very images were seen before. For real images, which come again."""
        digest = hashlib.blake2b(f"{self.name} {self.digest} {self.size} {images.shape}".encode(), digest_size=16)
        for start in range(0, len(images), 4096):
            digest.update(np.ascontiguousarray(images[start : start + 4096]).data)
        path = default_cache() / "features" / f"{digest.hexdigest()}.npy"
        if (known := self.team.once(lambda: _stored(path, len(images)))) is not None:
            return known
        features = self(images)
        if self.team.first:
            stored = io.BytesIO()
            np.save(stored, features.numpy())
            write_bytes(path, stored.getvalue() + _digest(stored.getbuffer()))
        return features

    def protocol(self) -> dict[str, object]:
        """What must be equal for two metrics to be comparable."""
        size = f"{self.size} px" if self.size else "the images' own"
        return {"extractor": self.name, "weights": self.digest, "input size": size, "resizer": self.resizer}


def extractor(
    name: str | Extractor, weights: str | Path | None = None, device: str | torch.device = "cpu"
) -> Extractor:
    """The extractor of this name.

    Args:
        name: "efficientnet" (EfficientNet-Lite0, 1,280 features; needs no download), "inception" (the network of
            published FIDs, 2,048), "dinov2" (the base model's class token, 768), "pixels", the name of an extractor
            from an installed package, or the path of a TorchScript file that turns float32 (B, 3, H, W) in [0, 255], at
            the images' own size, into (B, D). An `Extractor` is returned as it is.
        weights: a TorchScript file for inception; for dinov2 a folder in the format of the transformers library
            [downloaded].
        device: where to compute.

    Raises:
        GanfoldError: there is no such extractor, a file has the wrong content, or the download fails.
    """
    if weights and name not in ("inception", "dinov2"):
        shown = name.name if isinstance(name, Extractor) else name
        raise GanfoldError(f"{shown} takes no weights: --weights goes with --features inception or dinov2")
    if isinstance(name, Extractor):
        return name
    device = torch.device(device)
    match name:
        case "efficientnet":
            return efficientnet(device=device)
        case "inception":
            return _inception(weights, device)
        case "dinov2":
            return _dinov2(weights, device)
        case "pixels":
            return Extractor("pixels", "", None, "none", lambda pixels: pixels / 255, device)
    points = entry_points(group=GROUP)
    if name in points.names:
        return _installed(name, points[name].load, device)
    if not Path(name).is_file():
        known = [*KNOWN, *sorted(points.names)]
        raise GanfoldError(
            f"there are no features {name!r}{did_you_mean(name, known)} (known: {', '.join(known)}, "
            "or the path of a TorchScript file)"
        )
    return Extractor(Path(name).name, sha256(Path(name)), None, "none", _script(Path(name), device), device)


def _installed(name: str, load: Callable[[], Any], device: torch.device) -> Extractor:
    """The extractor that the function of an installed package makes."""
    try:
        made = load()(device)
    except Exception as error:
        raise GanfoldError(
            f"the package that adds the features {name!r} fails ({type(error).__name__}: {error}): update or remove it"
        ) from error
    if not isinstance(made, Extractor):
        raise GanfoldError(f"the package that adds the features {name!r} makes no Extractor: update or remove it")
    return made


def efficientnet(size: int = NETWORK_SIZE, device: torch.device | str = "cpu") -> Extractor:
    """EfficientNet-Lite0 (Tan, Le 2019, arXiv:1905.11946; Liu 2020), trained on ImageNet: 1,280 features.

    The features are the mean over all places after the last activation. The weights come with a package. Pixels are
    scaled as in the authors' training, (x - 127) / 128, and not by ImageNet's mean and deviation.
    """
    network = efficientnet_lite0().to(device)
    network.to(memory_format=torch.channels_last)

    def features(pixels: Tensor) -> Tensor:
        scaled = ((pixels - 127) / 128).contiguous(memory_format=torch.channels_last)
        return network.extract_features(scaled).mean((2, 3))

    return Extractor("efficientnet", EFFICIENTNET_SHA256, size, BICUBIC, features, torch.device(device))


def _inception(weights: str | Path | None, device: torch.device) -> Extractor:
    """Inception-v3 as in the code of Heusel et al. 2017 (arXiv:1706.08500). Its graph resizes the images itself."""
    path = Path(weights) if weights else _download(INCEPTION_URL, "inception-2015-12-05.pt")
    check_sha256(path, INCEPTION_SHA256, f"get {INCEPTION_URL} and give it by --weights")
    network = _script(path, device)
    own = "its own (bilinear to 299, not antialiased), as in published FIDs"
    return Extractor(
        "inception", INCEPTION_SHA256, None, own, lambda pixels: network(pixels, return_features=True), device
    )


def _dinov2(weights: str | Path | None, device: torch.device) -> Extractor:
    """DINOv2 ViT-B/14 (Oquab et al. 2023, arXiv:2304.07193): the class token after the last norm (Stein 2023)."""
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


def _stored(path: Path, count: int) -> Tensor | None:
    """The features of so many images in the cache: float32 (count, D); None if they are not there, or damaged.

    The file is an `.npy` with its digest behind it.
    """
    try:
        content = memoryview(path.read_bytes())
        if _digest(content[:-DIGEST]) != content[-DIGEST:]:
            return None
        found = np.load(io.BytesIO(content[:-DIGEST]))
        if found.dtype == np.float32 and found.ndim == 2 and len(found) == count and found.size:
            return torch.from_numpy(np.array(found, order="C"))
    except Exception:  # NumPy has many for a damaged file: EOFError, TokenError, ...
        pass
    return None


def _digest(content: memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST).digest()


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
