"""Heads on ready features are built in float32, whatever the caller computes in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras


@contextmanager
def float32_layers() -> Iterator[None]:
    """Build heads in float32 whatever the caller's dtype policy, and leave that as it was."""
    before = keras.config.dtype_policy()
    if before.name == "float32":
        yield
        return
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
