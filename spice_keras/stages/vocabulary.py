"""The words of a run, and what they say of its clusters before any is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spice_keras.config import RunConfig
from spice_keras.errors import UserError
from spice_keras.options import LITE0, LiteSpec
from spice_keras.run.context import Context
from spice_keras.run.store import Embeddings
from spice_keras.words.guide import GUIDE_LIMIT, WordGuide, vocabulary_guides, word_guide
from spice_keras.words.text_encoder import read_nouns, text_vocabulary
from spice_keras.words.vocabulary import (
    Vocabulary,
    classifier_vocabulary,
    vocabulary_from_file,
)

SMALLEST_SIDE = 160
"""Below this the encoder's words are sure of themselves and often wrong: they are not used."""


@dataclass(frozen=True)
class Guidance:
    """Whether words guide the heads, and why.

    Attributes:
        guide: The words the heads begin at; None if they begin elsewhere.
        reason: One sentence.
        fit: Median of the largest word probability; None if no words were looked at.
    """

    guide: WordGuide | None
    reason: str
    fit: float | None = None

    def facts(self) -> dict[str, Any]:
        """Return what the artifact of the heads keeps of it."""
        words = None if self.guide is None else list(self.guide.words)
        return {"words": words, "fit": self.fit, "reason": self.reason}


def guidance_of(context: Context) -> Guidance | None:
    """Decide whether the heads of a run begin at words, and find these.

    Args:
        context: The run; its embeddings are there.

    Returns:
        The decision; None if the run does not ask for a start at words, or has none.

    Raises:
        UserError: If the vocabulary cannot be read or does not fit the embeddings.
    """
    config = context.config
    missing = missing_words(config, has_images=context.has_images)
    if config.self_labeling.start != "words" or missing is not None:
        return None
    refused = _no_guide(config)
    if refused is not None:
        return Guidance(None, refused)
    vocabulary = vocabulary_of(config)
    guide = word_guide(vocabulary, encoded_features(context), config.num_clusters)
    found = f"half of the images have a word of probability {guide.fit:.2f} or more"
    if config.words.guide == "auto" and not vocabulary_guides(guide.fit):
        reason = f"{found}, and {GUIDE_LIMIT} is needed: words only name the clusters."
        return Guidance(None, reason.capitalize(), guide.fit)
    taught = (
        " The encoder learned these words with labels." if vocabulary.trained_with_labels else ""
    )
    return Guidance(guide, f"{found.capitalize()}: words guide the clusters.{taught}", guide.fit)


def _no_guide(config: RunConfig) -> str | None:
    """Say why words are not looked at; None if they are."""
    if config.words.guide == "never":
        return "Words do not guide the clusters (words.guide is never)."
    if config.words.guide == "always":
        return None
    if config.words.vocabulary is not None or config.words.nouns is not None:
        return "Given words name the clusters; with words.guide=always they guide them too."
    if not isinstance(config.backbone.spec, LiteSpec):
        return (
            f"The words of {config.backbone.name} name the clusters; with words.guide=always they "
            "guide them too."
        )
    return None


def missing_words(config: RunConfig, *, has_images: bool) -> str | None:
    """Say why a run has no vocabulary.

    Args:
        config: The configuration.
        has_images: Whether the run encodes images.

    Returns:
        One sentence; None if it has one.
    """
    chosen = config.words.vocabulary
    if chosen == "none":
        return "Names were not asked for (words.vocabulary is none)."
    if chosen is not None or config.words.nouns is not None:
        return None
    if not has_images:
        return "Embeddings come without words; give them with --words FILE."
    if not config.has_words:
        return f"The encoder has no words of its own; give them with --words FILE ({LITE0} has)."
    if config.data.image_size < SMALLEST_SIDE:
        return (
            f"At {config.data.image_size} pixels the encoder's words are often wrong; names are "
            f"given from {SMALLEST_SIDE} pixels on."
        )
    return None


def words_of(config: RunConfig, *, has_images: bool) -> Vocabulary | str:
    """Read the words of a run, or say why it has none.

    Args:
        config: The configuration.
        has_images: Whether the run encodes images.

    Returns:
        The vocabulary; or one sentence. If nobody asked for words, an encoder whose own cannot be
        read is a reason and not an error.

    Raises:
        UserError: If a vocabulary that was named cannot be read.
    """
    reason = missing_words(config, has_images=has_images)
    if reason is not None:
        return reason
    try:
        return vocabulary_of(config)
    except UserError as error:
        if config.words.vocabulary is not None or config.words.nouns is not None:
            raise
        return str(error)


def vocabulary_of(config: RunConfig) -> Vocabulary:
    """Read the words of a run that has some.

    Args:
        config: The configuration.

    Returns:
        The vocabulary.

    Raises:
        UserError: If it cannot be read.
    """
    words = config.words
    if words.vocabulary is not None:
        return vocabulary_from_file(words.vocabulary)
    if words.nouns is None:
        return classifier_vocabulary(config.backbone.name)
    return text_vocabulary(
        config.backbone.name,
        read_nouns(words.nouns),
        source=words.nouns,
        prompts=words.prompts,
        underscores=words.underscores,
    )


def encoded_features(part: Context) -> np.ndarray:
    """Return the embeddings of a part of a run as the encoder, or their file, gives them.

    Args:
        part: The run, or its test part.

    Returns:
        float32 [N, D].
    """
    features = part.load(Embeddings).features
    return np.asarray(part.given_features if features is None else features)
