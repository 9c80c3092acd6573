"""A tiny CLIP of random weights, saved as a preset of KerasHub."""

from __future__ import annotations

from pathlib import Path

import pytest


def tiny_clip(folder: Path) -> Path:
    """Write a preset of an image-text model that knows ten letters; skip without KerasHub."""
    hub = pytest.importorskip("keras_hub", reason="needs spice-keras[hub]")
    letters = ["a", "c", "d", "f", "g", "h", "o", "p", "t", "."]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "ca"]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    vocabulary |= {"<|startoftext|>": len(tokens), "<|endoftext|>": len(tokens) + 1}
    models, size = hub.models, len(vocabulary)
    vision = models.CLIPVisionEncoder(
        patch_size=8, hidden_dim=8, num_layers=1, num_heads=2, intermediate_dim=8,
        image_shape=(16, 16, 3),
    )  # fmt: skip
    text = models.CLIPTextEncoder(
        vocabulary_size=size, embedding_dim=8, hidden_dim=8, num_layers=1, num_heads=2,
        intermediate_dim=8, max_sequence_length=24,
    )  # fmt: skip
    models.CLIPBackbone(vision, text, projection_dim=6).save_to_preset(str(folder))
    converter = hub.layers.CLIPImageConverter(height=16, width=16, scale=1 / 127.5, offset=-1.0)
    tokenizer = models.CLIPTokenizer(vocabulary=vocabulary, merges=["c a"])
    models.CLIPPreprocessor(tokenizer, converter, sequence_length=24).save_to_preset(str(folder))
    return folder
