"""The page that generates, in a real browser without network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import ganfold
from exports.browser import CHROMIUM, Page, opened
from exports.conftest import Make
from ganfold.exports.sampler import Sampler
from ganfold.gans import noise

pytest.importorskip("onnxruntime")
RUNTIME = os.environ.get("GANFOLD_ONNXRUNTIME_WEB", "")  # a folder with onnxruntime-web
VALUES = "(document.getElementById('output').dataset.values || '').split(',').map(Number)"
PIXELS = (
    "Array.from(document.getElementById('{0}').getContext('2d')"
    ".getImageData(0, 0, {0}.width, {0}.height).data).filter((_, i) => i % 4 < 3)"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium"),
    pytest.mark.skipif(
        not RUNTIME,
        reason="GANFOLD_ONNXRUNTIME_WEB does not name a folder made by `npm pack onnxruntime-web` or `npm install`",
    ),
]
Show = Callable[..., None]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Page]:
    with opened(tmp_path / "profile") as page:
        page.size(1280, 900)
        yield page


@pytest.fixture
def show(browser: Page, tiny_run: Make, tmp_path: Path) -> Show:
    def shown(name: str, state: str = "") -> None:
        out = tmp_path / f"{name}.html"
        if not out.exists():
            ganfold.export(tiny_run(name), "web", out, runtime=RUNTIME)
        assert out.stat().st_size < 30e6
        browser.open(f"{out.as_uri()}#{state}")
        browser.wait("!!document.getElementById('output')?.dataset.values", 120)

    return shown


def change(browser: Page, control: str, value: str) -> list[float]:
    """Set a control, and give the first values of the images that follow."""
    browser.run("delete document.getElementById('output').dataset.values")
    browser.run(f"(c => {{ c.value = {value!r}; c.dispatchEvent(new Event('input')) }})(controls.{control})")
    browser.wait("!!document.getElementById('output').dataset.values")
    values: list[float] = browser.run(VALUES)
    return values


def test_the_page_makes_the_images_of_sample(browser: Page, tiny_run: Make, show: Show) -> None:
    show("cgan", "image=3&label=2")  # the class "owl"
    run = tiny_run("cgan")
    z = noise.normal(noise.key_of(0, "sample"), torch.arange(3, 4), *run.gan.latent)
    owl, fox = (run.gan.sample(z, {"label": torch.tensor([number])}).flatten()[:8] for number in (1, 0))
    assert torch.allclose(torch.tensor(browser.run(VALUES)), owl, atol=1e-4)
    assert torch.allclose(torch.tensor(change(browser, "label", "1")), fox, atol=1e-4)
    half = run.gan.sample(0.5 * z, {"label": torch.tensor([0])}).flatten()[:8]
    assert torch.allclose(torch.tensor(change(browser, "truncation", "0.5")), half, atol=1e-4)
    change(browser, "truncation", "1")
    change(browser, "other", "4")
    other = noise.normal(noise.key_of(0, "sample"), torch.arange(4, 5), *run.gan.latent)
    arrived = run.gan.sample(other, {"label": torch.tensor([0])}).flatten()[:8]
    assert torch.allclose(torch.tensor(change(browser, "share", "1")), arrived, atol=1e-4)
    assert browser.run("document.title") == "cgan · photos"
    assert browser.run("document.querySelectorAll('b').length") == 0  # a class is called "</script><b>"
    browser.size(390, 844)
    assert browser.run("document.documentElement.scrollWidth") <= 390


def test_a_painted_hole_is_filled_and_the_rest_stays(browser: Page, show: Show) -> None:
    show("context-encoder")
    box = browser.run(
        "(b => [b.left, b.top, b.width, b.height])(document.getElementById('input').getBoundingClientRect())"
    )
    left, top, width, height = box
    whole = browser.run(PIXELS.format("output"))
    middle = (16 * 8 + 8) * 3
    assert whole[0] == 255  # the canvas is white, and only its middle is a hole at first
    assert whole[middle : middle + 3] != [255, 255, 255]
    browser.run("delete document.getElementById('output').dataset.values")
    browser.press((left + width * 0.03, top + height * 0.03), (left + width * 0.2, top + height * 0.03))
    browser.wait("!!document.getElementById('output').dataset.values")
    browser.wait("!isBusy && !isStale")
    painted = browser.run(PIXELS.format("output"))
    assert painted[:3] != [255, 255, 255]
    assert painted[middle : middle + 3] == [255, 255, 255]


def test_a_text_and_a_box_are_drawn(browser: Page, tiny_run: Make, show: Show) -> None:
    show("gawwn", "text=square+unknown+dark")
    run = tiny_run("gawwn")
    sampler = Sampler(run.gan)
    text = torch.zeros(1, *sampler.inputs(1, (1, 1))["text"].shape[1:], dtype=torch.int64)
    text[0, :2] = torch.tensor([3, 1])
    z = noise.normal(noise.key_of(0, "sample"), torch.arange(1), *run.gan.latent)
    expected = run.gan.sample(z, {"text": text, "box": torch.tensor([[0.25, 0.25, 0.5, 0.5]])}).flatten()[:8]
    assert torch.allclose(torch.tensor(browser.run(VALUES)), expected, atol=1e-4)
