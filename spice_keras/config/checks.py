"""Options that are valid alone but not together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spice_keras.config.protocol import part_config, roles_of
from spice_keras.config.schema import RunConfig, SelfConfig
from spice_keras.options import HUB_PREFIX, LITE0, PRETRAINED_FORMS, SOURCES, missing_feature


@dataclass(frozen=True)
class Problem:
    """One thing wrong: the options it concerns, and what is wrong with them."""

    paths: tuple[str, ...]
    message: str


def _pretrain_problems(config: RunConfig) -> Iterator[Problem]:
    batch, queue = config.pretrain.batch_size, config.pretrain.queue_size
    if batch is not None and queue is not None and queue % batch:
        yield Problem(
            ("pretrain.queue_size", "pretrain.batch_size"),
            f"the queue must be a multiple of the batch: {queue} is not a multiple of {batch}; "
            f"the nearest is {max(1, round(queue / batch)) * batch}",
        )
    groups = config.pretrain.bn_groups
    if batch is not None and batch % groups:
        yield Problem(
            ("pretrain.bn_groups", "pretrain.batch_size"),
            f"a batch of {batch} cannot be cut into {groups} equal groups",
        )


def _backbone_problems(config: RunConfig) -> Iterator[Problem]:
    if config.pretrain.enabled is False and not config.backbone.pretrained:
        yield Problem(
            ("pretrain.enabled", "backbone.name"),
            f"{config.backbone.name} has to be pretrained, because it comes without weights. "
            f"Backbones with weights: {PRETRAINED_FORMS}",
        )
    without_groups = missing_feature(config.backbone.name, "bn_groups")
    if config.pretrain.bn_groups > 1 and without_groups is not None:
        yield Problem(("pretrain.bn_groups", "backbone.name"), without_groups)
    own = config.semi.backbone
    if own is not None and config.semi.init == "pretrained" and own != config.backbone:
        yield Problem(
            ("semi.init", "semi.backbone"),
            "the pretrained weights belong to the backbone of the run: set semi.init to scratch, "
            "or semi.backbone to null",
        )


def _source_problems(config: RunConfig) -> Iterator[Problem]:
    data = config.data
    takes_path = SOURCES[data.source].takes_path
    if not takes_path and data.path is not None:
        yield Problem(
            ("data.path", "data.source"),
            f"the source {data.source} takes no path; "
            "for your own images set data.source to folder or arrays",
        )
    if takes_path and not data.path:
        yield Problem(
            ("data.path", "data.source"),
            f"the source {data.source} needs a path (on the command line: "
            f"--{'embeddings' if data.source == 'embeddings' else 'images'} PATH)",
        )
    if data.source == "embeddings" and config.semi.enabled:
        yield Problem(
            ("semi.enabled", "data.source"),
            "SPICE-Semi trains a network on images, and there are only embeddings; set it to false",
        )
    if data.source == "embeddings" and config.self_labeling.cached_views is not None:
        yield Problem(
            ("self.cached_views", "data.source"),
            "views are augmented images, and there are only embeddings; set it to null",
        )
    if data.labels == "from-folders" and data.source != "folder":
        yield Problem(
            ("data.labels", "data.source"),
            f"labels from-folders need the source folder. Received: {data.source}",
        )


def _part_problems(config: RunConfig) -> Iterator[Problem]:
    """Options of the parts of a data set, and of a kind of source."""
    data = config.data
    for option, value in (
        ("data.test_path", data.test_path),
        ("data.test_split", data.test_split),
        ("data.extra_path", data.extra_path),
        ("data.extra_split", data.extra_split),
    ):
        parts_by = option.rpartition("_")[2]
        sources = [source for source, kind in SOURCES.items() if kind.parts_by == parts_by]
        if value is not None and data.source not in sources:
            yield Problem(
                (option, "data.source"),
                f"belongs to the source {' or '.join(sources)}. Received: {data.source}; "
                "set it to null",
            )
    parts = {role: part_config(data, role) for role in roles_of(data)}
    if len({(part.path, part.split) for part in parts.values()}) < len(parts):
        yield Problem(
            ("data.path", "data.split"),
            f"two of the parts {', '.join(parts)} are the same images",
        )
    if data.classes is not None and data.source != "folder":
        yield Problem(
            ("data.classes", "data.source"),
            f"classes are sub-folders, so they need the source folder. Received: {data.source}",
        )
    if data.sample is not None and data.source != "embeddings":
        yield Problem(
            ("data.sample", "data.source"),
            f"samples are drawn from embeddings in shards. Received: the source {data.source}",
        )
    if data.label_key != "label" and data.source not in ("tfds", "tfrecord"):
        yield Problem(
            ("data.label_key", "data.source"),
            "names a feature of TensorFlow Datasets or TFRecord, so it needs the source tfds or "
            f"tfrecord. Received: {data.source}",
        )


def _protocol_problems(config: RunConfig) -> Iterator[Problem]:
    """Options that ask for parts of the data that are not named."""
    data = config.data
    if data.protocol == "split" and not data.has_test:
        yield Problem(
            ("data.protocol",),
            "the protocol split reports on test images; name them with data.test_path "
            "(folders, arrays) or data.test_split (TensorFlow Datasets)",
        )
    if data.deduplicate and not (data.has_test and data.has_extra):
        yield Problem(
            ("data.deduplicate",),
            "compares extra images with test images and needs both parts",
        )
    if config.semi.use_extra and not data.has_extra:
        yield Problem(
            ("semi.use_extra",),
            "there are no extra images; name them with data.extra_path or data.extra_split",
        )


def _word_problems(config: RunConfig) -> Iterator[Problem]:
    """Nouns need a text encoder, and one source of words is enough."""
    words = config.words
    if words.nouns is None:
        if words.underscores:
            yield Problem(
                ("words.underscores", "words.nouns"),
                "only nouns that a text encoder reads are spelled with underscores; give them with "
                "words.nouns, or leave words.underscores false",
            )
        return
    if words.vocabulary is not None:
        yield Problem(
            ("words.nouns", "words.vocabulary"),
            "both give the words of the run; leave one null",
        )
    elif not config.backbone.name.startswith(HUB_PREFIX) or config.data.source == "embeddings":
        yield Problem(
            ("words.nouns", "backbone.name"),
            "nouns are read by the text encoder of an image-text model, such as "
            "backbone.name=hub:clip_vit_base_patch32; for others give their vectors with "
            "words.vocabulary",
        )
    odd = [prompt for prompt in words.prompts if prompt.count("{}") != 1]
    if odd:
        yield Problem(
            ("words.prompts",), f"each prompt has one {{}} for the noun; {odd[0]!r} has not"
        )


def _size_problems(section: SelfConfig) -> Iterator[Problem]:
    if section.sizes == "even":
        return
    used = {"neighbors" if section.refine_epochs else section.objective, section.objective}
    weights = {
        "neighbors": ("self.neighbors.entropy_weight", section.neighbors.entropy_weight),
        "sic": ("self.sic.entropy_weight", section.sic.entropy_weight),
    }
    for part, (option, weight) in weights.items():
        if part in used and weight is not None:
            yield Problem(
                ("self.sizes", option),
                f"sizes {section.sizes} name a weight of their own; leave entropy_weight null",
            )
    if section.sizes == "auto" and section.refine_epochs:
        yield Problem(
            ("self.sizes", "self.refine_epochs"),
            "the refinement trains heads for one or the other; choose even or uneven, or set "
            "self.refine_epochs to 0",
        )


def _self_problems(config: RunConfig) -> Iterator[Problem]:
    section = config.self_labeling
    neighbors = section.objective == "neighbors"
    if section.large_batch < config.num_clusters and not neighbors:
        yield Problem(
            ("self.large_batch", "num_clusters"),
            f"M must hold at least one image for each cluster: {section.large_batch} < "
            f"{config.num_clusters}",
        )
    if neighbors and section.start != "random" and config.head_input_scale == "none":
        yield Problem(
            ("self.input_scale", "self.start"),
            f"heads that begin at {section.start} compare directions: leave the scale null, or "
            "set it to unit",
        )
    yield from _size_problems(section)
    cached = section.objective != "prototypes"
    length = "self.neighbors.epochs" if neighbors else "self.sic.epochs"
    if cached and section.refine_epochs:
        yield Problem(
            ("self.refine_epochs", "self.objective"),
            f"the objective {section.objective} asks neighbours already; set it to 0 and the "
            f"length with {length}",
        )
    if cached and section.cached_views is None and config.data.source != "embeddings":
        yield Problem(
            ("self.cached_views", "self.objective"),
            f"the objective {section.objective} trains on cached features; "
            "for example self.cached_views={weak: 4, strong: 6}",
        )
    if section.objective == "sic" and not config.has_words:
        yield Problem(
            ("self.objective", "words.vocabulary"),
            "SIC needs words in the space of the embeddings; name a file with words.vocabulary, "
            f"or take the encoder {LITE0} as it comes",
        )


def _variant_problems(config: RunConfig) -> Iterator[Problem]:
    """Variants of SPICE-Self that change the encoder, and true labels for SPICE-Semi."""
    section, semi = config.self_labeling, config.semi
    option = "self.train_encoder" if section.train_encoder else "self.batch_norm"
    moves = section.train_encoder or section.batch_norm == "adapt"
    if moves and section.objective != "prototypes":
        yield Problem(
            (option, "self.objective"),
            f"the objective {section.objective} trains on a frozen encoder",
        )
    if moves and config.data.source == "embeddings":
        yield Problem((option, "data.source"), "embeddings have no encoder to change")
    if moves and section.cached_views is not None:
        yield Problem(
            (option, "self.cached_views"),
            "cached views are features of a frozen encoder; set them to null",
        )
    if moves and section.refine_epochs:
        yield Problem(
            (option, "self.refine_epochs"),
            "the refinement trains on embeddings of the pretrained encoder; set it to 0",
        )
    if semi.enabled and semi.labels_from == "source" and config.data.gives_no_labels:
        yield Problem(
            ("semi.labels_from", "data.labels"),
            "asks for true labels and data.labels gives none (for folders: from-folders)",
        )


def _strategy_problems(config: RunConfig) -> Iterator[Problem]:
    """What several devices cannot train."""
    if config.strategy == "none":
        return
    if not (config.trains_encoder or config.encodes_in_steps or config.semi.enabled):
        yield Problem(
            ("strategy",),
            "only heads on features are trained here, which one device does; set it to none",
        )
    if config.strategy == "multiworker" and config.semi.labels_from != "reliable":
        yield Problem(
            ("strategy", "semi.labels_from"),
            f"labels from {config.semi.labels_from} are read on one host; set strategy to none or "
            "mirrored",
        )
    section = config.self_labeling
    if section.train_encoder or section.batch_norm == "adapt":
        option = "self.train_encoder" if section.train_encoder else "self.batch_norm"
        yield Problem(
            ("strategy", option),
            "an encoder that changes along with the heads trains on one device; set strategy to "
            "none",
        )
    trained = {"backbone.name": config.backbone} if config.trains_encoder else {}
    if config.semi.enabled:
        trained["semi.backbone.name"] = config.semi.backbone or config.backbone
    for option, backbone in trained.items():
        if missing_feature(backbone.name, "bn_groups") is not None:
            yield Problem(
                ("strategy", option),
                f"the batch normalisation of {backbone.name} cannot be shared between devices; "
                "choose a backbone such as resnet18, or set strategy to none",
            )


def problems_between_options(config: RunConfig) -> list[Problem]:
    """List the combinations of options that cannot work, whatever the data.

    Args:
        config: A configuration whose single options are valid.

    Returns:
        The problems, in the order of the stages.
    """
    return [
        *_source_problems(config),
        *_part_problems(config),
        *_protocol_problems(config),
        *_backbone_problems(config),
        *_pretrain_problems(config),
        *_self_problems(config),
        *_word_problems(config),
        *_variant_problems(config),
        *_strategy_problems(config),
    ]
