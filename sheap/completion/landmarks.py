"""MediaPipe's 478 landmarks on the head: look at it from many sides and find the surface points that explain what is
seen.

For every landmark each candidate point of the skin is projected into all pictures in which it is visible; the one whose
projections lie closest to the detections wins. Unlike back-projecting pixels, this works at lid and lip edges, where a
pixel's slip would land inside the eye or the mouth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.completion.portraits import Portrait, orbit_camera, rest_eyeball, take_portrait
from sheap.data.landmark_mirror import LANDMARK_MIRROR
from sheap.geometry.cameras import project
from sheap.head.data import SurfacePoints
from sheap.head.model import IRIS_RADIUS, HeadModel
from sheap.head.params import HeadParams
from sheap.render.mesh import vertex_normals

Array = NDArray[np.float64]
Detect = Callable[[NDArray[np.uint8]], "NDArray[np.float32] | None"]
"""Finds the landmarks [478, 3] px of the one face in a uint8 picture, or None."""

NUM_SKIN_LANDMARKS = 468
HIDDEN_BEHIND = 0.004
"""Metres behind the visible surface at which a vertex counts as hidden; less would hide grazing edges."""
RING_DIRECTIONS = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))
"""Landmarks 469-472 and 474-477 ring the right and left iris (468, 473): towards the person's left, up, right, down."""
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""MediaPipe draws these on the face's visible outline, which is not one place on the skin."""


@dataclass(frozen=True)
class LandmarkSettings:
    """Which pictures are taken, and how strictly they are read."""

    picture_size: int = 512
    yaws_deg: tuple[float, ...] = (-60, -45, -30, -15, 0, 15, 30, 45, 60)
    pitches_deg: tuple[float, ...] = (-20, 0, 20)
    identity_yaws_deg: tuple[float, ...] = (-40, -20, 0, 20, 40)
    num_identities: int = 16
    identity_scale: float = 0.8
    seed: int = 0
    min_cosine: float = 0.3
    coarse_cap_mm: float = 20.0
    fine_cap_mm: float = 6.0
    min_seen_share: float = 0.1
    oval_weight: float = 0.25


def find_landmarks(head: HeadModel, detect: Detect, settings: LandmarkSettings) -> tuple[SurfacePoints, Array]:
    """The 478 points on the head's surface, and each one's spread over the pictures (median distance, mm)."""
    portraits, detections = _look(head, detect, settings)
    sights = _sights(head, portraits, detections)
    allowed = torch.nonzero(allowed_skin(head)[head.faces].all(dim=-1)).squeeze(-1).numpy()

    corners = np.eye(3)
    _, first = np.unique(head.faces.numpy()[allowed].reshape(-1), return_index=True)
    face_ids, barycentrics = allowed[first // 3], corners[first % 3]
    # A high cap first: the outline's points wander by centimetres from view to view, and must not be outbid by chance.
    all_skin = np.arange(NUM_SKIN_LANDMARKS)
    costs = _costs(head, sights, face_ids, barycentrics, all_skin, settings, settings.coarse_cap_mm)
    best = costs.argmin(axis=0)

    face_ids, barycentrics = face_ids[best].copy(), barycentrics[best].copy()
    positions = _positions(head, face_ids, barycentrics)
    centres = head.template.numpy()[head.faces.numpy()[allowed]].mean(axis=1)
    grid = _barycentric_grid(6)
    for landmark in range(NUM_SKIN_LANDMARKS):
        near = allowed[np.argsort(np.linalg.norm(centres - positions[landmark], axis=1))[:24]]
        fine_faces, fine_bary = np.repeat(near, len(grid)), np.tile(grid, (len(near), 1))
        one = np.array([landmark])
        cost = _costs(head, sights, fine_faces, fine_bary, one, settings, settings.fine_cap_mm)[:, 0]
        face_ids[landmark], barycentrics[landmark] = fine_faces[cost.argmin()], fine_bary[cost.argmin()]

    face_ids, barycentrics = _symmetrise(head, face_ids, barycentrics, allowed)
    spread = _spread(head, sights, face_ids, barycentrics, settings)
    weights = 1 / (1 + (spread / 2.0) ** 2)
    weights = weights / weights.max()
    weights = np.minimum(weights, weights[LANDMARK_MIRROR[:NUM_SKIN_LANDMARKS]])
    weights[list(FACE_OVAL)] = np.minimum(weights[list(FACE_OVAL)], settings.oval_weight)
    iris_faces, iris_bary, iris_weights = _iris_points(head, face_ids, barycentrics)
    points = SurfacePoints(
        torch.as_tensor(np.concatenate([face_ids, iris_faces])),
        torch.as_tensor(np.concatenate([barycentrics, iris_bary]), dtype=torch.float32),
        torch.as_tensor(np.concatenate([weights, iris_weights]), dtype=torch.float32),
    )
    return points, spread


def allowed_skin(head: HeadModel) -> Tensor:
    """Mask [N] of the skin that a landmark may lie on: not inside mouth or eye sockets nor on the ears, as far as the head names
    these, nor where no camera looks."""
    masks = head.region_masks
    allowed = masks["skin"].clone() if "skin" in masks else torch.ones(head.num_vertices, dtype=torch.bool)
    for name in ("eye_sockets", "mouth_interior", "ears", "hidden"):
        if name in masks:
            allowed &= ~masks[name]
    return allowed


def _look(
    head: HeadModel, detect: Detect, settings: LandmarkSettings
) -> tuple[list[Portrait], list[NDArray[np.float32]]]:
    """Takes the pictures and keeps those in which a face was found."""
    generator = torch.Generator().manual_seed(settings.seed)
    size = settings.picture_size
    poses = [(HeadParams.zeros(head), yaw, pitch) for yaw in settings.yaws_deg for pitch in settings.pitches_deg]
    for k in range(settings.num_identities):
        shape = settings.identity_scale * torch.randn(head.num_shape, generator=generator)
        params = open_mouth(head, (k % 3) / 2).replace(shape=shape)  # closed, half open, open: it parts the lips
        poses += [(params, yaw, 0.0) for yaw in settings.identity_yaws_deg]
    portraits, detections = [], []
    for params, yaw, pitch in poses:
        portrait = take_portrait(head, head(params).vertices - head.face_origin, orbit_camera(yaw, pitch, size))
        points = detect(portrait.image)
        if points is not None:
            portraits.append(portrait)
            detections.append(points)
    if len(portraits) < len(poses) / 2:
        raise ValueError(f"landmarks: a face was found in only {len(portraits)} of {len(poses)} pictures of the head")
    return portraits, detections


def open_mouth(head: HeadModel, amount: float) -> HeadParams:
    """The mean head with its mouth opened from 0 to 1: by its jaw joint, else by its expression of that name, else not at all."""
    params = HeadParams.zeros(head)
    if params.jaw_rotvec is not None:
        return params.replace(jaw_rotvec=torch.tensor([0.25 * amount, 0.0, 0.0]))
    if "jawOpen" in head.action_names and head.action_matrix is not None:
        return params.replace(expression=0.6 * amount * head.action_matrix[head.action_names.index("jawOpen")])
    return params


@dataclass(frozen=True)
class _Sights:
    """All pictures as the mesh's vertices see them. pixels [M, N, 2]; cosine [M, N]: how squarely each vertex is
    seen, 0 when hidden; detected [M, 478, 2] px; mm_per_px [M]."""

    pixels: Array
    cosine: Array
    detected: Array
    mm_per_px: Array


def _sights(head: HeadModel, portraits: list[Portrait], detections: list[NDArray[np.float32]]) -> _Sights:
    pixels, cosine, mm_per_px = [], [], []
    for portrait in portraits:
        seen_at, squarely = _see_vertices(head, portrait)
        pixels.append(seen_at)
        cosine.append(squarely)
        distance = float(portrait.depth[portrait.depth > 0].median())
        mm_per_px.append(1e3 * distance / float(portrait.cameras.K[0, 0, 0]))
    detected = np.stack([points[:, :2] for points in detections]).astype(np.float64)
    return _Sights(np.stack(pixels), np.stack(cosine), detected, np.array(mm_per_px))


def _see_vertices(head: HeadModel, portrait: Portrait) -> tuple[Array, Array]:
    """Where each vertex falls in a picture [N, 2] and the cosine between its normal and the line of sight [N], 0 if
    hidden."""
    cameras, vertices = portrait.cameras, portrait.vertices
    pixels, depth = project(vertices, cameras)
    pixels, depth = pixels[0], depth[0]
    rotation, shift = cameras.world_to_cam[0, :3, :3], cameras.world_to_cam[0, :3, 3]
    towards = torch.nn.functional.normalize(-(rotation.T @ shift) - vertices, dim=-1)
    cosine = (vertex_normals(vertices, head.faces) * towards).sum(dim=-1).clamp(0, 1)
    columns = pixels[:, 0].long().clamp(0, cameras.width - 1)
    rows = pixels[:, 1].long().clamp(0, cameras.height - 1)
    hidden = depth > portrait.depth[rows, columns] + HIDDEN_BEHIND
    return pixels.double().numpy(), torch.where(hidden, 0.0, cosine).double().numpy()


def _see(sights: _Sights, head: HeadModel, face_ids: NDArray[np.int64], barycentrics: Array) -> tuple[Array, Array]:
    """Pixels [M, P, 2] and cosines [M, P] of surface points, interpolated over their small triangles."""
    corners = head.faces.numpy()[face_ids]
    pixels = np.einsum("pk,mpkc->mpc", barycentrics, sights.pixels[:, corners])
    return pixels, np.einsum("pk,mpk->mp", barycentrics, sights.cosine[:, corners])


def _costs(
    head: HeadModel,
    sights: _Sights,
    face_ids: NDArray[np.int64],
    barycentrics: Array,
    landmarks: NDArray[np.int64],
    settings: LandmarkSettings,
    cap_mm: float,
) -> Array:
    """Mean capped distance [P, L] (mm) between candidates' projections and detections, over the pictures that see them.

    A picture counts by how squarely it sees the candidate. Candidates seen too little pay the cap for what is missing.
    """
    pixels, cosine = _see(sights, head, face_ids, barycentrics)
    share = (cosine - settings.min_cosine).clip(0)
    weight = share.sum(axis=0)
    total = np.zeros((len(face_ids), len(landmarks)))
    for picture in range(len(pixels)):
        seen = share[picture] > 0
        offset = pixels[picture, seen, None] - sights.detected[picture, landmarks]
        distance = np.hypot(offset[..., 0], offset[..., 1]) * sights.mm_per_px[picture]
        total[seen] += share[picture, seen, None] * np.minimum(distance, cap_mm)
    enough = settings.min_seen_share * len(pixels)
    return (total + cap_mm * (enough - weight).clip(0)[:, None]) / np.maximum(weight, enough)[:, None]


def _spread(
    head: HeadModel, sights: _Sights, face_ids: NDArray[np.int64], barycentrics: Array, settings: LandmarkSettings
) -> Array:
    """Median distance [L] (mm) between each chosen point and its detections, over the pictures that see it."""
    pixels, cosine = _see(sights, head, face_ids, barycentrics)
    offset = pixels - sights.detected[:, : len(face_ids)]
    distance = np.hypot(offset[..., 0], offset[..., 1]) * sights.mm_per_px[:, None]
    distance = np.where(cosine > settings.min_cosine, distance, np.nan)
    # A point that no picture sees squarely keeps a spread so large that its weight vanishes.
    distance[:, np.isnan(distance).all(axis=0)] = 10 * settings.fine_cap_mm
    return np.nanmedian(distance, axis=0)


def _symmetrise(
    head: HeadModel, face_ids: NDArray[np.int64], barycentrics: Array, allowed: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Array]:
    """Averages each landmark with its partner's mirror image and puts the average back on the allowed surface."""
    positions = _positions(head, face_ids, barycentrics)
    partners = LANDMARK_MIRROR[: len(positions)]
    wanted = (positions + positions[partners] * [-1, 1, 1]) / 2
    return nearest_on_faces(head.template.numpy(), head.faces.numpy(), allowed, wanted)


def nearest_on_faces(
    vertices: Array, faces: NDArray[np.int64], allowed: NDArray[np.int64], points: Array
) -> tuple[NDArray[np.int64], Array]:
    """Face ids [P] (out of `allowed`) and barycentrics [P, 3] of the surface points nearest to `points` [P, 3]."""
    import trimesh

    mesh = trimesh.Trimesh(vertices, faces[allowed], process=False)
    nearest, _, triangle = trimesh.proximity.closest_point_naive(mesh, points)
    barycentrics = trimesh.triangles.points_to_barycentric(mesh.triangles[triangle], nearest).clip(0, 1)
    return allowed[triangle], barycentrics / barycentrics.sum(axis=1, keepdims=True)


def _iris_points(
    head: HeadModel, face_ids: NDArray[np.int64], barycentrics: Array
) -> tuple[NDArray[np.int64], Array, Array]:
    """Faces, barycentrics and weights of the iris centres and rings, in landmark order, around each eyeball's gaze axis.

    A head without eyeballs has none: they then stand at an inner corner of the eye, with weight 0.
    """
    if "eyeball_left" not in head.region_names:
        stand_in = [133] * 5 + [362] * 5
        return face_ids[stand_in], barycentrics[stand_in], np.zeros(10)
    template = head.template.double()
    all_faces, all_bary = [], []
    for region in ("eyeball_right", "eyeball_left"):
        centre, radius, axis = rest_eyeball(head, region)
        right = torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64), axis)
        right = right / right.norm()
        up = torch.linalg.cross(axis, right)
        forward = (radius**2 - IRIS_RADIUS**2) ** 0.5
        wanted = [centre + radius * axis] + [
            centre + forward * axis + IRIS_RADIUS * (a * right + b * up) for a, b in RING_DIRECTIONS
        ]
        allowed = np.flatnonzero(head.region_faces(region).numpy())
        faces, bary = nearest_on_faces(template.numpy(), head.faces.numpy(), allowed, torch.stack(wanted).numpy())
        all_faces.append(faces)
        all_bary.append(bary)
    return np.concatenate(all_faces), np.concatenate(all_bary), np.ones(10)


def _positions(head: HeadModel, face_ids: NDArray[np.int64], barycentrics: Array) -> Array:
    return np.einsum("pk,pkc->pc", barycentrics, head.template.numpy().astype(np.float64)[head.faces.numpy()[face_ids]])


def _barycentric_grid(steps: int) -> Array:
    """All barycentrics whose entries are multiples of 1 / steps."""
    return np.array([(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]) / steps


def mediapipe_detector() -> Detect:
    """MediaPipe's landmarker, run twice so that the second look is centred by the first."""
    from sheap.video.face_landmarker import FaceLandmarker, roi_from_landmarks

    landmarker = FaceLandmarker()

    def detect(image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        found = landmarker.process(image)
        if not found:
            return None
        return landmarker.landmarks(image, roi_from_landmarks(found[0].points)).points

    return detect
