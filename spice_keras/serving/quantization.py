"""LiteRT in int8: every layer that bears it, measured on the run's own items.

Rounding to 256 levels costs an error of 1/sqrt(12) of a step, evenly spread. A layer whose error is
much larger loses more than that: a first convolution with channels of very different scales, or a
square root. Those layers stay in float32. So does the head, which works on lengths and logits, and
the first quarter of the layers: they hold few weights, and what they lose runs through all others.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

_MEASURED = 12  # items; the error of a layer is a mean over all its values
_ROUNDING = 1.0 / math.sqrt(12.0)
_ROUGH = 1.5
_FIRST = 0.25
_CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D"}
FEWEST_CONVOLUTIONS = 3
"""With fewer, a network is a transformer, or a model of embeddings."""
Layer = Mapping[str, str]


def layers_in_float(layers: Sequence[Layer]) -> list[str]:
    """Choose the layers that int8 would spoil.

    Args:
        layers: In the order of the network; of each ``op_name``, ``tensor_name``, ``scale`` (the
            step between two levels) and ``mean_squared_error``, as the quantization debugger of
            TensorFlow Lite writes them.

    Returns:
        Their ``tensor_name``: those with an error of more than 1.5 times that of rounding, and in
        a network of convolutions the first quarter, and all after the last convolution.
    """
    places = [place for place, layer in enumerate(layers) if layer["op_name"] in _CONVOLUTIONS]
    begin, end = 0, len(layers)
    if len(places) >= FEWEST_CONVOLUTIONS:
        begin, end = int(_FIRST * len(layers)), places[-1] + 1
    return [
        layer["tensor_name"]
        for place, layer in enumerate(layers)
        if not begin <= place < end or _steps(layer) > _ROUGH * _ROUNDING
    ]


def _steps(layer: Layer) -> float:
    """The error of a layer, root mean square, in steps between two levels."""
    return math.sqrt(float(layer["mean_squared_error"])) / float(layer["scale"])


def quantized(graph: Path, name: str, items: np.ndarray) -> bytes:
    """Convert a SavedModel to LiteRT in int8.

    Args:
        graph: Its folder.
        name: Its one signature, and the input of that.
        items: Typical inputs, by which the ranges are calibrated: uint8 [n, S, S, 3] or float32
            [n, D].

    Returns:
        The file's content.
    """
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=_converter(graph, name, items),
        debug_dataset=lambda: ([item[None]] for item in items[:_MEASURED]),
    )
    debugger.run()
    told = io.StringIO()
    debugger.layer_statistics_dump(told)
    kept = layers_in_float(list(csv.DictReader(io.StringIO(told.getvalue()))))
    if not kept:
        return bytes(debugger.get_nondebug_quantized_model())
    second = tf.lite.experimental.QuantizationDebugger(
        converter=_converter(graph, name, items),
        debug_dataset=lambda: iter(()),
        debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=kept),
    )
    return bytes(second.get_nondebug_quantized_model())


def _converter(graph: Path, name: str, items: np.ndarray) -> tf.lite.TFLiteConverter:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(graph), signature_keys=[name])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ((name, {name: item[None]}) for item in items)
    return converter
