"""Encoders: from images, uint8 ``[B, S, S, 3]``, to features, float32 ``[B, D]``.

How a backbone is described: it is a name and a specification, one entry of the table
``spice_keras.options.BACKBONES``. The specification says what was published: the blocks of each
stage, the width, the strides, the momentum of batch normalisation. Its class is the family, and
each family has one builder, which turns any specification of it into a Keras model:

| Specification | Built by |
|---|---|
| `ResNetSpec`: residual networks of basic blocks | `resnet.py` |
| `WideResNetSpec`: wide residual networks | `wide_resnet.py` |
| `PretrainedSpec`: encoders of other libraries | `pretrained.py`, `efficientnet_lite.py` |
| `BuilderSpec`: anything else | the function it holds |

What a run may change (the width, strides, the momentum) is a `BackboneOptions`. It is the section
`backbone` of a configuration and the first argument of `build_backbone`. `register_backbone` adds a
backbone of your own.
"""

from spice_keras.backbones.factory import build_backbone, register_backbone
from spice_keras.options import BackboneOptions, BuilderSpec, ResNetSpec, WideResNetSpec

__all__ = [
    "BackboneOptions",
    "BuilderSpec",
    "ResNetSpec",
    "WideResNetSpec",
    "build_backbone",
    "register_backbone",
]
