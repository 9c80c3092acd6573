"""What strangers give, what reads it, and the errors that are right."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from spice_keras.config import load_config
from spice_keras.data.array_source import ArraySource
from spice_keras.data.decoding import UndecodableImage, decode_image, deep_extent
from spice_keras.data.embedding_source import EmbeddingSource, read_embeddings_file
from spice_keras.data.levels import KnownLevels
from spice_keras.data.sources import SourceOptions
from spice_keras.errors import UserError
from spice_keras.run.directory import RunDirectory
from spice_keras.serving.facts import FILE as FACTS_FILE
from spice_keras.serving.facts import read_facts
from spice_keras.words.vocabulary import nouns_from_file, vocabulary_from_file
from tests.data.tiff_files import tiff
from tests.fuzz import folders

RIGHT = (UserError, UndecodableImage)
"""What a stranger's input may end in; anything else is a fault of the program."""


@dataclass(frozen=True)
class Target:
    """A kind of input.

    Attributes:
        suffix: of the file the input is written to.
        seeds: honest inputs.
        read: reads the file as the program does.
    """

    suffix: str
    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], object]


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


@cache
def _images() -> list[bytes]:
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (24, 20, 3)).astype(np.uint8))
    deep = rng.integers(0, 4096, (12, 10)).astype(np.uint16)
    colors = rng.integers(0, 4096, (12, 10, 3)).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    found = [_saved(rgb, kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM", "TIFF")]
    found += [_saved(rgb, "PNG", exif=exif), _saved(rgb.convert("P"), "PNG", transparency=3)]
    found += [_saved(rgb, "TIFF", compression=c) for c in ("tiff_lzw", "jpeg", "packbits")]
    found += [_saved(Image.fromarray(deep), kind) for kind in ("PNG", "TIFF")]
    found += [tiff(colors, planar=True), tiff(colors.astype(">u2"), packed=True), tiff(deep)]
    return [*found, tiff(deep.astype("<f4"), tags={341: (11, [4095.0])})]


def _read_image(path: Path) -> None:
    data = path.read_bytes()
    for levels in (None, KnownLevels((0.0, 4095.0), (0.0, 1.0))):
        try:
            image = decode_image(data, image_size=8, max_pixels=100_000, levels=levels)
        except UndecodableImage as error:
            if str(error).splitlines() != [str(error)]:
                raise ValueError(f"Expected one line. Received: {error!r}") from error
        else:
            if image.shape != (8, 8, 3) or image.dtype != np.uint8:
                raise ValueError(f"Expected a small picture. Received: {image.shape}")
    deep_extent(path, 100_000)


def _npz(compressed: bool = False, **arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@cache
def _arrays() -> list[bytes]:
    rng = np.random.default_rng(0)
    images, rows = rng.integers(0, 256, (5, 9, 8)).astype(np.uint8), rng.normal(size=(5, 6))
    names, labels = np.array(["a", "b", "c", "=d", "e"]), np.arange(5)
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("photos/cat.png", b"bytes")
    return [
        _npy(images),
        _npy(np.asfortranarray(rows.astype(np.float32))),
        _npz(images=images, ids=names, labels=labels),
        _npz(True, images=images / 255, ids=labels),
        _npz(features=rows, ids=names, labels=names),
        _npz(True, x=rows.astype(np.float16), labels=labels),
        other.getvalue(),
    ]


def _read_arrays(path: Path) -> None:
    options = SourceOptions(str(path), image_size=8)
    ids = ["0000000", "a"]
    for read in (
        lambda: list(ArraySource(path, 8, "crop").items()),
        lambda: ArraySource.read_labels(options, ids),
        lambda: read_embeddings_file(path),
        lambda: EmbeddingSource.read_labels(options, ids),
    ):
        try:
            read()
        except RIGHT:
            continue


@cache
def _vocabularies() -> list[bytes]:
    names, rows = np.array(["cat", "dog", "=cow"]), np.eye(3, 4)
    return [
        _npz(names=names, vectors=rows),
        _npz(True, names=names, vectors=rows, bias=np.zeros(3)),
        _npz(names=names, vectors=rows.astype(np.float16), temperature=np.array(0.1)),
        "cat # a pet\nKühlschrank\n\n犬\n".encode(),
    ]


def _read_vocabulary(path: Path) -> None:
    for read in (vocabulary_from_file, nouns_from_file):
        try:
            read(path)
        except RIGHT:
            continue


@cache
def _configurations() -> list[bytes]:
    shipped = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
    odd = "data: &d {range: [0, 4095], classes: [a, b]}\nself: {<<: *d}\nsemi: {steps: 1e3}\n"
    tagged = "seed: !!int '3'\nname: !!str 2020-01-01\nnum_clusters: 0x1F\nembed: {num_probes: 1:2}"
    return [path.read_bytes() for path in shipped[:6]] + [odd.encode(), tagged.encode()]


def _read_configuration(path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "replace")
    for read in (
        lambda: load_config(str(path)),
        lambda: load_config(settings=[f"seed={text[:200]}", text[:80]]),
    ):
        try:
            read()
        except RIGHT:
            continue


def _made_run(folder: Path) -> RunDirectory:
    run = RunDirectory.create(folder, {"name": "x"})
    with run.write("images", stage="ingest") as artifact:
        (artifact / "ids.json").write_text('["a", "b"]')
    return run


@cache
def _manifests() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        _made_run(Path(folder))
        manifest = Path(folder, "artifacts/images/manifest.json").read_bytes()
    odd = [b"null", b"[]", b'{"schema": 1, "files": null}', b'{"schema": 1, "files": []}']
    return [manifest, manifest.replace(b"\n", b""), *odd]


def _read_manifest(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = _made_run(Path(folder))
        Path(folder, "artifacts/images/manifest.json").write_bytes(path.read_bytes())
        run.read("images", written_by="pretrain")


@cache
def _facts() -> list[bytes]:
    images = {"num_clusters": 2, "names": ["a", "b"], "image_size": 8, "fit": "crop",
              "max_pixels": 99, "levels": {"integers": [0, 4095], "floats": None}}  # fmt: skip
    rows = {"num_clusters": 3, "num_features": 4}
    return [json.dumps(facts).encode() for facts in (images, rows)]


def _read_facts(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "saved_model.pb").write_bytes(b"")
        Path(folder, FACTS_FILE).write_bytes(path.read_bytes())
        facts = read_facts(Path(folder))
        if not facts.of_embeddings:
            facts.decoding()


TARGETS = {
    "images": Target(".img", _images, _read_image),
    "arrays": Target(".npy", _arrays, _read_arrays),
    "vocabularies": Target(".npz", _vocabularies, _read_vocabulary),
    "configurations": Target(".yaml", _configurations, _read_configuration),
    "manifests": Target(".json", _manifests, _read_manifest),
    "facts": Target(".json", _facts, _read_facts),
    "edits": Target(".jsonl", folders.edits, folders.read_edits),
    "shards": Target(".bin", folders.shards, folders.read_shards),
    "artifacts": Target(".bin", folders.artifacts, folders.read_artifacts),
    "checkpoints": Target(".bin", folders.checkpoints, folders.read_checkpoint),
    "networks": Target(".bin", folders.networks, folders.read_network),
    "variables": Target(".bin", folders.saved_models, folders.read_saved_model),
}

_NUMBERS = (0, 1, 2, 3, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_WORDS = (b"!!bool ", b"!!int ", b"&a ", b"*a ", b"<<: ", b"[", b"{", b": ", b"- ", b"9" * 400,
          b"False", b"'", b'"', b"\0", b"\xff" * 9, b"PK\3\4", b"\x93NUMPY", b"IDAT", b"(1, ",
          b"'<U9'", b"99999999999")  # fmt: skip


def mutated(data: bytes, rng: np.random.Generator, pool: list[bytes]) -> bytes:
    """Damage an input in one to four ways.

    Args:
        data: an honest input.
        rng: what chooses.
        pool: other inputs, to mix with.

    Returns:
        The damaged input, at most 64 KiB longer.
    """
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(found) + 1))
        size = int(rng.integers(1, 9)) if rng.random() < 0.8 else int(rng.integers(1, 400))
        match int(rng.integers(0, 8)):
            case 0 if at < len(found):
                found[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                found[at : at + size] = rng.bytes(size)
            case 2:
                del found[at : at + size]
            case 3:
                del found[at:]
            case 4:
                number = _NUMBERS[int(rng.integers(0, len(_NUMBERS)))]
                width, order = (1, 2, 4)[int(rng.integers(0, 3))], ("little", "big")
                number &= 256**width - 1
                found[at : at + width] = number.to_bytes(width, order[int(rng.integers(0, 2))])
            case 5:
                word = _WORDS[int(rng.integers(0, len(_WORDS)))]
                found[at:at] = word * int(rng.integers(1, 40))
            case 6:
                found[at:at] = found[max(0, at - size) : at] * int(rng.integers(1, 9))
            case _:
                other = pool[int(rng.integers(0, len(pool)))]
                start = int(rng.integers(0, len(other) + 1))
                found[at : at + size] = other[start : start + size]
    return bytes(found)
