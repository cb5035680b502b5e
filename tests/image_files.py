"""Types of the fixtures that make image files and load them."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from ganfold.data import ImageSet

MakeImage = Callable[..., Image.Image]  # seed, width, height, mode -> an image
Load = Callable[..., ImageSet]  # `ganfold.data.load` with a cache of the test's own
