"""Pictures to arrays: decode, resize, crop and normalise as the training pipelines do it.

>>> from mezzo import image
>>> settings = image.imagenet()
>>> settings.filter = image.Filter.PILLOW_BICUBIC
>>> image.load("cat.png", settings).shape  # doctest: +SKIP
(1, 3, 224, 224)

JPEG, PNG and WebP are read, turned as their EXIF orientation says. Settings are attributes of `Preprocess`: resize, short_side,
width, height, filter, crop_width, crop_height, color, layout, scale, mean, std, dtype.
"""

from __future__ import annotations

import os

from . import _core
from ._core import Color, Filter, Layout, Preprocess, Resize, imagenet, plain
from .hooks import Array

__all__ = ["Color", "Filter", "Layout", "Preprocess", "Resize", "imagenet", "load", "plain"]


def load(source: str | os.PathLike[str] | bytes, settings: Preprocess | None = None) -> Array:
    """The picture in a file (a path, or a file's bytes) as [1,C,H,W], or [1,H,W,C] with Layout.NHWC. Without settings nothing is
    changed: the picture's own size, RGB, 0 to 255."""
    settings = settings if settings is not None else Preprocess()
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _core.load_image_bytes(bytes(source), settings)
    return _core.load_image(os.fsdecode(source), settings)
