"""The expression benchmark of rendered people: what a scanner would have delivered at the moment of a photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.head_meshes import expressive_meshes
from sheap.evaluation.now.crop import RADIUS_FACTOR, face_crop
from sheap.evaluation.similarity import rodrigues
from sheap.head import HeadModel, HeadParams

SCANNER_TURN_RAD = 0.2
SCANNER_SHIFT_MM = 60.0
"""Spread of the scanner's own axes about the head's: an alignment has something to do."""

EYEBALL_FRONT = 0.6
"""An eyeball's face is kept where its normal points this much out of the face: what lids leave open or cover thinly."""


NUM_POINTS = 4000
"""On the front of the head, evenly by area: about three millimetres apart."""

FRONT = 1.1
"""The front of the head: a ball this much larger than the one in which points count."""


def scan_expression(
    head: HeadModel, params: HeadParams, noise_mm: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points [P,3] (mm) on the true surface of one face's parameters (no leading dims), and NoW's landmarks [7,3].

    Kept is what a scanner sees of the face: outer skin and eyeballs. noise_mm: the points' spread along the normals.
    """
    meshes, landmarks = expressive_meshes(head, params.index(None))
    vertices, faces = meshes[0].vertices, meshes[0].faces
    first, second, third = vertices[faces].swapaxes(0, 1)
    normals = np.cross(second - first, third - first)
    areas = np.linalg.norm(normals, axis=1)
    inside = {
        name: head.region_masks[name].numpy()[faces].all(1)
        for name in ("skin", "mouth_interior", "eye_sockets", "eyeballs")
    }
    is_seen = inside["skin"] & ~inside["mouth_interior"] & ~inside["eye_sockets"]
    is_seen |= inside["eyeballs"] & (normals[:, 2] > EYEBALL_FRONT * areas)
    ball = face_crop(landmarks[0], FRONT * RADIUS_FACTOR)
    is_seen &= np.linalg.norm(vertices[faces].mean(1) - ball.center, axis=1) < ball.radius
    corners, normals, areas = vertices[faces[is_seen]], normals[is_seen], areas[is_seen]
    chosen = rng.choice(len(corners), NUM_POINTS, p=areas / areas.sum())
    weights = rng.dirichlet(np.ones(3), NUM_POINTS)
    points = (weights[..., None] * corners[chosen]).sum(1)
    noise = noise_mm * rng.standard_normal((NUM_POINTS, 1))
    points += noise * normals[chosen] / np.maximum(areas[chosen], 1e-12)[:, None]
    rotation = rodrigues(rng.normal(0, SCANNER_TURN_RAD, 3))
    shift = rng.normal(0, SCANNER_SHIFT_MM, 3)
    return points @ rotation.T + shift, landmarks[0] @ rotation.T + shift
