"""All settings of training, checked once and stored with every model. They have no defaults here: params.yaml says them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sheap.data.augment import AugmentParams
from sheap.networks.config import PRESETS, NetworkConfig
from sheap.precision import Precision


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LossWeights(_Config):
    """What each term counts; 0 leaves it out. Units and formulas: sheap/losses, one file a term."""

    landmarks: float = Field(ge=0)
    calibration: float = Field(ge=0)
    photometric: float = Field(ge=0)
    ssim: float = Field(ge=0)
    lpips: float = Field(ge=0)
    dinov2: float = Field(ge=0)
    normals: float = Field(ge=0)
    depth: float = Field(ge=0)
    alpha: float = Field(ge=0)
    shape_prior: float = Field(ge=0)
    population_prior: float = Field(ge=0)
    identity_consistency: float = Field(ge=0)
    expression_prior: float = Field(ge=0)
    pose_prior: float = Field(ge=0)
    eyelid_prior: float = Field(ge=0)
    lighting_prior: float = Field(ge=0)
    offset: float = Field(ge=0)
    scale: float = Field(ge=0)
    opacity: float = Field(ge=0)
    truth_shape: float = Field(ge=0)
    truth_fused_shape: float = Field(ge=0)
    truth_points: float = Field(ge=0)
    truth_landmarks: float = Field(ge=0)
    truth_motion: float = Field(ge=0)
    near_start: float = Field(ge=0)


class PhaseConfig(_Config):
    """A stretch of steps with one batch size."""

    steps: int = Field(ge=0)
    batch_size: int = Field(ge=1)
    """Pairs of a step, all workers together: their number changes who computes, not what is learnt."""
    rendered_pairs: int = Field(ge=0)
    """How many pairs of the batch are rendered; the rest count by their landmarks alone, which is far cheaper."""

    @model_validator(mode="after")
    def _check(self) -> PhaseConfig:
        if self.rendered_pairs > self.batch_size:
            raise ValueError(f"rendered_pairs {self.rendered_pairs} is more than batch_size {self.batch_size}")
        return self

    def share(self, num_workers: int) -> PhaseConfig:
        """One worker's part of every step. Raises ValueError naming the field that cannot be shared equally."""
        for name in ("batch_size", "rendered_pairs"):
            if (value := getattr(self, name)) % num_workers:
                raise ValueError(f"{name}: {value} pairs cannot be shared equally by {num_workers} workers")
        changes = {"batch_size": self.batch_size // num_workers, "rendered_pairs": self.rendered_pairs // num_workers}
        return self.model_copy(update=changes)


class OptimizerConfig(_Config):
    """AdamW: learning rates per part, linear warm-up, cosine to `final_fraction` of the peak."""

    encoder_lr: float = Field(gt=0)
    heads_lr: float = Field(gt=0)
    regressor_lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    warmup_steps: int = Field(ge=0)
    final_fraction: float = Field(ge=0, le=1)
    clip_norm: float = Field(gt=0)
    ema_decay: float = Field(ge=0, lt=1)
    max_skipped_steps: int = Field(ge=0)
    """Steps whose loss or gradient was not finite are skipped; more than this many end the run."""


class DensifyConfig(_Config):
    """Prototypes move every `every` rendered steps (0: never) until `until` of the run; `fraction` of them at a time."""

    every: int = Field(ge=0)
    fraction: float = Field(gt=0, lt=1)
    until: float = Field(ge=0, le=1)
    noise_scale: float = Field(ge=0)


class EarlyStopConfig(_Config):
    """Validation decides what is kept (sheap/training/early_stop.py); it begins with step 0."""

    patience: int = Field(ge=1)
    """Validations in a row that find nothing better; so many end the run."""
    judged_by: tuple[str, ...] = Field(min_length=1)
    """Terms on held-out pairs; those of the truth count where there is truth."""

    @field_validator("judged_by")
    @classmethod
    def _are_terms(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in LossWeights.model_fields or name == "near_start"]
        if unknown:
            raise ValueError(f"no term of held-out pairs is called {unknown[0]!r}")
        return names


class TrainingConfig(_Config):
    """One training run: a landmark phase, which finds pose and shape fast, then the rendered phase."""

    seed: int = Field(ge=0)
    landmark_phase: PhaseConfig
    rendered_phase: PhaseConfig
    hold_start: int = Field(ge=0)
    """Steps for which a predictor that training began with stays as it is, while what begins anew beside it (the Gaussians'
    regressor, what speaks to it, the landmarks' calibration) learns to use it. Of no effect from random values."""
    early_stop: EarlyStopConfig | None
    """None: training goes to its last step, and the last weights are kept."""
    both_ways: bool
    """Landmarks of the target's identity moved as the source too: twice the evidence for one pass of the encoder."""
    free_offset: float = Field(ge=0)
    """Face extents a Gaussian may stand off its face unpunished."""
    largest_scale: float = Field(gt=0)
    """Face extents a Gaussian may be wide (one sigma) unpunished."""
    weights: LossWeights
    optimizer: OptimizerConfig
    densify: DensifyConfig
    precision: Precision
    """Of the networks' matrix products; geometry, rasteriser and losses are float32 always. auto: bfloat16 on a GPU."""
    compile: bool
    """torch.compile for the encoder: the first step takes minutes more, every other one less."""
    log_every: int = Field(ge=1)
    validate_every: int = Field(ge=1)
    panels_every: int = Field(ge=1)
    checkpoint_every: int = Field(ge=1)

    @model_validator(mode="after")
    def _check(self) -> TrainingConfig:
        if self.landmark_phase.rendered_pairs:
            raise ValueError("landmark_phase.rendered_pairs: this phase renders nothing; it must be 0")
        if self.total_steps == 0:
            raise ValueError("landmark_phase.steps and rendered_phase.steps are both 0: nothing to train")
        for name in () if self.early_stop is None else self.early_stop.judged_by:
            if getattr(self.weights, name) == 0:
                raise ValueError(f"early_stop.judged_by: {name} has weight 0, so it is not computed")
        return self

    @property
    def total_steps(self) -> int:
        return self.landmark_phase.steps + self.rendered_phase.steps

    def phase_of(self, step: int) -> PhaseConfig:
        """The phase that step number `step` (from 0) belongs to."""
        return self.landmark_phase if step < self.landmark_phase.steps else self.rendered_phase

    def share(self, num_workers: int) -> TrainingConfig:
        """What one of several workers does. Raises ValueError naming phase and field where they cannot share equally."""
        shares = {}
        for name in ("landmark_phase", "rendered_phase"):
            phase: PhaseConfig = getattr(self, name)
            try:
                shares[name] = phase.share(num_workers if phase.steps else 1)
            except ValueError as error:
                raise ValueError(f"training.{name}.{error}") from None
        return self.model_copy(update=shares)


class PairConfig(_Config):
    """Which pairs are drawn, and how they are augmented."""

    least_gap: int = Field(ge=0)
    greatest_gap: int = Field(ge=1)
    across_clips: float = Field(ge=0, le=1)
    augment: AugmentParams | None
    """Null only resizes."""


class ReplayConfig(_Config):
    """Rehearsal of what a start was taught, so that a corpus does not make it forget."""

    share: float = Field(ge=0, lt=1)
    """Of every batch's pairs, those drawn from clips with truth and taught by it; the others come from clips without truth.
    0: none, and pairs come from all clips."""

    def pairs_of(self, batch_size: int) -> int:
        """How many pairs of a whole batch are replayed; every worker has an equal part of them."""
        return round(self.share * batch_size)


class DataConfig(_Config):
    """Where shards lie and how they are read."""

    shards: str
    """A folder, or an address that webdataset or fsspec knows."""
    reading: Literal["indexed", "streaming"]
    """indexed: any frame at any time, from local files (an address's shards are fetched into `cache_dir`, whole, when first
    needed). streaming: shards one after another, each clip whole, from anywhere; a pair a clip and epoch."""
    cache_dir: Path
    frame_cache_mb: int = Field(ge=0)
    """Decoded frames that each loading process keeps; of indexed reading."""
    shuffle_clips: int = Field(ge=1)
    """Clips among which the next one is drawn; of streaming."""


class WeightFiles(_Config):
    """Weights that a user has and the package does not ship; null leaves the part out (encoder: trains from scratch;
    head_model and face_landmarks: the ones that come with the installation)."""

    head_model: Path | None
    face_landmarks: Path | None
    encoder: Path | None
    dinov2: Path | None
    lpips_backbone: Path | None
    lpips_linear: Path | None
    illumination_prior: Path | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.lpips_backbone is None) != (self.lpips_linear is None):
            raise ValueError("lpips_backbone and lpips_linear go together")
        return self

    def named(self) -> dict[str, Path]:
        """The files and folders that are given."""
        return {name: path for name in type(self).model_fields if (path := getattr(self, name)) is not None}


class RunConfig(_Config):
    """A whole run: its network, its pairs, its weight files and its training."""

    preset: Literal["published", "compact", "small", "tiny"]
    start_from: Literal["shipped"] | Path | None
    """Weights to begin with: the shipped predictor's, or those of a model folder (a bundle or data/model) of the same preset;
    null begins from random values. The Gaussians' regressor always does."""
    supervision: Literal["truth", "none"]
    """truth: rendered frames teach by what is known of them (the truth_* terms), beside the self-supervised terms, which count
    for every frame. none: the paper's setting; truth is not even read, but for the pairs of `replay`."""
    replay: ReplayConfig
    appearance: Literal["gaussians", "mesh"]
    """How a head is drawn: the paper's Gaussians, or the mesh with a UV albedo (the baseline)."""
    regressor: Literal["graph", "mlp"]
    """Whether Gaussians hear of their neighbours."""
    gaussians_per_face: Annotated[int, Field(ge=1, le=6)] | None
    """At the start; null takes the preset's number."""
    data: DataConfig
    pairs: PairConfig
    weight_files: WeightFiles
    validation_pairs: int = Field(ge=0)
    panel_pairs: int = Field(ge=1, le=16)
    training: TrainingConfig

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.data.reading == "indexed" and self.data.shards.startswith("pipe:"):
            raise ValueError("data.shards: a command's output can only be streamed; set data.reading to streaming")
        if self.data.reading == "streaming" and self.pairs.across_clips > 0:
            raise ValueError("pairs.across_clips: a stream shows one clip at a time; set it to 0, or data.reading to indexed")
        if self.replay.share > 0:
            self._check_replay()
        return self

    def _check_replay(self) -> None:
        if self.data.reading == "streaming":
            raise ValueError("replay.share: a stream shows clips as they come; set it to 0, or data.reading to indexed")
        for name in ("landmark_phase", "rendered_phase"):
            phase: PhaseConfig = getattr(self.training, name)
            if phase.steps and not 0 < self.replay.pairs_of(phase.batch_size) < phase.batch_size:
                raise ValueError(
                    f"replay.share: {self.replay.share:g} of training.{name}.batch_size {phase.batch_size} leaves "
                    "replayed or other pairs without a place"
                )

    def require_shares(self, num_workers: int) -> None:
        """Raises ValueError naming the field whose pairs so many workers cannot share equally."""
        self.training.share(num_workers)
        for name in ("landmark_phase", "rendered_phase"):
            phase: PhaseConfig = getattr(self.training, name)
            if phase.steps and (count := self.replay.pairs_of(phase.batch_size)) % num_workers:
                raise ValueError(
                    f"replay.share: the {count} replayed pairs of training.{name}.batch_size {phase.batch_size} cannot be shared "
                    f"equally by {num_workers} workers"
                )

    @property
    def is_supervised(self) -> bool:
        """Whether training pairs are read with their truth, and taught by it."""
        return self.supervision == "truth" or self.replay.share > 0

    @property
    def is_judged_by_truth(self) -> bool:
        """Whether held-out pairs are read with their truth."""
        stop = self.training.early_stop
        return self.is_supervised or (stop is not None and any(name.startswith("truth_") for name in stop.judged_by))

    def network(self) -> NetworkConfig:
        """The preset with this run's changes."""
        preset = PRESETS[self.preset]
        count = self.gaussians_per_face or preset.regressor.gaussians_per_face
        regressor = preset.regressor.model_copy(update={"network": self.regressor, "gaussians_per_face": count})
        return preset.model_copy(update={"appearance": self.appearance, "regressor": regressor})

    @property
    def image_size(self) -> int:
        """Side of the crops that the network sees, px."""
        return self.network().encoder.image_size

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The same run with some settings changed, by dotted name (`training.weights.depth`).

        Raises ValueError for a name that does not exist or a value that is not allowed.
        """
        document = self.model_dump()
        for dotted, value in changes.items():
            *parents, last = dotted.split(".")
            inner = document
            for name in parents:
                inner = inner.get(name) if isinstance(inner, dict) else None
            if not isinstance(inner, dict) or last not in inner:
                raise ValueError(f"train.{dotted}: no such setting")
            inner[last] = value
        return type(self).model_validate(document)
