"""The strong policy's fourteen operations, by Pillow itself, for one image and one value."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

_ENHANCERS = {
    "Color": ImageEnhance.Color,
    "Contrast": ImageEnhance.Contrast,
    "Brightness": ImageEnhance.Brightness,
    "Sharpness": ImageEnhance.Sharpness,
}


def pillow_operation(pixels: np.ndarray, name: str, value: float) -> np.ndarray:
    """Applies one operation to uint8 [H, W, 3] and returns the same."""
    image = Image.fromarray(pixels)
    width, height = image.size
    if name == "Identity":
        result = image
    elif name == "AutoContrast":
        result = ImageOps.autocontrast(image)
    elif name == "Equalize":
        result = ImageOps.equalize(image)
    elif name == "Rotate":
        result = image.rotate(value)
    elif name == "Solarize":
        result = ImageOps.solarize(image, value)
    elif name == "Posterize":
        result = ImageOps.posterize(image, int(value))
    elif name in _ENHANCERS:
        result = _ENHANCERS[name](image).enhance(value)
    else:
        matrix = {
            "ShearX": (1, value, 0, 0, 1, 0),
            "ShearY": (1, 0, 0, value, 1, 0),
            "TranslateX": (1, 0, value * width, 0, 1, 0),
            "TranslateY": (1, 0, 0, 0, 1, value * height),
        }[name]
        result = image.transform(image.size, Image.Transform.AFFINE, matrix)
    return np.asarray(result)
