"""What heads are like before any image is seen."""

from __future__ import annotations

from torch import Tensor


def shape_prior(shape: Tensor) -> Tensor:
    """Mean squared unit-variance coefficient [..., S]: minus the log of a standard normal, per coefficient. Scalar."""
    return shape.square().mean()


def population_prior(shape: Tensor) -> Tensor:
    """Mean square of the batch's mean coefficients [B, S]: the mean of many people is the mean head. Scalar.

    Without it, what a landmark detector or a fixed camera gets wrong on everybody ends up as everybody's shape.
    """
    return shape.mean(0).square().mean()


def identity_consistency(source_shape: Tensor, target_shape: Tensor) -> Tensor:
    """Mean squared difference of the coefficients [B, S] that two frames of one person got. Scalar.

    Landmarks of the target judge the source's shape already (method.md, 3); this takes out what either frame's own noise adds.
    """
    return (source_shape - target_shape).square().mean()


def expression_prior(expression: Tensor) -> Tensor:
    """Mean squared unit-variance coefficient [..., E]. Scalar."""
    return expression.square().mean()


def eyelid_prior(eyelids: Tensor) -> Tensor:
    """How far eyelids [..., 2] leave 0 (open) .. 1 (closed), squared, and a tenth of their square. Scalar."""
    outside = eyelids - eyelids.clamp(0, 1)
    return (outside.square() + 0.1 * eyelids.square()).mean()


def pose_prior(neck_rotvec: Tensor, jaw_rotvec: Tensor | None, eye_rotvecs: Tensor | None) -> Tensor:
    """Joints rest: squared rotations of neck [..., 3], jaw [..., 3] and eyes [..., 3]; turning is the root's part. Scalar.

    A jaw opens about x only: turning about its other axes counts ten times, and so does closing past shut. Joints that a head
    has not are None.
    """
    prior = neck_rotvec.square().sum(-1).mean()
    if jaw_rotvec is not None:
        opening, sideways = jaw_rotvec[..., 0], jaw_rotvec[..., 1:]
        shut = opening.clamp_max(0)
        prior = prior + (opening.square() + 10 * (sideways.square().sum(-1) + shut.square())).mean()
    return prior if eye_rotvecs is None else prior + eye_rotvecs.square().sum(-1).mean()


def lighting_prior(lighting: Tensor) -> Tensor:
    """Mean squared weight [..., K] of the illumination prior, in its standard deviations. Scalar."""
    return lighting.square().mean()
