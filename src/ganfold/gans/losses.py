"""The losses of D and G, as functions of D's outputs (B,) on reals and fakes. `docs/losses.md` has them in a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from ganfold.gans.contract import Batch

Of = Callable[[Tensor], Tensor]


class Loss(NamedTuple):
    """What D minimises on reals and on fakes, and what G minimises on fakes. The GAN takes the mean over the batch."""

    real: Of
    fake: Of
    generator: Of


LOSSES = {
    # Goodfellow 2014, eq. 1, with the generator's loss of sec. 3: -log D(x), -log(1 - D(G(z))), -log D(G(z))
    "nonsaturating": Loss(lambda d: F.softplus(-d), lambda d: F.softplus(d), lambda d: F.softplus(-d)),
    # Goodfellow 2014, eq. 1 unchanged: G minimises log(1 - D(G(z)))
    "minimax": Loss(lambda d: F.softplus(-d), lambda d: F.softplus(d), lambda d: -F.softplus(d)),
    # Mao 2017, arXiv:1611.04076, eq. 9: a = 0, b = c = 1
    "lsgan": Loss(lambda d: (d - 1) ** 2 / 2, lambda d: d**2 / 2, lambda d: (d - 1) ** 2 / 2),
    # Lim, Ye 2017, arXiv:1705.02894; Miyato 2018, arXiv:1802.05957, eq. 16 and 17
    "hinge": Loss(lambda d: F.relu(1 - d), lambda d: F.relu(1 + d), lambda d: -d),
    # Arjovsky 2017, arXiv:1701.07875, eq. 2; D must be Lipschitz
    "wasserstein": Loss(lambda d: -d, lambda d: d, lambda d: -d),
}


def relativistic(mine: Tensor, other: Tensor) -> Tensor:
    """Paired: D gives reals and fakes, G gives fakes and reals (Jolicoeur-Martineau 2018, arXiv:1807.00734; Huang 2024,
    arXiv:2501.05441, eq. 2)."""
    return F.softplus(other - mine)


def relativistic_hinge(mine: Tensor, other: Tensor) -> Tensor:
    """The same, but 0 where `mine` is ahead by 1. This keeps D's outputs small (Jolicoeur-Martineau 2019,
    arXiv:1901.02474, with the hinge for f)."""
    return F.relu(1 - (mine - other))


def watch_logits(batch: Batch, real: Tensor, fake: Tensor, probabilities: bool = False) -> None:
    """Report D's mean outputs on reals and fakes; `probabilities`: also as D's belief that an image is real."""
    batch.watch("logit/real", real.mean())
    batch.watch("logit/fake", fake.mean())
    if probabilities:
        batch.watch("D(x)", real.sigmoid().mean())
        batch.watch("D(G(z)) before", fake.sigmoid().mean())
