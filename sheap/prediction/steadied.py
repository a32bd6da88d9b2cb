"""A person's sightings in a video, smoothed: the head's motion in the picture, mouth, lids and gaze, each at its pace."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sheap.geometry.cameras import PUBLISHED_DISTANCE, published_camera
from sheap.geometry.rotations import matrix_to_rotvec, nearest_rotation, rotvec_to_matrix
from sheap.head import HeadModel, HeadParams
from sheap.prediction.rows import FaceRows
from sheap.prediction.smoothing import Floats, smoothed

POSE_AGREEMENT, FACE_AGREEMENT, LID_AGREEMENT, GAZE_AGREEMENT = 3.5, 5.0, 3.0, 3.0
"""Of sheap.prediction.smoothing, by group, chosen on five videos among 2 to 7 (experiments/video_smoothing.py prints how they
do): more takes more motion for jitter, and lids and eyes, which move in jumps, lose their depth."""

PLACE_NOISE, SIZE_NOISE, TURN_NOISE = 0.0015, 0.006, 0.008
"""Most that jitter is in the head's place (crop sides), size (of itself) and turn (radians). Measured on eleven videos: at most
0.0014, 0.0064 and 0.0081 on nine, 0.005 to 0.022 in the place on the two in which the head moves fast."""

FACE_NOISE, LID_NOISE, GAZE_NOISE = 0.06, 0.02, 0.012
"""Coefficients and radians; closed lids are 1; radians. Beyond is motion."""


def steadied(head: HeadModel, rows: FaceRows) -> FaceRows:
    """The same sightings without jitter, each track for itself. Nothing is smoothed across a track's end."""
    parts = []
    order: list[Tensor] = []
    for track in rows.tracks.unique().tolist():
        where = (rows.tracks == track).nonzero()[:, 0]
        order.append(where)
        parts.append(_steadied(head, rows.index(where)))
    if not parts:
        return rows
    return FaceRows.concatenate(parts).index(torch.cat(order).argsort())


def _steadied(head: HeadModel, rows: FaceRows) -> FaceRows:
    if len(rows) < 4:
        return rows
    times = rows.times_s.numpy()
    params = _face(rows.params, times)
    place, turn = head_places(head, rows.params, rows.crops)
    side = float(rows.crops[:, 2].median())
    mean = nearest_rotation(turn.mean(0))
    rotvec = matrix_to_rotvec(mean.mT @ turn).numpy()
    neck = np.zeros((len(rows), 0)) if params.neck_rotvec is None else _array(params.neck_rotvec)
    motion = np.concatenate([place[:, :2] / side, np.log(place[:, 2:]), rotvec, neck], 1)
    limits = np.repeat([PLACE_NOISE, SIZE_NOISE, TURN_NOISE], [2, 1, 3 + neck.shape[1]])
    motion = smoothed(times, motion, POSE_AGREEMENT, together=True, most_noise=limits)
    crops = np.concatenate([_array(rows.crops[:, :2]) / side, np.log(_array(rows.crops[:, 2:]))], 1)
    crops = smoothed(times, crops, POSE_AGREEMENT, together=True)
    crops = torch.from_numpy(np.concatenate([crops[:, :2] * side, np.exp(crops[:, 2:])], 1))
    place = np.concatenate([motion[:, :2] * side, np.exp(motion[:, 2:3])], 1)
    root = matrix_to_rotvec(mean @ rotvec_to_matrix(torch.from_numpy(motion[:, 3:6])))
    params = params.replace(root_rotvec=root.float())
    if params.neck_rotvec is not None:
        params = params.replace(neck_rotvec=torch.from_numpy(motion[:, 6:9]).float())
    params = params.replace(translation=translation_at(head, params, crops, torch.from_numpy(place)).float())
    return rows.replace(params=params, crops=crops)


def _face(params: HeadParams, times: Floats) -> HeadParams:
    """What moves in the face, smoothed."""
    changes = {}
    for name, agreement, together, noise in (
        ("expression", FACE_AGREEMENT, False, FACE_NOISE),
        ("jaw_rotvec", FACE_AGREEMENT, True, TURN_NOISE),
        ("eyelids", LID_AGREEMENT, False, LID_NOISE),
        ("eye_left_rotvec", GAZE_AGREEMENT, True, GAZE_NOISE),
        ("eye_right_rotvec", GAZE_AGREEMENT, True, GAZE_NOISE),
    ):
        value = getattr(params, name)
        if value is not None:
            found = smoothed(times, _array(value), agreement, together=together, most_noise=noise)
            changes[name] = torch.from_numpy(found).float()
    return params.replace(**changes)


def head_places(head: HeadModel, params: HeadParams, crops: Tensor) -> tuple[Floats, Tensor]:
    """Where heads [T] are in the whole picture: x and y of the root joint, px, and how many px a metre is there [T, 3]; and
    the root's rotations [T, 3, 3]."""
    focal = float(published_camera(1).K[0, 0, 0])
    root = (head.rest_joints(params)[..., 0, :] + params.translation).double()
    scale = focal * crops[:, 2] / (PUBLISHED_DISTANCE - root[:, 2])
    x, y = crops[:, 0] + scale * root[:, 0], crops[:, 1] - scale * root[:, 1]
    return torch.stack([x, y, scale], 1).numpy(), rotvec_to_matrix(params.root_rotvec.double())


def translation_at(head: HeadModel, params: HeadParams, crops: Tensor, places: Tensor) -> Tensor:
    """The translations [T, 3] that put heads at places [T, 3] (head_places), seen in these crops."""
    focal = float(published_camera(1).K[0, 0, 0])
    scale = places[:, 2]
    x, y = (places[:, 0] - crops[:, 0]) / scale, (crops[:, 1] - places[:, 1]) / scale
    root = torch.stack([x, y, PUBLISHED_DISTANCE - focal * crops[:, 2] / scale], 1)
    return root - head.rest_joints(params)[..., 0, :].double()


def _array(values: Tensor) -> Floats:
    return values.double().numpy()
