"""The versions of a model on disk, and the one that answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from spice_keras.errors import UserError
from spice_keras.progress import Screen
from spice_keras.serving.facts import newest_version
from spice_keras.serving.monitoring import Monitor
from spice_keras.serving.predict import load_model
from spice_keras.serving.rest import Signature


@dataclass(frozen=True)
class LoadedModel:
    """A version in memory.

    Attributes:
        version: Its number.
        signatures: Its endpoints by name.
    """

    version: int
    signatures: Mapping[str, Signature]
    _loaded: Any = field(repr=False)

    @classmethod
    def load(cls, path: Path, version: int, *, trust: bool) -> LoadedModel:
        """Load a SavedModel and ask each endpoint once, so that the first client need not wait.

        Raises:
            UserError: If it is damaged, foreign, or not to be trusted.
        """
        loaded, _ = load_model(path, trust=trust)
        signatures = {name: _signature(name, loaded) for name in loaded.signatures}
        model = cls(version, signatures, loaded)
        for signature in signatures.values():
            if signature.dtype == "string":
                model.ask(signature.name, np.array([b""], object))
            elif signature.name != "images":
                sizes = [1, *(size or 1 for size in signature.shape[1:])]
                model.ask(signature.name, np.zeros(sizes, signature.dtype))
        return model

    def ask(self, name: str, items: np.ndarray) -> dict[str, np.ndarray]:
        """Ask an endpoint.

        Args:
            name: The endpoint.
            items: Its input: bytes in an object array [n], or numbers [n, ...].

        Returns:
            The outputs by name.
        """
        signature = self.signatures[name]
        dtype = tf.string if signature.dtype == "string" else signature.dtype
        given = tf.constant(items.tolist() if dtype == tf.string else items, dtype)
        outputs = self._loaded.signatures[name](**{signature.input_name: given})
        return {key: value.numpy() for key, value in outputs.items()}


def _signature(name: str, loaded: Any) -> Signature:
    function = loaded.signatures[name]
    ((input_name, spec),) = function.structured_input_signature[1].items()
    outputs = {
        key: (value.dtype.name, tuple(value.shape))
        for key, value in sorted(function.structured_outputs.items())
    }
    return Signature(name, input_name, spec.dtype.name, tuple(spec.shape), outputs)


class ModelVersions:
    """A model by name: the newest version on disk answers.

    Args:
        path: saved_models/NAME, whose newest version is taken and replaced by newer ones, or one
            version of it, which stays.
        trust: Whether a graph may hold operations that do more than compute.
        screen: Where new versions are told.
        monitor: What counts.

    Raises:
        UserError: If there is no usable version.
    """

    def __init__(self, path: Path, *, trust: bool, screen: Screen, monitor: Monitor) -> None:
        self._trust, self._screen, self._monitor = trust, screen, monitor
        self._path = path.resolve()
        self._fixed = (self._path / "saved_model.pb").is_file()
        self._refused: dict[int, str] = {}
        self.name = self._path.parent.name if self._fixed else self._path.name
        first = self._path if self._fixed else newest_version(self._path)
        if first is None:
            raise UserError(
                f"{path} holds no version of a model; `spice export` writes "
                "saved_models/NAME/VERSION, and spice serve takes saved_models/NAME."
            )
        number = int(first.name) if first.name.isdecimal() else 1
        self.current = LoadedModel.load(first, number, trust=trust)
        monitor.version_loaded(number)

    def look_for_newer(self) -> bool:
        """Load the newest version if it is newer than the one that answers.

        A version that cannot be used is told once and passed over.

        Returns:
            Whether another version answers now.
        """
        newest = None if self._fixed else newest_version(self._path)
        if newest is None or int(newest.name) <= self.current.version:
            return False
        number = int(newest.name)
        if number in self._refused:
            return False
        try:
            self.current = LoadedModel.load(newest, number, trust=self._trust)
        except UserError as error:
            self._refused[number] = str(error)
            self._screen.warn(f"version {number} is passed over: {error}")
            return False
        self._monitor.version_loaded(number)
        self._screen.say(f"serve: version {number} answers now.")
        return True

    def states(self) -> list[dict[str, Any]]:
        """Return what is known of each version, as TensorFlow Serving tells it."""
        found = [_state(self.current.version, "AVAILABLE", "OK", "")]
        found += [
            _state(version, "END", "FAILED_PRECONDITION", reason)
            for version, reason in self._refused.items()
        ]
        return found


def _state(version: int, state: str, code: str, message: str) -> dict[str, Any]:
    status = {"error_code": code, "error_message": message}
    return {"version": str(version), "state": state, "status": status}
