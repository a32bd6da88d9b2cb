"""A head model with what it lacked: what no camera sees, MediaPipe's landmarks, NoW's seven, the face's region, UVs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from sheap.completion.landmarks import NUM_SKIN_LANDMARKS, Detect, LandmarkSettings, find_landmarks
from sheap.completion.uvs import disc_uvs
from sheap.completion.visibility import hidden_vertices
from sheap.head import HeadModel
from sheap.head.data import HeadData, SurfacePoints
from sheap.head.inventory import has_hidden_faces
from sheap.head.regions import is_near_face, outer_skin

NOW_IN_MEDIAPIPE = (33, 133, 362, 263, 2, 61, 291)
"""NoW's seven among MediaPipe's landmarks."""
SETTINGS = LandmarkSettings(yaws_deg=(-45, -20, 0, 20, 45), identity_yaws_deg=(-30, 0, 30), num_identities=6)
"""Fewer pictures than the open head was given: twenty seconds of one core, 0.9 mm from those landmarks."""


def is_complete(head: HeadModel) -> bool:
    """Whether `completed` would leave the head as it is."""
    parts = (head.landmark_faces, head.now_faces, head.uv_coords)
    return all(part is not None for part in parts) and has_hidden_faces(head) and "face" in head.region_names and _all_found(head)


def _all_found(head: HeadModel) -> bool:
    weights = head.landmark_weights
    return weights is not None and bool((weights[:NUM_SKIN_LANDMARKS] > 0).all())


def completed(
    head: HeadModel, detector: Callable[[], Detect], settings: LandmarkSettings = SETTINGS
) -> HeadModel:
    """The same head with everything that training and evaluation ask for; what was there stays. Its source says what was made.

    detector: called where landmarks are missing. Raises ValueError when no face is found in pictures of the head.
    """
    if not has_hidden_faces(head):
        head = _with(head, "region hidden", regions=head.data.regions | {"hidden": hidden_vertices(head)})
    if not _all_found(head):
        found, _ = find_landmarks(head, detector(), settings)
        head = _with(head, "landmark_points", landmark_points=_filled_in(head, found))
    if head.now_faces is None:
        chosen = list(NOW_IN_MEDIAPIPE)
        points = SurfacePoints(head.landmark_faces[chosen], head.landmark_barycentrics[chosen], torch.ones(len(chosen)))
        head = _with(head, "now_points", now_points=points)
    if "face" not in head.region_names:
        near = is_near_face(head.template, head.now_landmarks(head.template))
        head = _with(head, "region face", regions=head.data.regions | {"face": near & outer_skin(head)})
    if head.uv_coords is None:
        uvs = disc_uvs(head.template, head.face_origin)
        head = _with(head, "uvs", uv_coords=uvs, uv_faces=head.faces)
    return head


def _filled_in(head: HeadModel, found: SurfacePoints) -> SurfacePoints:
    """The landmarks that the head's own embedding names, and the found ones for the rest."""
    if head.landmark_faces is None:
        return found
    own = head.landmark_weights > 0
    return SurfacePoints(
        torch.where(own, head.landmark_faces, found.face_ids),
        torch.where(own[:, None], head.landmark_barycentrics, found.barycentrics),
        torch.where(own, head.landmark_weights, found.weights),
    )


def _with(head: HeadModel, name: str, **changes: object) -> HeadModel:
    data: HeadData = replace(head.data, **changes)  # type: ignore[arg-type]
    source = data.source
    if source is not None:
        data = replace(data, source=replace(source, made=(*source.made, name)))
    return HeadModel(data)
