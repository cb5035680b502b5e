"""The GANs, one file each. This table names them without importing torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ganfold.errors import GanfoldError, did_you_mean

if TYPE_CHECKING:
    from ganfold.gans.contract import GAN

GANS = {
    "rsgan": (
        "ganfold.gans.rsgan",
        "RSGAN",
        "relativistic, quick, Jolicoeur-Martineau 2018; for minutes on a CPU",
    ),
    "r3gan": (
        "ganfold.gans.r3gan",
        "R3GAN",
        "relativistic, penalised, residual, Huang 2024; for hours and GPUs",
    ),
    "dcgan": ("ganfold.gans.dcgan", "DCGAN", "convolutional, Radford 2015; 16 to 256 px"),
    "gan": ("ganfold.gans.gan", "MLPGAN", "the first, fully connected, Goodfellow 2014; for 28 px digits"),
    "cgan": ("ganfold.gans.cgan", "CGAN", "by label, Mirza 2014; needs classes"),
    "wgan": ("ganfold.gans.wgan", "WGAN", "Wasserstein distance by clipped weights, Arjovsky 2017"),
    "wgan-gp": ("ganfold.gans.wgan_gp", "WGANGP", "Wasserstein distance by a gradient penalty, Gulrajani 2017"),
    "infogan": ("ganfold.gans.infogan", "InfoGAN", "codes that find out what varies, Chen 2016"),
    "pix2pix": ("ganfold.gans.pix2pix", "Pix2Pix", "images from images, by pairs, Isola 2017"),
    "cyclegan": ("ganfold.gans.cyclegan", "CycleGAN", "images from images of another kind, unpaired, Zhu 2017"),
    "srgan": ("ganfold.gans.srgan", "SRGAN", "a larger image from a small one, Ledig 2017; then `ganfold upscale`"),
    "context-encoder": (
        "ganfold.gans.context_encoder",
        "ContextEncoder",
        "paints what is missing, Pathak 2016; then `ganfold inpaint`",
    ),
    "gawwn": ("ganfold.gans.gawwn", "GAWWN", "by text and place, Reed 2016; needs captions with boxes"),
}


def find(name: str) -> type[GAN]:
    """The GAN of this name.

    Raises:
        GanfoldError: there is none; names the nearest.
    """
    if name not in GANS:
        raise GanfoldError(f"there is no GAN {name!r}{did_you_mean(name, GANS)} (known: {', '.join(GANS)})")
    module, cls, _ = GANS[name]
    gan: type[GAN] = getattr(import_module(module), cls)
    return gan
