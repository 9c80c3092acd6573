from __future__ import annotations

import threading
import warnings

import pytest

from spice_keras.data.quiet_pillow import quiet_pillow


def warn_as(module: str) -> None:
    warnings.warn_explicit("noise", UserWarning, "file.py", 1, module=module)


def test_only_pillow_is_quiet_and_only_inside() -> None:
    with quiet_pillow():
        warn_as("PIL.Image")
        with pytest.warns(UserWarning, match="noise"):
            warn_as("other")
    with pytest.warns(UserWarning, match="noise"):
        warn_as("PIL.Image")


def test_filters_are_restored_when_threads_overlap() -> None:
    before = list(warnings.filters)
    first_in, second_in = threading.Event(), threading.Event()

    def first() -> None:
        with quiet_pillow():
            first_in.set()
            second_in.wait(10)

    def second() -> None:
        first_in.wait(10)
        with quiet_pillow():
            second_in.set()
            one.join(10)
            warn_as("PIL.Image")

    one, two = threading.Thread(target=first), threading.Thread(target=second)
    one.start(), two.start()
    one.join(10), two.join(10)
    assert second_in.is_set()
    assert list(warnings.filters) == before


def test_filters_are_restored_after_an_error() -> None:
    before = list(warnings.filters)
    with pytest.raises(KeyError), quiet_pillow():
        raise KeyError
    assert list(warnings.filters) == before
