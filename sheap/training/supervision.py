"""What rendered frames teach directly: the shape, the points and the motion that they were drawn with.

Frames without truth (real people) count nothing here; a batch may hold both.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sheap.data.frames import Pairs
from sheap.data.truth import FrameTruth
from sheap.geometry.cameras import Cameras, project
from sheap.head import HeadModel, HeadParams
from sheap.losses.dense_points import dense_points_loss
from sheap.losses.landmarks import landmark_loss
from sheap.losses.shape_metric import ShapeMetric
from sheap.networks.compact_encoder import POINT_UNIT
from sheap.networks.head_codes import HeadCodes
from sheap.networks.sheap_network import SheapNetwork

HIDDEN_POINT = 0.2
"""What a landmark counts that something hides: its place can still be guessed from the rest of the face."""
MOTION_UNIT_M = 0.002
"""Metres of a face's own movement that count as one."""
GAZE_SHARE = 2.0
"""What a radian of a wrong gaze counts in the motion term."""


def truth_terms(
    network: SheapNetwork,
    landmark_head: HeadModel,
    cameras: Cameras,
    metric: ShapeMetric,
    source: HeadCodes,
    target: HeadCodes,
    pairs: Pairs,
) -> dict[str, Callable[[], Tensor]]:
    """Supervised terms of B pairs by their weights' names; source and target: what the network says of their frames.

    Raises ValueError when the pairs were read without their truth.
    """
    if pairs.source.truth is None or pairs.target.truth is None:
        raise ValueError("pairs: were read without their truth, which supervision needs")
    truth = FrameTruth.concatenate([pairs.source.truth, pairs.target.truth])
    both = HeadCodes.concatenate([source, target])
    known, size = truth.known, cameras.height

    def shape() -> Tensor:
        return known_mean(metric(both.params.shape, truth.shape), known)

    def fused_shape() -> Tensor:
        of_person = truth.first(len(pairs))
        return known_mean(metric(network.fused_shape([source, target]), of_person.shape), of_person.known)

    def points() -> Tensor:
        assert both.look is not None
        wanted = truth.landmarks / size / POINT_UNIT
        weights = known[:, None] * (HIDDEN_POINT + (1 - HIDDEN_POINT) * truth.seen)
        coarse, fine, earlier = both.look.coarse, both.look.fine, both.look.earlier
        loss = dense_points_loss(coarse.places / POINT_UNIT, wanted, coarse.log_scales, weights)
        wanted = wanted[..., :2]
        loss = loss + dense_points_loss(fine.places[..., :2] / POINT_UNIT, wanted, fine.log_scales, weights)
        if earlier is not None:
            found = earlier.places[..., :2] / POINT_UNIT
            every = weights[:, None].expand(found.shape[:-1])
            loss = loss + dense_points_loss(found, wanted[:, None], earlier.log_scales, every)
        return loss

    def landmarks() -> Tensor:
        """Where the predicted head has them, in the picture."""
        predicted, _ = project(landmark_head.landmarks(landmark_head(both.params).vertices), cameras)
        weights = known[:, None] * (HIDDEN_POINT + (1 - HIDDEN_POINT) * truth.seen)
        return landmark_loss(predicted[:, 0], truth.landmarks[..., :2], weights, size)

    def motion() -> Tensor:
        """How the face moves on the mean head: expression, lids, jaw and eyes, without shape and pose."""
        moved, wanted = (
            landmark_head.landmarks(landmark_head(face_motion(params)).vertices)
            for params in (both.params, truth.head_params())
        )
        gaze = both.params.rotvecs()[:, 3:] - truth.rotvecs[:, 3:]
        distances = (moved - wanted).norm(dim=-1).mean(-1) / MOTION_UNIT_M
        return known_mean(distances + GAZE_SHARE * gaze.abs().sum(-1).mean(-1), known)

    terms = {
        "truth_shape": shape,
        "truth_fused_shape": fused_shape,
        "truth_landmarks": landmarks,
        "truth_motion": motion,
    }
    return terms if both.look is None else terms | {"truth_points": points}


def known_mean(values: Tensor, known: Tensor) -> Tensor:
    """Mean of values [B] over those that are known [B] (1 or 0); 0 where none is. Scalar."""
    return (values * known).sum() / known.sum().clamp_min(1.0)


def face_motion(params: HeadParams) -> HeadParams:
    """The same movement on the mean head, facing ahead."""
    return params.at_rest().replace(shape=torch.zeros_like(params.shape))
