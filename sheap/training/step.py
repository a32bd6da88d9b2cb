"""One training step: source's identity in the target's expression and pose, compared with the target (method.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from sheap.data.frames import Frames, Pairs
from sheap.geometry.cameras import Cameras, project
from sheap.head import HeadModel
from sheap.losses.alpha import alpha_loss
from sheap.losses.dinov2_distance import dinov2_distance
from sheap.losses.gaussian_regularisers import offset_regulariser, opacity_regulariser, scale_regulariser
from sheap.losses.geometry_consistency import depth_consistency, normal_consistency
from sheap.losses.landmarks import landmark_loss, visibility_weights
from sheap.losses.near_start import near_start
from sheap.losses.photometric import photometric_loss
from sheap.losses.priors import (
    expression_prior,
    eyelid_prior,
    identity_consistency,
    lighting_prior,
    population_prior,
    pose_prior,
    shape_prior,
)
from sheap.losses.shape_metric import ShapeMetric
from sheap.losses.ssim import ssim_loss
from sheap.networks.head_codes import HeadCodes, reenact
from sheap.networks.head_render import HeadRender
from sheap.networks.reenactment import Reenactor
from sheap.networks.sheap_network import GaussianHead, SheapNetwork
from sheap.render.mesh import mesh_depth, rasterize_mesh
from sheap.render.types import RenderedViews
from sheap.training.config import LossWeights, TrainingConfig
from sheap.training.supervision import truth_terms

if TYPE_CHECKING:
    from sheap.losses.lpips import Lpips
    from sheap.networks.dinov2 import Dinov2Features

Terms = dict[str, Callable[[], Tensor]]
"""Loss terms, each by its weight's name, computed when called: what counts nothing costs nothing."""


@dataclass(frozen=True)
class Models:
    """What a step works with. Frozen networks are None where no weights were given: their terms are then left out.
    shape_metric: how wrong a shape is; None where nothing is supervised. held_out_metric: the same for held-out pairs, which may
    be judged by truth that teaches nothing. anchor: weights to stay near, by name; none where that counts nothing."""

    network: SheapNetwork
    landmark_head: HeadModel
    cameras: Cameras
    dinov2: Dinov2Features | None = None
    lpips: Lpips | None = None
    shape_metric: ShapeMetric | None = None
    held_out_metric: ShapeMetric | None = None
    anchor: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def reenactor(self) -> Reenactor:
        return Reenactor(self.network, self.cameras, self.dinov2)


@dataclass(frozen=True)
class StepResult:
    """loss: scalar. terms: before their weights, those whose weight is not 0. head: the rendered pairs' heads, else None."""

    loss: Tensor
    terms: dict[str, Tensor]
    head: HeadRender | None = None


def training_step(
    models: Models, pairs: Pairs, background: Tensor, config: TrainingConfig, rendered_pairs: int
) -> StepResult:
    """Terms and loss of B pairs, of which the first `rendered_pairs` are rendered over `background` [B, 3].

    Pure: no update, no drawing, no I/O. Raises ValueError when the weights of every term are 0.
    """
    source, target = models.reenactor.encode(pairs.source.colors(), pairs.target.colors())
    terms = computed(landmark_terms(models, source, target, pairs, config.both_ways), config.weights)
    terms |= computed(prior_terms(source, target), config.weights)
    if models.shape_metric is not None:
        supervised = truth_terms(
            models.network, models.landmark_head, models.cameras, models.shape_metric, source, target, pairs
        )
        terms |= computed(supervised, config.weights)
    terms |= computed(start_terms(models), config.weights)
    head = None
    if rendered_pairs:
        seen, behind = pairs.first(rendered_pairs), background[:rendered_pairs]
        codes = reenact(source.first(rendered_pairs), target.first(rendered_pairs))
        head = models.reenactor.draw(codes, seen.source.colors(), behind)
        terms |= computed(picture_terms(models, head, codes, seen, behind), config.weights)
        if head.gaussians is not None and head.views is not None:
            terms |= computed(gaussian_terms(models, head.gaussians, head.views, head.vertices, config), config.weights)
    if not terms:
        raise ValueError("training.weights: every term of this phase has weight 0; nothing can be learnt")
    loss = cast("Tensor", sum(getattr(config.weights, name) * term for name, term in terms.items()))
    return StepResult(loss, terms, head)


def computed(terms: Terms, weights: LossWeights) -> dict[str, Tensor]:
    """The values of those terms whose weight is not 0, in their order."""
    return {name: term() for name, term in terms.items() if getattr(weights, name) > 0}


def landmark_terms(models: Models, source: HeadCodes, target: HeadCodes, pairs: Pairs, both_ways: bool) -> Terms:
    """Landmarks of the source's identity moved as the target; `both_ways` adds the target's identity moved as the source."""
    head, cameras, calibration = models.landmark_head, models.cameras, models.network.landmark_calibration

    def landmarks() -> Tensor:
        cases: list[tuple[HeadCodes, Frames]] = [(reenact(source, target), pairs.target)]
        if both_ways:
            cases.append((reenact(target, source), pairs.source))
        params = HeadCodes.concatenate([codes for codes, _ in cases]).params
        vertices = head(params).vertices
        points = calibration(head.landmarks(vertices), vertices, head.faces, params.turn)
        predicted, _ = project(points, cameras)
        detected = torch.cat([frames.landmarks[..., :2] for _, frames in cases])
        weights = head.landmark_weights * visibility_weights(vertices[:, head.faces], camera_center(cameras))
        return landmark_loss(predicted[:, 0], detected, weights, cameras.height)

    return {"landmarks": landmarks, "calibration": calibration.size}


def prior_terms(source: HeadCodes, target: HeadCodes) -> Terms:
    """Every code of both frames against what heads are like."""
    both = HeadCodes.concatenate([source, target]).params
    terms: Terms = {
        "shape_prior": lambda: shape_prior(both.shape),
        "population_prior": lambda: population_prior(both.shape),
        "identity_consistency": lambda: identity_consistency(source.params.shape, target.params.shape),
        "expression_prior": lambda: expression_prior(both.expression),
    }
    eyelids, neck = both.eyelids, both.neck_rotvec
    if eyelids is not None:
        terms["eyelid_prior"] = lambda: eyelid_prior(eyelids)
    if neck is not None:
        gazes = [turn for turn in (both.eye_left_rotvec, both.eye_right_rotvec) if turn is not None]
        terms["pose_prior"] = lambda: pose_prior(neck, both.jaw_rotvec, torch.cat(gazes) if gazes else None)
    return terms


def start_terms(models: Models) -> Terms:
    """The network's weights against those that it began with."""
    if not models.anchor:
        return {}
    weights = dict(models.network.named_parameters())
    return {"near_start": lambda: near_start([weights[name] for name in models.anchor], models.anchor.values())}


def picture_terms(models: Models, head: HeadRender, codes: HeadCodes, pairs: Pairs, background: Tensor) -> Terms:
    """The rendered head against the target's foreground."""
    rendered, wanted = head.color, pairs.target.over(background)
    if head.gaussians is None:
        # A mesh has neither hair nor a differentiable outline: it is judged where it covers the head.
        seen = head.alpha * pairs.target.coverage()
        rendered = rendered * seen + wanted * (1 - seen)
    lpips, dinov2 = models.lpips, models.dinov2
    terms: Terms = {
        "photometric": lambda: photometric_loss(rendered, wanted),
        "ssim": lambda: ssim_loss(rendered, wanted),
        "lighting_prior": lambda: lighting_prior(codes.lighting),
    }
    if lpips:
        terms["lpips"] = lambda: lpips(rendered, wanted)
    if dinov2:
        terms["dinov2"] = lambda: dinov2_distance(rendered, wanted, dinov2)
    if head.gaussians is not None:
        terms["alpha"] = lambda: alpha_loss(head.alpha, pairs.target.coverage())
    return terms


def gaussian_terms(
    models: Models, gaussians: GaussianHead, views: RenderedViews, vertices: Tensor, config: TrainingConfig
) -> Terms:
    """Gaussians against the mesh they are bound to: the consistency terms and the regularisers."""
    faces, cameras, attributes = models.network.head.faces, models.cameras, gaussians.attributes

    def depth() -> Tensor:
        fragments = rasterize_mesh(vertices, faces, cameras)
        on_mesh = mesh_depth(vertices, faces, cameras, fragments)
        return depth_consistency(views.depth, on_mesh, views.alpha.detach() * fragments.mask[..., None])

    def normals() -> Tensor:
        face_normals = gaussians.frames.rotations[..., 2]
        return normal_consistency(gaussians.rigged.normals, face_normals, attributes.opacities.detach())

    return {
        "normals": normals,
        "depth": depth,
        "offset": lambda: offset_regulariser(attributes.offsets, config.free_offset),
        "scale": lambda: scale_regulariser(attributes.scales, config.largest_scale),
        "opacity": lambda: opacity_regulariser(attributes.opacities),
    }


def camera_center(cameras: Cameras) -> Tensor:
    """Where the one camera stands in the world, [3] metres."""
    world_to_cam = cameras.world_to_cam[0]
    return -world_to_cam[:3, :3].T @ world_to_cam[:3, 3]
