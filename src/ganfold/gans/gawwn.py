"""GAWWN: Reed, Akata, Mohan, Tenka, Schiele, Lee 2016, "Learning What and Where to Draw", arXiv:1610.02454, with the
layers of `dcgan`: a picture of what a text says, in a box or at keypoints."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.gans import dcgan
from ganfold.gans.contract import GAN, NOTHING, Batch, Given, Phase, Shape, Terms, Wants, adam, cosine, halvings
from ganfold.gans.losses import LOSSES
from ganfold.networks.augment import augment
from ganfold.networks.placing import Words, bumps, crop, paste
from ganfold.networks.strided import Double, FromLatent, Halve, ToLogit


@dataclass(frozen=True)
class Config:
    batch: int = 32  # images a step, over all ranks together (sec. 5: 16)
    where: Literal["box", "keypoints"] = "box"  # what says the place (sec. 4.1 and 4.2)
    z_dim: int = 64  # dimensions of the latent z, normal
    text_dim: int = 64  # dimensions of a text (sec. 3.3: 1024, learnt before, by images of all classes)
    width: int = 32  # channels of the layer next to the image; doubles with each halving
    lr: float = 1e-3  # Adam's learning rate (sec. 5: 2e-4) ...
    lr_end: float = 1e-4  # ... and where its cosine ends
    decay_kimg: float = 400.0  # over so many images it falls: best over all that will be seen
    betas: tuple[float, float] = (0.5, 0.999)  # Adam's beta_1, beta_2
    augment: float = 0.0  # share of D's images shifted, recoloured, cut out: for few images (Zhao 2020)


class Place(nn.Module):
    """Where: boxes (B, 4) in which the local pathways work, and maps (B, n, M, M) of the places, M = R / 4.

    At keypoints (B, K, 3) there is no box: local is everywhere, and each keypoint has a map (sec. 4.2).
    """

    def __init__(self, where: str, shape: Shape) -> None:
        super().__init__()
        self.where, self.side, self.maps = where, shape.resolution // 4, 1 if where == "box" else shape.keypoints

    def forward(self, place: Tensor) -> tuple[Tensor, Tensor]:
        if self.where == "box":
            return place, paste(place.new_ones(len(place), 1, self.side, self.side), place, self.side)
        whole = place.new_tensor([0, 0, 1, 1]).expand(len(place), 4)
        return whole, bumps(place, self.side)


class Generator(nn.Module):
    """z (B, z_dim), text (B, L) and place -> images (B, C, R, R) in (-1, 1) (fig. 2)."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        widths = [config.width << n for n in range(halvings(shape))][::-1]  # from 4x4 up to R/2
        self.place, self.text = Place(config.where, shape), Words(shape.words, config.text_dim)
        half = self.place.side // 2
        self.coarse = nn.Sequential(  # roughly what and where: the text laid out over its place, and back to a vector
            Halve(config.text_dim + self.place.maps, config.text_dim),
            nn.LeakyReLU(0.2, True),
            nn.Flatten(),
            nn.Linear(config.text_dim * half**2, config.text_dim),
        )
        inputs = config.z_dim + 2 * config.text_dim
        self.everywhere, self.local = self.upward(inputs, widths[:-1]), self.upward(inputs, widths[:-1])
        self.merged = nn.Sequential(
            *(Double(2 * widths[-2] + self.place.maps, widths[-1]), nn.BatchNorm2d(widths[-1]), nn.ReLU(True)),
            *(Double(widths[-1], shape.channels), nn.Tanh()),
        )

    def upward(self, inputs: int, widths: list[int]) -> nn.Sequential:
        """From a vector to maps of M x M."""
        layers: list[nn.Module] = [FromLatent(inputs, widths[0]), nn.BatchNorm2d(widths[0]), nn.ReLU(True)]
        for before, after in pairwise(widths):
            layers += [Double(before, after), nn.BatchNorm2d(after), nn.ReLU(True)]
        return nn.Sequential(*layers)

    def forward(self, z: Tensor, text: Tensor, place: Tensor) -> Tensor:
        (box, maps), what = self.place(place), self.text(text)
        laid_out = what[:, :, None, None] * maps.amax(1, keepdim=True)
        inputs = torch.cat([z, what, self.coarse(torch.cat([laid_out, maps], 1))], 1)
        local = paste(self.local(inputs), box, self.place.side)
        return self.merged(torch.cat([self.everywhere(inputs), local, maps], 1))


class Discriminator(nn.Module):
    """Images (B, C, R, R), and for each text (B, L) asked about, and place -> a logit each (B,) (fig. 2)."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        widths = [config.width << n for n in range(halvings(shape))]
        self.place, self.text = Place(config.where, shape), Words(shape.words, config.text_dim)
        self.trunk = nn.Sequential(Halve(shape.channels, widths[0]), nn.LeakyReLU(0.2, True), *self.down(widths[:2]))
        self.everywhere = nn.Sequential(*self.down(widths[1:]), ToLogit(widths[-1]))
        joint = widths[1] + config.text_dim + self.place.maps
        self.joint = nn.Sequential(nn.Conv2d(joint, widths[1], 1), nn.LeakyReLU(0.2, True))
        self.local = nn.Sequential(*self.down(widths[1:]), ToLogit(widths[-1]))

    def down(self, widths: list[int]) -> list[nn.Module]:
        return [m for a, b in pairwise(widths) for m in (Halve(a, b), nn.BatchNorm2d(b), nn.LeakyReLU(0.2, True))]

    def forward(self, x: Tensor, texts: list[Tensor], place: Tensor) -> list[Tensor]:
        (box, maps), x = self.place(place), self.trunk(x)
        side, seen, everywhere = self.place.side, crop(x, box, self.place.side), self.everywhere(x)
        logits = []
        for text in texts:
            what = self.text(text)[:, :, None, None].expand(-1, -1, side, side)
            logits.append(everywhere + self.local(self.joint(torch.cat([seen, what, crop(maps, box, side)], 1))))
        return logits


class GAWWN(GAN):
    config_class = Config
    ema_kimg, ema_share = 100.0, 0.2  # as in `rsgan`, and for the same reason

    @staticmethod
    def wants(config: Any) -> Wants:
        return "captions"

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        if config.where == "keypoints" and not shape.keypoints:
            raise GanfoldError('--where keypoints needs `"keypoints": [[x, y], ...]` in each line of metadata.jsonl')
        self.G, self.D = Generator(config, shape), Discriminator(config, shape)
        self.apply(dcgan.initialise)
        self.latent = (config.z_dim,)
        self.optimizers = {
            "D": adam(self.D.parameters(), config.lr, config.betas),
            "G": adam(self.G.parameters(), config.lr, config.betas),
        }
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    def rate(self, images: int) -> float:
        return cosine(images, self.config.decay_kimg, self.config.lr_end / self.config.lr)

    def given(self, batch: Batch) -> Terms:
        return {name: batch[name] for name in ("text", self.config.where)}

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.sample(batch.normal(*self.latent), self.given(batch))}

    def discriminator(self, batch: Batch) -> Terms:  # Reed 2016, arXiv:1605.05396, algorithm 1: what is real with the
        loss, text = LOSSES["nonsaturating"], batch["text"]  # text of another image counts as half of the fakes
        real, wrong = self.logits(batch, batch["image"], [text, text.roll(1, 0)])
        fake = self.judge(batch, batch["fake"])
        for name, logits in (("real", real), ("wrong text", wrong), ("fake", fake)):
            batch.watch(f"logit/{name}", logits.mean())
        return {
            "real": loss.real(real).mean(),
            "wrong text": loss.fake(wrong).mean() / 2,
            "fake": loss.fake(fake).mean() / 2,
        }

    def generator(self, batch: Batch) -> Terms:
        return {"fake": LOSSES["nonsaturating"].generator(self.judge(batch, batch["fake"])).mean()}

    def logits(self, batch: Batch, images: Tensor, texts: list[Tensor]) -> list[Tensor]:
        return self.D(self.augment(batch, images), texts, batch[self.config.where])

    def judge(self, batch: Batch, images: Tensor) -> Tensor:
        """D's logits (B,)."""
        return self.logits(batch, images, [batch["text"]])[0]

    def augment(self, batch: Batch, images: Tensor) -> Tensor:
        return augment(images, self.config.augment, batch.uniform)

    def sample(self, z: Tensor, given: Given = NOTHING) -> Tensor:
        return self.G(z, given["text"], given[self.config.where])
