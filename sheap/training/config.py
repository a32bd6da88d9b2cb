"""All settings of training, checked once and stored with every model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sheap.precision import Precision


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LossWeights(_Config):
    """What each term counts; 0 leaves it out. Units and formulas: sheap/losses, one file a term."""

    landmarks: float = Field(20.0, ge=0)
    calibration: float = Field(0.05, ge=0)
    photometric: float = Field(1.0, ge=0)
    ssim: float = Field(0.2, ge=0)
    lpips: float = Field(0.1, ge=0)
    dinov2: float = Field(0.1, ge=0)
    normals: float = Field(0.05, ge=0)
    depth: float = Field(2.0, ge=0)
    alpha: float = Field(0.5, ge=0)
    shape_prior: float = Field(1.0, ge=0)
    population_prior: float = Field(2.0, ge=0)
    identity_consistency: float = Field(3.0, ge=0)
    expression_prior: float = Field(1.0, ge=0)
    pose_prior: float = Field(0.1, ge=0)
    eyelid_prior: float = Field(0.01, ge=0)
    lighting_prior: float = Field(0.002, ge=0)
    offset: float = Field(0.01, ge=0)
    scale: float = Field(0.1, ge=0)
    opacity: float = Field(0.01, ge=0)


class PhaseConfig(_Config):
    """A stretch of steps with one batch size (pairs of each worker)."""

    steps: int = Field(ge=0)
    batch_size: int = Field(ge=1)
    rendered_pairs: int = Field(ge=0)
    """How many pairs of the batch are rendered; the rest count by their landmarks alone, which is far cheaper."""

    @model_validator(mode="after")
    def _check(self) -> PhaseConfig:
        if self.rendered_pairs > self.batch_size:
            raise ValueError(f"rendered_pairs {self.rendered_pairs} is more than batch_size {self.batch_size}")
        return self


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


class TrainingConfig(_Config):
    """One training run: a landmark phase, which finds pose and shape fast, then the rendered phase."""

    seed: int = Field(ge=0)
    landmark_phase: PhaseConfig
    rendered_phase: PhaseConfig
    both_ways: bool
    """Landmarks of the target's identity moved as the source too: twice the evidence for one pass of the encoder."""
    free_offset: float = Field(ge=0)
    """Face extents a Gaussian may stand off its face unpunished."""
    largest_scale: float = Field(gt=0)
    """Face extents a Gaussian may be wide (one sigma) unpunished."""
    weights: LossWeights
    optimizer: OptimizerConfig
    densify: DensifyConfig
    precision: Precision = "auto"
    """Of the networks' matrix products; geometry, rasteriser and losses are float32 always. auto: bfloat16 on a GPU."""
    compile: bool = False
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
        return self

    @property
    def total_steps(self) -> int:
        return self.landmark_phase.steps + self.rendered_phase.steps

    def phase_of(self, step: int) -> PhaseConfig:
        """The phase that step number `step` (from 0) belongs to."""
        return self.landmark_phase if step < self.landmark_phase.steps else self.rendered_phase
