"""Which GANs have which task, and how a refusal names them."""

from __future__ import annotations

import pytest

from ganfold.tasks import gans_for, with_article


@pytest.mark.parametrize(
    "phrase",
    ["an rsgan", "an r3gan", "an srgan", "an infogan", "a wgan-gp", "a gan", "a context-encoder", "a pix2pix"],
)
def test_a_name_has_its_article(phrase: str) -> None:
    assert with_article(phrase.partition(" ")[2]) == phrase


def test_gans_say_their_task() -> None:
    assert gans_for("super-resolution") == ["srgan"]
    assert gans_for("inpainting") == ["context-encoder"]
    assert gans_for("translation") == ["pix2pix", "cyclegan"]
    assert gans_for("captions") == ["gawwn"]
