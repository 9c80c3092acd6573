"""Which images a person looks for: words, and columns compared with values."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_COMPARISONS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    ":": operator.eq,
}
_TERM = re.compile(r"([a-z_]+)(<=|>=|<|>|=|:)(.*)")
_MOST_TERMS = 12


@dataclass(frozen=True, eq=False)
class Columns:
    """What is known of each image, by column.

    Attributes:
        texts: Text of each image, by the name of the column; `image` is its id.
        numbers: Number of each image, by the name of the column.
    """

    texts: Mapping[str, npt.NDArray[np.str_]]
    numbers: Mapping[str, np.ndarray]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that a term can name."""
        return (*self.texts, *self.numbers)


def find(query: str, columns: Columns) -> npt.NDArray[np.bool_]:
    """Tell which images match every term of a query.

    A term is a word, which the id or the cluster's name must hold, or a comparison of a column
    with a value: `confidence<0.6`, `decision:moved`, `name:dog`. Text is compared without regard
    to case, and a column of text matches if it holds the value.

    Args:
        query: Terms with spaces between them; nothing matches everything.
        columns: The images.

    Returns:
        Whether each image matches. Shape: (num_images,).

    Raises:
        ValueError: If a comparison names no column, or a number is none.

    Example:
        >>> ids = np.array(["a/cat.png", "b/dog.png"])
        >>> columns = Columns({"image": ids}, {"confidence": np.array([0.9, 0.4])})
        >>> find("dog confidence<0.5", columns).tolist()
        [False, True]
    """
    terms = query.lower().split()
    if len(terms) > _MOST_TERMS:
        raise ValueError(f"a search has at most {_MOST_TERMS} terms; this one has {len(terms)}")
    found = np.ones(len(columns.texts["image"]), bool)
    for term in terms:
        match = _TERM.fullmatch(term)
        if match is not None and match[1] in columns.names:
            found &= _compared(match[1], match[2], match[3], columns)
        elif match is not None and match[2] != ":":
            raise ValueError(f"there is no column {match[1]}; there are {', '.join(columns.names)}")
        else:
            texts = [columns.texts[name] for name in ("image", "name") if name in columns.texts]
            found &= np.logical_or.reduce([_holds(text, term) for text in texts])
    return found


def _holds(texts: np.ndarray, part: str) -> npt.NDArray[np.bool_]:
    held: npt.NDArray[np.bool_] = np.char.find(np.char.lower(texts), part) >= 0
    return held


def _compared(name: str, sign: str, value: str, columns: Columns) -> npt.NDArray[np.bool_]:
    if name in columns.texts:
        if sign not in (":", "="):
            raise ValueError(f"{name} is text: compare it with {name}:VALUE")
        texts = columns.texts[name]
        return _holds(texts, value) if value else np.asarray(texts == "")
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{name} is compared with a number, not with {value!r}") from None
    return np.asarray(_COMPARISONS[sign](columns.numbers[name], number), bool)
