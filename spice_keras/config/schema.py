"""The whole run as one frozen, typed, strict configuration.

Defaults are the values of the SPICE paper where it is explicit and of its released code where
the paper is silent. A configuration file states only where it differs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
)

from spice_keras.config.class_lists import check_folder_names, expand_classes
from spice_keras.options import (
    DEFAULT_PROMPTS,
    ENTROPY_WEIGHTS,
    BackboneOptions,
    Balance,
    Fit,
    Guide,
    InputScale,
    Labels,
    LabelsFrom,
    MapMethod,
    MocoPolicy,
    Objective,
    Options,
    PolicyField,
    Positive,
    PositiveFloat,
    Precision,
    Protocol,
    Search,
    SelfVariant,
    SemiInit,
    Share,
    Source,
    SpicePolicy,
    Start,
    Strategy,
    TableFormat,
    ValueRange,
    WeakPolicy,
    may_have_words,
)

Classes = Annotated[
    tuple[str, ...],
    Field(strict=False),
    BeforeValidator(expand_classes),
    AfterValidator(check_folder_names),
]


class DataConfig(Options):
    """Where the images, or embeddings, come from, and the one size images are brought to."""

    source: Source = "digits"
    """What the items are and where they come from; `--images` and `--embeddings` set it."""
    path: str | None = None
    """The folder, list, shards, .npy/.npz file of images or embeddings, or the TensorFlow Datasets
    name."""
    split: str = "train"
    """TensorFlow Datasets only; `train+test` joins two."""
    sample: Annotated[int, Field(ge=2)] | None = None
    """Embeddings in shards only: rows that heads are trained, chosen and reported on. The chosen
    head then sorts all others. null: every row."""
    protocol: Protocol = "whole"
    """`whole`: train and test images are one set, clustered and reported. `split`: every stage
    sees the train images alone, and the finished model's clusters of the test images are
    reported."""
    test_path: str | None = None
    """The test images: a folder or file of the same kind as `path`."""
    test_split: str | None = None
    """TensorFlow Datasets only: the split that holds the test images."""
    extra_path: str | None = None
    """More images, without labels, that pretraining sees as well."""
    extra_split: str | None = None
    """TensorFlow Datasets only: the split that holds the extra images."""
    deduplicate: bool = False
    """Leave out extra images whose pixels, at `image_size`, are those of a test image."""
    classes: Classes | None = None
    """Folders only: the sub-folders to read, or a list's name, `imagenet10` or `imagenet_dogs`."""
    label_key: str = "label"
    """TensorFlow Datasets and TFRecord only: the feature that holds the class, for evaluation."""
    tfds_dir: str | None = None
    """The folder of prepared TensorFlow Datasets; null: its default folder."""
    image_size: Annotated[int, Field(ge=8, le=512)] = 32
    """Side of the squares that images are brought to, in pixels."""
    fit: Fit = "crop"
    """`crop` keeps the proportions and cuts the longer side; `stretch` does not."""
    labels: Labels = "source"
    """What evaluation may compare with. A plain folder has no labels unless `from-folders`."""
    range: ValueRange | None = None
    """`[LOW, HIGH]`: what is black and white in pictures of more than eight bits, [0, 4095] for
    one. null: what each file states, else the fewest bits that hold the values of all files."""
    max_pixels: Positive = 100_000_000
    """A larger picture is skipped: a guard against decompression bombs."""
    max_skipped_share: Share = 0.2
    """A run stops if a larger share of the files cannot be used."""
    memory_limit_mb: Annotated[int, Field(ge=0)] = 1024
    """Above this the images stay on disk, memory-mapped."""

    @property
    def has_test(self) -> bool:
        """Whether there is a part of test images."""
        return bool(self.test_path or self.test_split)

    @property
    def has_extra(self) -> bool:
        """Whether there is a part of extra, unlabelled images."""
        return bool(self.extra_path or self.extra_split)

    @property
    def gives_no_labels(self) -> bool:
        """Whether the options alone say that there are no labels."""
        return self.labels == "none" or (self.source == "folder" and self.labels != "from-folders")


class CachedViewsConfig(Options):
    """Augmented copies of every image, encoded once before the heads train."""

    weak: Annotated[int, Field(ge=0)] = 4
    """Weak copies of each image."""
    strong: Annotated[int, Field(ge=0)] = 6
    """Strong copies of each image."""


class NeighborsConfig(Options):
    """Neighbour consistency (SCAN), for `self.objective: neighbors`."""

    num_neighbors: Positive = 10
    """Neighbours of an item that it is paired with; at most half an even cluster."""
    entropy_weight: Annotated[float, Field(ge=0.0)] | None = None
    """Larger: more even clusters. null: what `self.sizes` says, .7 or .3."""
    hidden_dim: Positive | None = None
    """Width of the heads' hidden layer; null: linear heads."""
    batch_size: Positive | None = None
    """Pairs of a step; null: 256, or ten for each cluster if that is more."""
    epochs: Positive | None = None
    """Passes over the items; null: 60, coming down to 10 as the items grow beyond 15,000."""
    learning_rate: PositiveFloat = 0.001
    """Learning rate of Adam."""


class SicConfig(Options):
    """Semantic-enhanced image clustering (SIC), for `self.objective: sic`; as released."""

    epochs: Positive = 100
    """Passes over the items."""
    learning_rate: PositiveFloat = 1e-4
    """Learning rate of Adam."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    """Factor of the L2 penalty on the heads."""
    batch_size: Positive = 128
    """Pairs of a step."""
    num_neighbors: Positive = 20
    """Neighbours that an item's partner is drawn from, beside itself."""
    words_per_center: Positive = 500
    """gamma_r: words near each centre of k-means that are taken into account."""
    uniqueness: Share = 0.05
    """gamma_u: words whose cosine to the mean of all words is 1 - gamma_u or more are left out."""
    confident_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    """xi_c: share of an even cluster that makes its image centre."""
    words_per_cluster: Positive = 30
    """xi_a: words that make a semantic centre."""
    entropy_weight: Annotated[float, Field(ge=0.0)] | None = None
    """lambda: larger, more even clusters. null: what `self.sizes` says, 5 or 2."""
    label_weight: Annotated[float, Field(ge=0.0)] = 0.1
    """beta: weight of the cross-entropy with the labels of the semantic centres."""
    temperature: PositiveFloat | None = None
    """Of softened labels; null: the most similar centre alone."""
    unit_features: bool = False
    """Whether items count at unit length."""
    start_alpha: PositiveFloat | None = 0.05
    """Sharpness of a start at centres; null: what makes heads 70 % sure on average."""


class SelfConfig(SelfVariant):
    """Self-labelling (stage 2): clustering heads on the frozen encoder."""

    objective: Objective = "prototypes"
    """`prototypes` is SPICE-Self, the paper's; `neighbors` is SCAN's, for pretrained features;
    `sic` is SIC's, neighbours and words together."""
    start: Start = "random"
    """Where the heads begin: each at another restart of k-means, plain, balanced, or on the
    eigenvectors of the neighbour graph; `mixed`: half of them there, half at plain k-means;
    `words`: at K words that cover the images if `words.guide` lets them, else as `mixed`."""
    num_heads: Positive = 10
    """H: heads trained independently, of which one is kept."""
    input_scale: InputScale | None = None
    """The space in which items are compared, and that heads read. `none`: features as they are;
    `unit`: L2-normalised, times sqrt(D); `center`: then the mean is taken away, and they are
    normalised again; `root-center`: the same of square roots. null: `none` if the objective is
    `prototypes` and the encoder was trained here, else `root-center` if no feature is negative,
    and `unit` if one is."""
    select_from: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the epochs that pass before heads are compared; the paper compares in all."""
    weak: PolicyField = WeakPolicy()
    """Policy of the views that make the pseudo-labels."""
    strong: PolicyField = SpicePolicy()
    """Policy of the views that train the heads."""
    cached_views: CachedViewsConfig | None = None
    """null: every iteration draws new views and passes them through the encoder."""
    feature_batch: Positive = 256
    """Images per pass of the frozen encoder; memory only."""
    checkpoint_every: Positive = 5
    """Epochs between two checkpoints."""
    neighbors: NeighborsConfig = NeighborsConfig()
    """Options of the objective `neighbors`."""
    sic: SicConfig = SicConfig()
    """Options of the objective `sic`; those below are for `prototypes`."""
    refine_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs of neighbour consistency after SPICE-Self, on its heads; not in the paper."""
    hidden_dim: Positive | None = None
    """null: the encoder's width, as in the paper (D x D, D x k)."""
    large_batch: Positive = 1000
    """M: images of one iteration of Algorithm 1."""
    confident_ratio: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """r: share of M/K images whose mean embedding is a cluster's prototype (Eq. 1)."""
    batch_size: Positive = 128
    """Pseudo-labelled images of one optimizer step."""
    num_repeats: Positive = 8
    """Passes over the pseudo-labels of one large batch."""
    epochs: Positive = 100
    """Passes over all images."""
    learning_rate: PositiveFloat = 0.005
    """Learning rate of Adam."""

    @property
    def entropy_weight_of_refinement(self) -> float:
        """Weight of the entropy of the clusters' shares in the refinement."""
        stated = self.neighbors.entropy_weight
        return ENTROPY_WEIGHTS[self.sizes][0] if stated is None else stated

    def is_for_uneven(self, head: int | None) -> bool:
        """Whether the clusters of a head, of those the objective trains, may differ much in size.

        Args:
            head: Its number, as `Heads.head` gives it.

        Returns:
            What `sizes` says; for `auto`, whether the head is of the second half.
        """
        return self.sizes == "uneven" or (self.sizes == "auto" and (head or 0) >= self.num_heads)

    @property
    def moves_encoder(self) -> bool:
        """Whether the heads end on another encoder than the pretrained one."""
        return self.objective == "prototypes" and super().moves_encoder

    @property
    def variant(self) -> SelfVariant:
        """What SPICE-Self does differently from the paper."""
        return SelfVariant(**{name: getattr(self, name) for name in SelfVariant.model_fields})


class ReliableConfig(Options):
    """Reliable labels by local consistency (Eq. 5)."""

    num_neighbors: Annotated[int, Field(ge=2)] = 100
    """n_s: neighbours that are asked, the image itself among them."""
    consistency_threshold: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.95
    """A label is reliable only if a larger share of its neighbours has it; 0 asks for nothing."""
    confidence_threshold: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.99
    """A label is reliable only if the head is surer of it; 0 asks for nothing. Not in the paper."""
    min_per_cluster: Positive = 10
    """A cluster with fewer is repaired with its most consistent members. If clusters may be uneven,
    this is for one of average size, and others need as many as they are large."""
    balance: Balance = "none"
    """`min`: every cluster keeps as many labels as the smallest has (released code), or in
    proportion to its size if clusters may be uneven."""


class PretrainConfig(Options):
    """MoCo v2 (the paper's stage 1)."""

    enabled: bool | None = None
    """null: only if the backbone comes without weights. true trains on from the weights it has."""
    epochs: Positive | None = 1000
    """null: chosen from the number of images."""
    batch_size: Positive | None = 128
    """null: 128, or less for fewer than 512 images."""
    queue_size: Positive | None = 12800
    """Negatives. null: about half the images, at most 4096."""
    momentum: Share = 0.999
    """Share of the key encoder kept at each step."""
    temperature: PositiveFloat = 0.2
    """Divisor of the similarities in InfoNCE."""
    symmetric: bool = False
    """Whether each view is once the query and once the key."""
    projection_dim: Positive = 128
    """Width of the projection head's output, in which views are compared."""
    learning_rate: PositiveFloat = 0.015
    """Learning rate of SGD at the start; half a cosine brings it to 0."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    """Factor of the L2 penalty on all parameters."""
    bn_groups: Positive = 1
    """Split-BN: groups of the batch with statistics of their own; keys are shuffled then."""
    views: PolicyField = MocoPolicy()
    """Policy of both views."""
    quality_every: Positive = 10
    """Epochs between two label-free quality figures."""
    checkpoint_every: Positive = 5
    """Epochs between two checkpoints."""


class EmbedConfig(Options):
    """The embeddings' neighbours, by which heads train, start and are judged reliable."""

    neighbor_search: Search = "auto"
    """`exact` compares all pairs; `approximate` finds nearly all neighbours in much less time.
    `auto` is exact up to about two minutes of two cores."""
    recall: Annotated[float, Field(gt=0.0, le=1.0)] = 0.95
    """Share of the true neighbours that the approximate search must find. It is measured."""


class SemiConfig(Options):
    """SPICE-Semi (stage 3): FixMatch from the reliable labels."""

    enabled: bool = True
    """Whether the stage runs; if not, SPICE-Self's clusters are the result."""
    labels_from: LabelsFrom = "reliable"
    """`edits`: the reliable labels, corrected by the decisions of a review (edits.jsonl of the
    run). `source`: true labels of the data, a few per class, in place of the reliable ones. This
    is the semi-supervised comparison of Table 3, not clustering. Nothing else trains on labels."""
    labels_per_class: Positive = 25
    """Only for `labels_from: source`; the paper has 25 (CIFAR-10) and 100 (STL-10)."""
    init: SemiInit = "scratch"
    """Where the network starts: at drawn weights (paper), or at the pretrained encoder."""
    backbone: BackboneOptions | None = None
    """null: the same network as pretraining."""
    steps: Positive = 1_048_576
    """Optimizer steps."""
    steps_per_epoch: Positive = 1024
    """Steps between two lines of the log, and between two checkpoints."""
    labeled_batch: Positive = 64
    """Labelled images of a step."""
    unlabeled_ratio: Positive = 7
    """mu: unlabelled images for each labelled one."""
    use_extra: bool = False
    """Whether the unlabelled images include the data's extra ones, which no stage clusters."""
    class_balanced: bool = False
    """Draw labelled images equally often from every cluster, or as often as it is large if
    clusters may be uneven."""
    threshold: Share = 0.95
    """An unlabelled image teaches only if its weak view is classified with at least this
    confidence."""
    unlabeled_weight: Annotated[float, Field(ge=0.0)] = 1.0
    """Weight of the unlabelled loss."""
    learning_rate: PositiveFloat = 0.03
    """Learning rate of SGD at the start."""
    sgd_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """Nesterov momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 5e-4
    """Factor of the L2 penalty on the kernels."""
    ema_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    """Share of the averaged network kept at each step; that network is the result."""
    weak: PolicyField = WeakPolicy()
    """Policy of labelled images and of the views that make the targets."""
    strong: PolicyField = SpicePolicy(num_ops=3)
    """Policy of the views that train on those targets."""


class EvaluateConfig(Options):
    """Figures of merit and the report."""

    kmeans_restarts: Positive = 10
    """Restarts of k-means, the baseline."""
    silhouette_samples: Positive = 2000
    """Items the silhouette is computed on."""
    map_method: MapMethod = "tsne"
    """How embeddings are drawn in the plane."""
    map_samples: Positive = 2000
    """Items drawn on the map."""
    prototypes_per_cluster: Positive = 8
    """Most typical images shown of each cluster."""
    table: TableFormat = "csv"
    """`parquet` writes the table of items as assignments.parquet too, which needs pyarrow."""


class WordsConfig(Options):
    """The words that clusters are named with, and that may guide them."""

    vocabulary: str | None = None
    """An .npz file of `names` and `vectors` in the space of the embeddings, or `none`. null: the
    encoder's own words, the rows of its classifier if it is as it came, or `nouns`."""
    nouns: str | None = None
    """A text file of nouns, one a line, or WordNet's index.noun, for the text encoder of a backbone
    such as hub:clip_vit_base_patch32."""
    prompts: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = DEFAULT_PROMPTS
    """Sentences the text encoder reads each noun in; several make an ensemble."""
    underscores: bool = False
    """Whether the text encoder reads guide_dog for guide dog, as in SIC's released code."""
    guide: Guide = "auto"
    """Whether clusters begin at the words if `self.start` is words. `auto`: if the encoder's own
    classifier has a likely word for half of the images; words of other origin need `always`."""


class ExportConfig(Options):
    """The SavedModel."""

    directory: str = "saved_models"
    """Folder that holds `NAME/VERSION`."""
    name: str | None = None
    """null: the run's name."""
    unsure_below: Share | None = None
    """Confidence below which an answer is told as unsure; null: calibrated on the run's items."""


class RunConfig(Options):
    """One run, whole."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "run"
    """Name of the run: of its folder below `runs/`, and of the SavedModel."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of everything random: weights, batches, views, starts."""
    num_clusters: Annotated[int, Field(ge=2)] = 10
    """K, the number of clusters."""
    precision: Precision = "auto"
    """What networks compute in. `auto`: bfloat16 if the processor has it, else float32."""
    strategy: Strategy = "none"
    """What shares the steps of MoCo, SPICE-Self and SPICE-Semi: `mirrored`, all GPUs of the
    machine; `multiworker`, the workers that `TF_CONFIG` lists. The result is that of one device, up
    to rounding."""
    data: DataConfig = DataConfig()
    backbone: BackboneOptions = BackboneOptions()
    pretrain: PretrainConfig = PretrainConfig()
    embed: EmbedConfig = EmbedConfig()
    self_labeling: SelfConfig = Field(default=SelfConfig(), alias="self")
    reliable: ReliableConfig = ReliableConfig()
    semi: SemiConfig = SemiConfig()
    words: WordsConfig = WordsConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    export: ExportConfig = ExportConfig()

    @property
    def model_folder(self) -> Path:
        """Where the versions of the SavedModel lie."""
        return Path(self.export.directory) / (self.export.name or self.name)

    @property
    def trains_encoder(self) -> bool:
        """Whether there is a MoCo stage: not on embeddings, not if it is switched off."""
        asked = self.pretrain.enabled
        wanted = not self.backbone.pretrained if asked is None else asked
        return wanted and self.data.source != "embeddings"

    @property
    def encodes_in_steps(self) -> bool:
        """Whether SPICE-Self encodes views in every step, and does not read cached features."""
        section = self.self_labeling
        prototypes = section.objective == "prototypes" and section.cached_views is None
        return prototypes and self.data.source != "embeddings"

    @property
    def has_words(self) -> bool:
        """Whether there may be words in the space of the embeddings: a file's, or the encoder's."""
        if self.words.vocabulary is not None:
            return self.words.vocabulary != "none"
        if self.words.nouns is not None:
            return True
        own = may_have_words(self.backbone.name) and self.data.source != "embeddings"
        return own and not self.trains_encoder

    @property
    def head_input_scale(self) -> InputScale | None:
        """What the heads do to their input; None if the features decide."""
        if self.self_labeling.input_scale is not None:
            return self.self_labeling.input_scale
        if self.self_labeling.objective == "sic":
            return None if self.self_labeling.sic.unit_features else "none"
        own = not self.backbone.pretrained and self.data.source != "embeddings"
        return "none" if own and self.self_labeling.objective == "prototypes" else None

    def as_dict(self) -> dict[str, Any]:
        """Return the configuration as the nested dictionary a YAML file would hold."""
        return self.model_dump(mode="json", by_alias=True)
