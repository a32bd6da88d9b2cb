"""How well a network knows rendered people that it never saw: identity, points and motion, as ratios where possible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.data.reader import ShardReader
from sheap.data.truth import FrameTruth
from sheap.evaluation.similarity import procrustes
from sheap.head import HeadModel
from sheap.losses.shape_metric import face_vertices
from sheap.networks.both_sides import BothSides
from sheap.networks.head_codes import HeadCodes
from sheap.networks.sheap_network import SheapNetwork
from sheap.render.mesh import vertex_normals
from sheap.training.supervision import face_motion


@torch.inference_mode()
def measure_people(network: SheapNetwork, shards: Path, people: int) -> dict[str, float]:
    """Means over the people of a split (each a clip of photos), at most so many.

    identity_one, identity_fused: mean distance of the neutral face's vertices from the truth after a similarity, over the mean
    head's, from one photo and from all of a person's, as the predictor sees them (sheap.networks.both_sides); identity_one_side:
    from one photo that is seen once. spread_mm: deviation (RMS) of the face from its mean over a person's photos. surface_one,
    surface_fused: as identity, of the median distance across the skin, which is about what NoW measures. coarse_px, initial_px,
    fine_px: of the landmarks that are seen, from the coarse look, from the fine one, and after its points were read again.
    own_part: the share of what the mean person's points leave, alike in all photos of a person, that the fine points leave too.
    motion: error of the face's own movement over a still face's.
    """
    head, reader = network.head, ShardReader(shards, verify_hashes=False)
    face = face_vertices(head).numpy()
    sides = BothSides.of(network)
    one, one_side, spread, fused, mean, own, own_mean = [], [], [], [], [], [], []
    surface: dict[str, list[float]] = {"one": [], "fused": [], "mean": []}
    pixels: dict[str, list[float]] = {}
    moved, still = [], []
    for clip in range(min(people, len(reader))):
        frames = range(reader.num_frames(clip))
        images = np.stack([reader.image(clip, frame) for frame in frames])
        truth = FrameTruth.stack([known for frame in frames if (known := reader.frame_truth(clip, frame)) is not None])
        crops = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        looks = sides.looks(crops)
        codes, params, together = looks[0], sides.heads(looks), sides.fused_shape(looks)
        true_face = head.neutral(truth.shape[0]).numpy()[face]
        found_faces = head.neutral(params.shape).numpy()[:, face]
        one_side.append(np.mean([face_error(found, true_face) for found in head.neutral(codes.params.shape).numpy()[:, face]]))
        spread.append(np.sqrt(((found_faces - found_faces.mean(0)) ** 2).sum(-1).mean()))
        one.append(np.mean([face_error(found, true_face) for found in found_faces]))
        fused.append(face_error(head.neutral(together)[0].numpy()[face], true_face))
        mean.append(face_error(head.template.numpy()[face], true_face))
        normals = vertex_normals(head.neutral(truth.shape[0]), head.faces).numpy()[face]
        surface["one"].append(float(np.mean([surface_error(found, true_face, normals) for found in found_faces])))
        surface["fused"].append(surface_error(head.neutral(together)[0].numpy()[face], true_face, normals))
        surface["mean"].append(surface_error(head.template.numpy()[face], true_face, normals))
        motion = head.landmarks(head(face_motion(truth.head_params())).vertices)
        rest = head.landmarks(head.template)
        moved.append(float((head.landmarks(head(face_motion(params)).vertices) - motion).norm(dim=-1).mean()))
        still.append(float((rest - motion).norm(dim=-1).mean()))
        if codes.look is None:
            continue
        side = reader.image_size
        look = codes.look
        places = {"coarse_px": look.coarse.places, "fine_px": look.fine.places}
        if look.earlier is not None:
            places["initial_px"] = look.earlier.places[:, 0]
        for name, points in places.items():
            errors = (points[..., :2] * side - truth.landmarks[..., :2]).norm(dim=-1)
            pixels.setdefault(name, []).append(float((errors * truth.seen).sum() / truth.seen.sum()))
        left, left_mean = persons_own_part(head, codes, truth, side)
        own.append(left)
        own_mean.append(left_mean)
    found = {
        "identity_one": float(np.mean(one) / np.mean(mean)),
        "identity_one_side": float(np.mean(one_side) / np.mean(mean)),
        "spread_mm": 1e3 * float(np.mean(spread)),
        "identity_fused": float(np.mean(fused) / np.mean(mean)),
        "surface_one": float(np.mean(surface["one"]) / np.mean(surface["mean"])),
        "surface_fused": float(np.mean(surface["fused"]) / np.mean(surface["mean"])),
        "motion": float(np.mean(moved) / np.mean(still)),
        "mean_head_mm": 1e3 * float(np.mean(mean)),
        "people": float(len(mean)),
    }
    if own:
        found |= {name: float(np.mean(values)) for name, values in pixels.items()}
        found["own_part"] = float(np.sqrt(np.mean(own) / np.mean(own_mean)))
    return found


def face_error(found: NDArray, true: NDArray) -> float:
    """Mean distance (m) of points [N, 3] from true ones after the best similarity."""
    return float(np.linalg.norm(procrustes(true, found, allow_reflection=False).apply(found) - true, axis=1).mean())


def surface_error(found: NDArray, true: NDArray, normals: NDArray) -> float:
    """Median distance (m) along the true skin's normals [N, 3] of points [N, 3] from true ones, after the best similarity."""
    apart = procrustes(true, found, allow_reflection=False).apply(found) - true
    return float(np.median(np.abs((apart * normals).sum(1))))


def persons_own_part(head: HeadModel, codes: HeadCodes, truth: FrameTruth, side: int) -> tuple[float, float]:
    """Mean squares (px^2) of what stays the same over a person's photos in the points' errors, after a similarity in the picture:
    of the network's fine points, and of the mean person's in the true pose and expression."""
    assert codes.look is not None
    params = truth.head_params()
    solid = head.landmarks(head(params).vertices)
    of_mean = head.landmarks(head(params.replace(shape=torch.zeros_like(params.shape))).vertices)
    true = truth.landmarks[..., :2]
    errors, errors_of_mean = [], []
    for k in range(len(true)):
        seen = truth.seen[k] > 0
        camera = _affine(solid[k], true[k])
        drawn = torch.cat([of_mean[k], torch.ones(len(of_mean[k]), 1)], 1) @ camera
        found = codes.look.fine.places[k, :, :2] * side
        upright = _upright(codes, k)
        errors.append(_aligned(found, true[k], seen) @ upright)
        errors_of_mean.append(_aligned(drawn, true[k], seen) @ upright)
    return tuple(float(torch.stack(part).nanmean(0).square().nansum(-1).mean()) for part in (errors, errors_of_mean))  # type: ignore[return-value]


def _affine(points: Tensor, pixels: Tensor) -> Tensor:
    """The affine camera [4, 2] that best takes points [L, 3] to pixels [L, 2]."""
    return torch.linalg.lstsq(torch.cat([points, torch.ones(len(points), 1)], 1), pixels).solution


def _aligned(found: Tensor, true: Tensor, seen: Tensor) -> Tensor:
    """Errors [L, 2] of points after the best similarity over the seen ones; NaN where unseen."""
    a, b = torch.view_as_complex(found.contiguous()), torch.view_as_complex(true.contiguous())
    a0, b0 = a[seen].mean(), b[seen].mean()
    turn = ((a[seen] - a0).conj() * (b[seen] - b0)).sum() / (a[seen] - a0).abs().square().sum()
    error = torch.view_as_real((a - a0) * turn + b0 - b)
    return torch.where(seen[:, None], error, torch.nan)


def _upright(codes: HeadCodes, k: int) -> Tensor:
    """Rotation [2, 2] of picture axes (row vectors) to those of the upright face."""
    assert codes.look is not None
    _, axes = codes.look.windows.index(slice(k, k + 1)).frame()
    return axes[0] / axes[0].norm(dim=0, keepdim=True)
