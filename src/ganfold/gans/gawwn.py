"""GAWWN: Reed, Akata, Mohan, Tenka, Schiele, Lee 2016, "Learning What and Where to Draw", arXiv:1610.02454, with the
layers of `dcgan`: an image of what a text says, in a box or at keypoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from ganfold.errors import GanfoldError
from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, DataKind, Phase, Shape, Terms, adam_pair, cosine
from ganfold.gans.losses import LOSSES
from ganfold.interface.options import Betas, Count, NotNegative, Range
from ganfold.networks.dcgan import down, initialise, up
from ganfold.networks.placing import Place, Words, crop, paste
from ganfold.networks.strided import Double, FromLatent, Halve, ToLogit, pyramid


@dataclass(frozen=True)
class Config:
    batch: Annotated[int, Range(least=2)] = 32  # images per step, over all ranks (the paper: 16)
    where: Literal["box", "keypoints"] = "box"  # what names the place (sec. 4.1 and 4.2)
    z_dim: Count = 64  # dimensions of the latent z, normal (the paper: 100)
    text_dim: Count = 64  # dimensions of a text, learnt with G and D (the paper: 1024, of a pretrained network)
    width: Count = 32  # channels of the layer next to the image; doubles with each halving
    variety: NotNegative = 0.0  # weight of a term, not in the paper: images differ as their z do (Mao 2019) [try 0.1]
    lr: NotNegative = 1e-3  # Adam's learning rate (the paper: 2e-4, halved now and then) ...
    lr_end: NotNegative = 1e-4  # ... and where its cosine ends
    decay_kimg: NotNegative = 400.0  # length of that cosine; best is the whole training
    betas: Betas = (0.5, 0.999)  # Adam's beta_1, beta_2


class Generator(nn.Module):
    """z (B, z_dim), text (B, L) and place -> images (B, C, R, R) in (-1, 1) (fig. 2)."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        widths = pyramid(config.width, shape.resolution)[::-1]  # from 4x4 up to R/2
        self.place = Place(config.where, shape.resolution // 4, shape.keypoints)
        self.text = Words(shape.words, config.text_dim)
        self.coarse = nn.Sequential(  # the text spread over its place, as a vector: roughly what is where
            Halve(config.text_dim + self.place.maps, config.width),
            *(nn.LeakyReLU(0.2, True), nn.Flatten()),
            nn.Linear(config.width * (self.place.side // 2) ** 2, config.text_dim),
        )
        inputs, thin = config.z_dim + 2 * config.text_dim, [w // 2 for w in widths]  # the background needs fewer
        self.everywhere = nn.Sequential(FromLatent(inputs, thin[0]), *up(thin[:-1]))
        self.local = nn.Sequential(FromLatent(inputs, widths[0]), *up(widths[:-1]))
        joined = thin[-2] + widths[-2] + self.place.maps
        self.merged = nn.Sequential(*up([joined, widths[-1]])[2:], Double(widths[-1], shape.channels))

    def forward(self, z: Tensor, text: Tensor, place: Tensor) -> Tensor:
        (box, maps), what = self.place(place), self.text(text)
        replicated = what[:, :, None, None] * maps.amax(1, keepdim=True)
        inputs = torch.cat([z, what, self.coarse(torch.cat([replicated, maps], 1))], 1)
        local = paste(self.local(inputs), box, self.place.side)
        return self.merged(torch.cat([self.everywhere(inputs), local, maps], 1)).tanh()


class Discriminator(nn.Module):
    """Images (B, C, R, R), place, and texts (B, L) -> logits (B,) for each of the texts (fig. 2)."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__()
        widths = pyramid(config.width, shape.resolution)  # from R/2 down to 4x4
        self.place = Place(config.where, shape.resolution // 4, shape.keypoints)
        self.text = Words(shape.words, config.text_dim)
        self.trunk = nn.Sequential(Halve(shape.channels, widths[0]), nn.LeakyReLU(0.2, True), *down(widths[:2]))
        self.everywhere = nn.Sequential(*down(widths[1:]), ToLogit(widths[-1]))
        self.seen = nn.Conv2d(widths[1] + self.place.maps, widths[1], 1)  # with `said`, a convolution 1x1 ...
        self.said = nn.Linear(config.text_dim, widths[1])  # ... of the maps joined with the replicated text
        self.local = nn.Sequential(nn.LeakyReLU(0.2), *down(widths[1:], norm=False), ToLogit(widths[-1]))

    def forward(self, x: Tensor, place: Tensor, *texts: Tensor) -> list[Tensor]:
        (box, maps), x = self.place(place), self.trunk(x)
        seen = self.seen(crop(torch.cat([x, maps], 1), box, self.place.side))
        everywhere = self.everywhere(x)
        return [everywhere + self.local(seen + self.said(self.text(text))[:, :, None, None]) for text in texts]


class GAWWN(GAN):
    config_class = Config
    task = "captions"
    conditioned_on_images = mixes_images = True  # images exchange their texts
    planned = ("batch", "width", "decay_kimg")
    image_network = "D.trunk"  # the rest of D sees text and place
    ema_kimg, ema_share = 100.0, 0.2  # a long average removes the noise that a high learning rate leaves

    @staticmethod
    def data_kind(config: Any) -> DataKind:
        return "captions"

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        if config.where == "keypoints" and not shape.keypoints:
            raise GanfoldError('--where keypoints needs `"keypoints": [[x, y], ...]` in each line of metadata.jsonl')
        self.G, self.D = Generator(config, shape), Discriminator(config, shape)
        self.apply(initialise)
        for layer in (self.D.seen, *self.D.local):  # no BatchNorm follows these
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, 0.2)
        self.loss, self.latent = LOSSES["nonsaturating"], (config.z_dim,)
        self.optimizers = adam_pair(self, config)
        self.phases = [Phase(self.discriminator, "D"), Phase(self.generator, "G", early=self.fake)]

    def rate(self, images: int) -> float:
        return cosine(images, self.config.decay_kimg, self.config.lr_end / self.config.lr)

    def condition(self, batch: Batch) -> Terms:
        return {name: batch[name] for name in ("text", self.config.where)}

    def fake(self, batch: Batch) -> Terms:
        z = batch.normal(*self.latent)
        return {"fake": self.sample(z, self.condition(batch)), "z": z}

    def discriminator(self, batch: Batch) -> Terms:  # Reed 2016, arXiv:1605.05396, algorithm 1
        text = batch["text"]  # a real image with the text of another image is half of the fakes
        real, wrong = self.D(batch["image"], batch[self.config.where], text, text.roll(1, 0))
        fake = self.logits(batch, batch["fake"])
        for name, logits in (("real", real), ("wrong text", wrong), ("fake", fake)):
            batch.watch(f"logit/{name}", logits.mean())
        fakes = {"wrong text": self.loss.fake(wrong).mean() / 2, "fake": self.loss.fake(fake).mean() / 2}
        return {"real": self.loss.real(real).mean(), **fakes}

    def generator(self, batch: Batch) -> Terms:
        terms = {"fake": self.loss.generator(self.logits(batch, batch["fake"])).mean()}
        if self.config.variety:  # Mao 2019, "Mode seeking GANs", arXiv:1903.05628, eq. 2
            z = batch.normal(*self.latent)
            change = (self.sample(z, self.condition(batch)) - batch["fake"]).abs().mean()
            terms["variety"] = self.config.variety * (z - batch["z"]).abs().mean() / (change + 1e-5)
        return terms

    def logits(self, batch: Batch, images: Tensor) -> Tensor:
        """D's logits (B,). This is no `judge`, since D needs text and place."""
        return self.D(images, batch[self.config.where], batch["text"])[0]

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(z, condition["text"], condition[self.config.where])
