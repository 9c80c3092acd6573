"""Nouns read by the text encoder of an image-text model: CLIP, SigLIP and their kin in KerasHub."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spice_keras.errors import UserError
from spice_keras.extras import require_extra
from spice_keras.files import atomic_file
from spice_keras.options import DEFAULT_PROMPTS, HUB_PREFIX, LITE0
from spice_keras.words.vocabulary import Vocabulary, check_nouns, nouns_from_file
from spice_keras.words.wordnet import is_wordnet, wordnet_nouns

_BATCH = 256
_TEMPERATURE = 0.01


def text_vocabulary(
    backbone: str,
    nouns: Sequence[str],
    *,
    source: str,
    prompts: Sequence[str] = DEFAULT_PROMPTS,
    underscores: bool = False,
    cache: Path | None = None,
) -> Vocabulary:
    """Give nouns their vectors in the space that an image-text model shares with its images.

    Each noun is put into every prompt; the unit vectors of its prompts are averaged.

    Args:
        backbone: "hub:PRESET" of a KerasHub model that has an image and a text encoder, the one
            that encodes the images.
        nouns: W different words or phrases.
        source: Where the nouns come from, for reports and messages.
        prompts: Sentences, each with one {} for the noun.
        underscores: Whether the model reads "guide_dog" for "guide dog", as in the released code of
            SIC. The vocabulary's own nouns keep their blanks.
        cache: Folder that keeps vectors under a hash of preset, nouns and prompts; None for the
            one of `cache_folder`.

    Returns:
        The vocabulary, with cosines divided by .01 as logits, as CLIP ends training with.

    Raises:
        UserError: If the model cannot be loaded or has no text encoder, or if nouns or prompts are
            unusable.

    CLIP (arXiv 2103.00020) Sec. 3.1.4.
    """
    check_nouns(nouns, source)
    _check_prompts(prompts)
    if not backbone.startswith(HUB_PREFIX):
        raise UserError(
            f"{backbone} has no text encoder that could read the nouns of {source}. Take an "
            "image-text model, such as --backbone hub:clip_vit_base_patch32, or give vectors of "
            "the nouns with --words FILE."
        )
    preset = backbone.removeprefix(HUB_PREFIX)
    read = [noun.replace(" ", "_") for noun in nouns] if underscores else nouns
    kept = _kept_file(preset, read, prompts, cache_folder() if cache is None else cache)
    vectors = _read_kept(kept, len(nouns))
    if vectors is None:
        vectors = _encoded(preset, read, prompts)
        _keep(kept, vectors)
    return Vocabulary(
        nouns=tuple(nouns),
        vectors=vectors,
        source=f"{source}, read by {backbone}",
        temperature=_TEMPERATURE,
    )


def read_nouns(path: str) -> tuple[str, ...]:
    """Read a list of nouns, or those of an installed WordNet.

    Args:
        path: A text file of nouns, one a line, or WordNet's `index.noun` or `data.noun`.

    Returns:
        The nouns, each once.

    Raises:
        UserError: If the file cannot be read or lists no nouns.
    """
    return wordnet_nouns(path) if is_wordnet(path) else nouns_from_file(path)


def cache_folder() -> Path:
    """Return the folder that keeps vectors of words: below KERAS_HOME, or `~/.keras`."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path("~/.keras").expanduser()) / "spice_keras" / "words"


def _check_prompts(prompts: Sequence[str]) -> None:
    wrong = [prompt for prompt in prompts if prompt.count("{}") != 1 or prompt.count("{") != 1]
    if wrong or not prompts:
        raise UserError(
            "words.prompts must list sentences with one {} for the noun, such as "
            f"'a photo of a {{}}.'. Received: {wrong or list(prompts)}"
        )


def _encoded(preset: str, nouns: Sequence[str], prompts: Sequence[str]) -> np.ndarray:
    """Mean unit vector of each noun's prompts, float32 [W, D]."""
    backbone, preprocessor = _text_encoder(preset)
    total = 0.0
    for prompt in prompts:
        texts = [prompt.replace("{}", noun) for noun in nouns]
        parts = [texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
        rows = np.concatenate([_text_rows(backbone, preprocessor, part) for part in parts])
        total = total + rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(total / len(prompts), np.float32)


def _text_rows(backbone: Any, preprocessor: Any, texts: list[str]) -> np.ndarray:
    tokens = preprocessor({"prompts": texts, "images": None})["token_ids"]
    return np.asarray(backbone.get_text_embeddings(tokens), np.float64)


def require_text_encoder() -> None:
    """Refuse to read nouns without KerasHub.

    Raises:
        UserError: If it is not installed.
    """
    require_extra(
        "hub",
        "keras_hub",
        purpose="Reading nouns",
        otherwise="give vectors of the nouns with --words FILE",
    )


def _text_encoder(preset: str) -> tuple[Any, Any]:
    """The model of both encoders, and what turns sentences into its tokens."""
    require_text_encoder()
    hub = importlib.import_module("keras_hub")

    try:
        backbone = hub.models.Backbone.from_preset(preset)
        kinds = (hub.models.CLIPPreprocessor, hub.models.SigLIPPreprocessor)
        kind = next((one for one in kinds if isinstance(backbone, one.backbone_cls)), None)
        preprocessor = None if kind is None else kind.from_preset(preset, image_converter=None)
    except Exception as error:
        # KerasHub passes on whatever Kaggle's or Hugging Face's client raises.
        raise UserError(
            f"KerasHub cannot load the preset {preset!r} ({error}). Check its name, and run once "
            "with a connection, or give the folder of a downloaded preset as hub:FOLDER; without "
            f"a network give vectors of the nouns with --words FILE, or use {LITE0}, which has "
            "1,000 words of its own."
        ) from error
    if preprocessor is None:
        raise UserError(
            f"The preset {preset!r} has no text encoder beside its images. Take one of CLIP or "
            "SigLIP, or give vectors of the nouns with --words FILE."
        )
    return backbone, preprocessor


def _kept_file(preset: str, nouns: Sequence[str], prompts: Sequence[str], folder: Path) -> Path:
    """The file of these vectors; a local preset is known by its weights, not by its path alone."""
    weights = sorted(Path(preset).glob("*.weights.h5")) if Path(preset).is_dir() else []
    facts = [preset, list(nouns), list(prompts)]
    facts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in weights]
    name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    return folder / f"{name}.npy"


def _read_kept(path: Path, count: int) -> np.ndarray | None:
    """Vectors that were kept; None if there are none, or others."""
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    right = vectors.ndim == 2 and len(vectors) == count and vectors.dtype == np.float32
    return vectors if right else None


def _keep(path: Path, vectors: np.ndarray) -> None:
    """Keep vectors if there is a place for them; without one they are computed again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            np.save(file, vectors)
    except OSError:
        return
