"""One training step: source's identity in the target's expression and pose, compared with the target (method.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sheap.geometry.cameras import Cameras, project
from sheap.head import HeadModel
from sheap.losses.alpha import alpha_loss
from sheap.losses.dinov2_distance import dinov2_distance
from sheap.losses.gaussian_regularisers import offset_regulariser, opacity_regulariser, scale_regulariser
from sheap.losses.geometry_consistency import depth_consistency, normal_consistency
from sheap.losses.landmarks import landmark_loss, visibility_weights
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
from sheap.losses.ssim import ssim_loss
from sheap.networks.head_codes import HeadCodes, reenact
from sheap.networks.head_render import HeadRender, render_head
from sheap.networks.sheap_network import GaussianHead, SheapNetwork
from sheap.render.mesh import mesh_depth, rasterize_mesh
from sheap.render.types import RenderedViews
from sheap.training.config import TrainingConfig
from sheap.training.inputs import Frames, Pairs


@dataclass(frozen=True)
class Models:
    """What a step works with. Frozen networks are None where no weights were given: their terms are then left out."""

    network: SheapNetwork
    landmark_head: HeadModel
    cameras: Cameras
    dinov2: Callable[[Tensor], Tensor] | None = None
    lpips: Callable[[Tensor, Tensor], Tensor] | None = None


@dataclass(frozen=True)
class StepResult:
    """loss: scalar. terms: every term before its weight. head: the rendered pairs' heads, else None."""

    loss: Tensor
    terms: dict[str, Tensor]
    head: HeadRender | None = None


def training_step(models: Models, pairs: Pairs, config: TrainingConfig, rendered_pairs: int) -> StepResult:
    """Terms and loss of B pairs, of which the first `rendered_pairs` are rendered. Pure: no update, no drawing, no I/O."""
    images = torch.cat([pairs.source.images, pairs.target.images]).permute(0, 3, 1, 2).contiguous()
    source, target = models.network.encode(images).split([len(pairs.source), len(pairs.target)])
    terms = landmark_terms(models, source, target, pairs, config.both_ways) | prior_terms(source, target)
    head = None
    if rendered_pairs:
        codes = reenact(source.first(rendered_pairs), target.first(rendered_pairs))
        rendered_terms, head = render_terms(models, codes, pairs.first(rendered_pairs), config)
        terms |= rendered_terms
    loss = sum(getattr(config.weights, name) * term for name, term in terms.items())
    return StepResult(loss, terms, head)


def landmark_terms(
    models: Models, source: HeadCodes, target: HeadCodes, pairs: Pairs, both_ways: bool
) -> dict[str, Tensor]:
    """Landmarks of the source's identity moved as the target; `both_ways` adds the target's identity moved as the source."""
    cases: list[tuple[HeadCodes, Frames]] = [(reenact(source, target), pairs.target)]
    if both_ways:
        cases.append((reenact(target, source), pairs.source))
    head, calibration = models.landmark_head, models.network.landmark_calibration
    params = HeadCodes.concatenate([codes for codes, _ in cases]).head_params()
    vertices = head(params).vertices
    points = calibration(head.landmarks(vertices), vertices, head.faces, params.root_rotvec + params.neck_rotvec)
    predicted, _ = project(points, models.cameras)
    detected = torch.cat([frames.landmarks for _, frames in cases])
    weights = head.landmark_weights * visibility_weights(vertices[:, head.faces], camera_center(models.cameras))
    return {
        "landmarks": landmark_loss(predicted[:, 0], detected, weights, models.cameras.height),
        "calibration": calibration.size(),
    }


def prior_terms(source: HeadCodes, target: HeadCodes) -> dict[str, Tensor]:
    """Every code of both frames against what heads are like."""
    both = HeadCodes.concatenate([source, target])
    eyes = torch.cat([both.eye_left_rotvec, both.eye_right_rotvec])
    return {
        "shape_prior": shape_prior(both.shape),
        "population_prior": population_prior(both.shape),
        "identity_consistency": identity_consistency(source.shape, target.shape),
        "expression_prior": expression_prior(both.expression),
        "eyelid_prior": eyelid_prior(both.eyelids),
        "pose_prior": pose_prior(both.neck_rotvec, both.jaw_rotvec, eyes),
    }


def render_terms(
    models: Models, codes: HeadCodes, pairs: Pairs, config: TrainingConfig
) -> tuple[dict[str, Tensor], HeadRender]:
    """The rendered head against the target's foreground and, if Gaussians drew it, against its own mesh."""
    image_features = models.dinov2(pairs.source.images.permute(0, 3, 1, 2)) if models.dinov2 else None
    head = render_head(models.network, codes, models.cameras, pairs.background, image_features)
    rendered, wanted = head.color, pairs.target.over(pairs.background)
    if head.gaussians is None:
        # A mesh has neither hair nor a differentiable outline: it is judged where it covers the head.
        seen = head.alpha * pairs.target.masks
        rendered = rendered * seen + wanted * (1 - seen)
    terms = {
        "photometric": photometric_loss(rendered, wanted),
        "ssim": ssim_loss(rendered, wanted),
        "lighting_prior": lighting_prior(codes.lighting),
    }
    if models.lpips:
        terms["lpips"] = models.lpips(rendered, wanted)
    if models.dinov2:
        terms["dinov2"] = dinov2_distance(rendered, wanted, models.dinov2)
    if head.gaussians is not None and head.views is not None:
        terms["alpha"] = alpha_loss(head.alpha, pairs.target.masks)
        terms |= gaussian_terms(models, head.gaussians, head.views, head.vertices, config)
    return terms, head


def gaussian_terms(
    models: Models, gaussians: GaussianHead, views: RenderedViews, vertices: Tensor, config: TrainingConfig
) -> dict[str, Tensor]:
    """Gaussians against the mesh they are bound to: the consistency terms and the regularisers."""
    faces, cameras, attributes = models.network.head.faces, models.cameras, gaussians.attributes
    fragments = rasterize_mesh(vertices, faces, cameras)
    on_mesh = mesh_depth(vertices, faces, cameras, fragments)
    both_seen = views.alpha.detach() * fragments.mask[..., None]
    face_normals = gaussians.frames.rotations[..., 2]
    return {
        "normals": normal_consistency(gaussians.rigged.normals, face_normals, attributes.opacities.detach()),
        "depth": depth_consistency(views.depth, on_mesh, both_seen),
        "offset": offset_regulariser(attributes.offsets, config.free_offset),
        "scale": scale_regulariser(attributes.scales, config.largest_scale),
        "opacity": opacity_regulariser(attributes.opacities),
    }


def camera_center(cameras: Cameras) -> Tensor:
    """Where the one camera stands in the world, [3] metres."""
    world_to_cam = cameras.world_to_cam[0]
    return -world_to_cam[:3, :3].T @ world_to_cam[:3, 3]
