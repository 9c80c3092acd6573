"""Vocabularies: nouns with their vectors in the space of the images' embeddings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spice_keras.data.array_file import open_array_file
from spice_keras.errors import UserError
from spice_keras.options import (
    BACKBONES,
    HUB_PREFIX,
    KERAS_PREFIX,
    LITE0,
    LiteSpec,
    may_have_words,
)
from spice_keras.words.hierarchy import Hierarchy
from spice_keras.words.wordnet import imagenet_hierarchy, imagenet_nouns

# The temperature that CLIP's published models end their training with.
_COSINE_TEMPERATURE = 0.01
_SHORTEST = 1e-15
_NAMES_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Nouns with their vectors, and how an image's embedding is compared with them.

    The logit of word w for an embedding x is ``vectors[w] @ x + bias[w]`` without a temperature,
    as in a linear classifier, and ``cos(vectors[w], x) / temperature`` with one, as in CLIP.

    Attributes:
        nouns: The W words or phrases, all different, each a line of its own.
        vectors: float32 [W, D], all finite; with a temperature each has a direction.
        source: Where they come from, for the report.
        bias: float32 [W]; None for none.
        temperature: > 0; None for a linear classifier, whose embeddings are not normalised.
        hierarchy: Which word is a kind of which other; None if that is not known.
        trained_with_labels: Whether the encoder was trained to tell these words apart, so that
            names and clusters made from them are not free of labels.

    Raises:
        UserError: If the list is empty, has blanks or repetitions, or does not fit the vectors.

    Example:
        >>> import numpy as np
        >>> pets = Vocabulary(("cat", "dog"), np.eye(2, dtype=np.float32), "two axes")
        >>> pets.num_words, pets.dim
        (2, 2)
    """

    nouns: tuple[str, ...]
    vectors: np.ndarray
    source: str
    bias: np.ndarray | None = None
    temperature: float | None = None
    hierarchy: Hierarchy | None = None
    trained_with_labels: bool = False

    def __post_init__(self) -> None:
        check_nouns(self.nouns, self.source)
        vectors = _numbers(self.vectors, "vectors", self.source)
        object.__setattr__(self, "vectors", vectors)
        if vectors.ndim != 2 or len(vectors) != len(self.nouns) or vectors.shape[1] < 1:
            raise UserError(
                f"The vocabulary {self.source} has {len(self.nouns)} nouns, so its vectors must "
                f"have the shape ({len(self.nouns)}, D). Received: {vectors.shape}"
            )
        _refuse_rows(self, ~np.isfinite(vectors).all(axis=1), "NaN or infinite values in")
        if self.bias is not None:
            bias = _numbers(self.bias, "bias", self.source)
            object.__setattr__(self, "bias", bias)
            if bias.shape != (len(self.nouns),) or not np.isfinite(bias).all():
                raise UserError(
                    f"The bias of the vocabulary {self.source} must be {len(self.nouns)} finite "
                    f"numbers. Received: shape {bias.shape}"
                )
        if self.temperature is not None:
            if not (np.isfinite(self.temperature) and self.temperature > 0):
                raise UserError(
                    f"The temperature of the vocabulary {self.source} must be a number above 0. "
                    f"Received: {self.temperature}"
                )
            lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
            _refuse_rows(self, lengths < _SHORTEST, "no direction, only zeros, in")
        if self.hierarchy is not None and len(self.hierarchy.word_concepts) != len(self.nouns):
            raise ValueError(
                f"Expected a hierarchy of {len(self.nouns)} words. "
                f"Received: {len(self.hierarchy.word_concepts)}"
            )

    @property
    def num_words(self) -> int:
        """W."""
        return len(self.nouns)

    @property
    def dim(self) -> int:
        """D, the width of the vectors."""
        return int(self.vectors.shape[1])

    def concepts(self) -> Hierarchy:
        """Return the hierarchy, or one without levels if none is known."""
        return Hierarchy.flat(self.nouns) if self.hierarchy is None else self.hierarchy

    def check_fits(self, dim: int, num_clusters: int) -> None:
        """Refuse embeddings of another width, and more clusters than words.

        Args:
            dim: Width of the images' embeddings.
            num_clusters: K.

        Raises:
            UserError: If either does not fit.
        """
        if dim != self.dim:
            raise UserError(
                f"The words of {self.source} have vectors of {self.dim} numbers, but the "
                f"embeddings have {dim}. Take both from the same model."
            )
        if self.num_words < num_clusters:
            raise UserError(
                f"The vocabulary {self.source} has {self.num_words} words, too few for "
                f"{num_clusters} clusters. Add words, or ask for fewer clusters."
            )


def check_nouns(nouns: Sequence[str], source: str) -> None:
    """Refuse an empty list, blank or broken lines, and repetitions.

    Args:
        nouns: Words or phrases.
        source: Where they come from, for the message.

    Raises:
        UserError: If the list is not usable.
    """
    if not nouns:
        raise UserError(f"The vocabulary {source} is empty; list at least as many nouns as groups.")
    odd = [place for place, noun in enumerate(nouns) if not noun.strip() or not noun.isprintable()]
    if odd:
        raise UserError(
            f"The vocabulary {source} has {len(odd)} nouns that are blank or hold control "
            f"characters, the first at place {odd[0] + 1}. Remove them."
        )
    repeated = [noun for noun, count in Counter(nouns).items() if count > 1]
    if repeated:
        shown = ", ".join(map(repr, repeated[:_NAMES_SHOWN]))
        raise UserError(
            f"The vocabulary {source} lists {len(repeated)} nouns more than once: {shown}"
            f"{', ...' if len(repeated) > _NAMES_SHOWN else ''}. Keep each once."
        )


def classifier_vocabulary(backbone: str) -> Vocabulary:
    """Take the words of an encoder's own classifier: one vector for each class of ImageNet.

    Args:
        backbone: "efficientnet_lite0" or one of its family, or "keras:NAME" or "hub:PRESET" of a
            model whose classifier is one layer on the pooled features.

    Returns:
        ImageNet's 1,000 nouns with WordNet's hierarchy. The vectors are compared with the
        encoder's pooled features as they are, not normalised.

    Raises:
        UserError: If the backbone has no such classifier, or its weights are not to be had.

    Example:
        >>> classifier_vocabulary("efficientnet_lite0").nouns[:2]
        ('tench', 'goldfish')
    """
    kernel, bias = _classifier(backbone)
    nouns = imagenet_nouns()
    if kernel.shape[1] != len(nouns):
        raise UserError(
            f"The classifier of {backbone} has {kernel.shape[1]} classes, but ImageNet's nouns "
            f"are {len(nouns)}. Use another backbone, or give vectors in an .npz file."
        )
    return Vocabulary(
        nouns=nouns,
        vectors=np.ascontiguousarray(kernel.T),
        source=f"the ImageNet classifier of {backbone}",
        bias=bias,
        hierarchy=imagenet_hierarchy(),
        trained_with_labels=True,
    )


def _classifier(backbone: str) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of an encoder's own classifier."""
    # Networks are read by the rooms of TensorFlow, which nothing else here needs.
    spec = BACKBONES.get(backbone)
    if isinstance(spec, LiteSpec):
        from spice_keras.backbones.efficientnet_lite import lite_classifier

        kernel, bias = lite_classifier(backbone)
        return kernel * spec.sharpness, bias * spec.sharpness
    if may_have_words(backbone):
        from spice_keras.backbones.pretrained import published_classifier

        return published_classifier(backbone)
    raise UserError(
        f"The backbone {backbone!r} brings no words of its own. Use {LITE0}, {KERAS_PREFIX}NAME or "
        f"{HUB_PREFIX}PRESET, or give vectors in an .npz file."
    )


def vocabulary_from_file(path: str | Path) -> Vocabulary:
    """Read nouns and their vectors from an .npz file; pickle is never loaded.

    Args:
        path: The file. It holds `names`, W strings, and `vectors`, [W, D], in the space of the
            images' embeddings. With `bias`, [W], they are the rows of a linear classifier, and the
            embeddings are not normalised; without, logits are cosines divided by `temperature`, a
            number above 0, which is 0.01 unless the file says otherwise.

    Returns:
        The vocabulary.

    Raises:
        UserError: If the file is missing or damaged, or what it holds does not fit together.
    """
    path = Path(path)
    arrays = _read_npz(path)
    missing = [name for name in ("names", "vectors") if name not in arrays]
    if missing:
        raise UserError(
            f"{path} must hold the arrays 'names' and 'vectors'. Missing: {', '.join(missing)}; "
            f"found: {', '.join(sorted(arrays)) or 'nothing'}."
        )
    names = arrays["names"]
    if names.ndim != 1 or names.dtype.kind != "U":
        raise UserError(
            f"'names' in {path} must be a list of strings. "
            f"Received: {names.dtype} of shape {names.shape}"
        )
    bias = arrays.get("bias")
    temperature = arrays.get("temperature")
    if temperature is not None and (temperature.ndim or temperature.dtype.kind not in "fiu"):
        raise UserError(f"'temperature' in {path} must be one number.")
    cosine = float(temperature) if temperature is not None else _COSINE_TEMPERATURE
    return Vocabulary(
        nouns=tuple(names.tolist()),
        vectors=arrays["vectors"],
        source=str(path),
        bias=bias,
        temperature=None if bias is not None else cosine,
    )


def nouns_from_file(path: str | Path) -> tuple[str, ...]:
    """Read a list of nouns, one a line; empty lines and what follows a # are left out.

    Args:
        path: A text file in UTF-8.

    Returns:
        The nouns in their order.

    Raises:
        UserError: If the file cannot be read, is empty, or repeats a noun.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8; save it as one.") from error
    except OSError as error:
        raise UserError(f"Cannot read the nouns from {path}: {error.strerror}.") from error
    nouns = tuple(noun for line in lines if (noun := line.partition("#")[0].strip()))
    check_nouns(nouns, str(path))
    return nouns


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    wanted = ("names", "vectors", "bias", "temperature")
    advice = "Write it with numpy.savez(path, names=..., vectors=...)."
    with open_array_file(path, "words", advice) as file:
        if not file.is_archive:
            file.header(file.names[0])
            raise UserError(f"{path} is not an .npz file; write it with `numpy.savez`.")
        return {name: file.read(name) for name in wanted if name in file.names}


def _numbers(values: np.ndarray, what: str, source: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise UserError(
            f"The {what} of the vocabulary {source} must be numbers. Received: {array.dtype}"
        )
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is refused
        return np.ascontiguousarray(array, np.float32)


def _refuse_rows(vocabulary: Vocabulary, bad: np.ndarray, what: str) -> None:
    if bad.any():
        shown = ", ".join(repr(vocabulary.nouns[row]) for row in np.flatnonzero(bad)[:_NAMES_SHOWN])
        raise UserError(
            f"The vocabulary {vocabulary.source} has {what} the vectors of {int(bad.sum())} "
            f"nouns ({shown}{', ...' if bad.sum() > _NAMES_SHOWN else ''}). Compute them again."
        )
