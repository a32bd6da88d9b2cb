"""A predictor on real videos and pictures: how steady it is, and how well it agrees with detected landmarks.

There is no ground truth here, so nothing of this is an error (see video_metrics.py). Every frame is predicted for
itself, as in use, on the crop of its own landmarks. Shots and tracks are those of ingestion (sheap/video/following.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.evaluation.head_meshes import expressive_meshes, neutral_meshes
from sheap.evaluation.pictures import PICTURES_A_PASS, read_picture
from sheap.evaluation.predictions import FaceFinderAndModels, Predictor, as_input, joined
from sheap.evaluation.video_metrics import eye_distances, jitter, reprojection_errors
from sheap.geometry.cameras import project, published_camera
from sheap.head import HeadParams
from sheap.results.names import distinct_files, distinct_labels
from sheap.video.crops import CropBox, crop_box, cut_crop, points_to_picture
from sheap.video.decoding import VideoProblem, VideoReader
from sheap.video.face_choice import FaceFinder
from sheap.video.face_search import FaceModels, no_face
from sheap.video.file_names import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from sheap.video.following import followed_frames

Floats = NDArray[np.float64]

LEAST_FRAMES = 8
"""A face followed for fewer frames says nothing about steadiness."""


@dataclass(frozen=True)
class SeenFace:
    """One face of one picture: its crops [S,S,3] uint8 by S, where they lie, and the detected landmarks [478,2] px."""

    crops: Mapping[int, NDArray[np.uint8]]
    box: CropBox
    detected_px: Floats


@dataclass(frozen=True)
class FootageCounts:
    """What was looked at of a video: frames, those with a face, shots, tracks of faces; whether that is all of it."""

    frames: int
    frames_with_face: int
    shots: int
    tracks: int
    is_whole: bool

    def __str__(self) -> str:
        of_more = "" if self.is_whole else ", the first of more"
        return (
            f"{self.frames} frames looked at{of_more}, {self.frames_with_face} with a face; "
            f"{self.shots} shot{'s' * (self.shots != 1)}, {self.tracks} track{'s' * (self.tracks != 1)}"
        )


def measure_footage(
    paths: Sequence[Path],
    predictors: Mapping[str, Predictor],
    landmarker: FaceFinderAndModels,
    *,
    fps: float = 25.0,
    max_frames: int,
) -> dict[str, dict[str, Any]]:
    """Every predictor's figures of every file by name, and their means over the files, as plain JSON.

    Of a video, the face that is followed longest within one shot of its first `max_frames` frames counts; `seen` says how much
    of each video was looked at, and what was in it. `unusable` says which files were left out, and why.
    """
    videos: dict[str, dict[str, dict[str, float]]] = {name: {} for name in predictors}
    pictures: dict[str, dict[str, dict[str, float]]] = {name: {} for name in predictors}
    unusable: dict[str, str] = {}
    seen: dict[str, dict[str, Any]] = {}
    paths = distinct_files(paths)
    for path, label in zip(paths, distinct_labels(paths), strict=True):
        try:
            if path.suffix.lower() in PICTURE_SUFFIXES:
                found, into = measure_picture(path, predictors, landmarker), pictures
            else:
                faces, counts = _longest_track(path, landmarker, _sizes(predictors), fps, max_frames)
                seen[label] = asdict(counts)
                found, into = _figures(path, predictors, faces, counts), videos
        except (ValueError, VideoProblem, OSError) as error:
            unusable[label] = str(error).removeprefix(f"{path}: ")
            continue
        for name, figures in found.items():
            into[name][label] = figures
    return {
        name: {
            "videos": {"mean": _means(videos[name]), "files": videos[name]},
            "pictures": {"mean": _means(pictures[name]), "files": pictures[name]},
            "seen": seen,
            "unusable": unusable,
        }
        for name in predictors
    }


def footage_files(folder: Path) -> list[Path]:
    """Videos and pictures in a folder and those below it, by path; what hides behind a dot is left out, as by ingestion.

    Raises OSError when there is no such folder, ValueError when it holds none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected videos or pictures of faces")
    wanted = PICTURE_SUFFIXES | VIDEO_SUFFIXES
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in wanted and not path.name.startswith(".") and not path.is_dir()
    )
    if not found:
        raise ValueError(f"{folder}: no video and no picture in it")
    return found


def measure_video(
    path: Path, predictors: Mapping[str, Predictor], landmarker: FaceModels, *, fps: float, max_frames: int
) -> dict[str, dict[str, float]]:
    """Every predictor's steadiness and agreement over the frames in which one face was followed.

    frames: how many. reprojection: mean distance of projected and detected landmarks over the distance of the outer
    eye corners. landmark_jitter and detected_jitter: frame-to-frame noise of both, over that distance.
    expression_jitter_mm: of the face's vertices at rest, so that the head's own motion does not count.
    identity_spread_mm: deviation (RMS) of the neutral vertices from their mean, zero for one constant identity. Raises
    ValueError for too few frames with a face, VideoProblem when it cannot be decoded.
    """
    faces, counts = _longest_track(path, landmarker, _sizes(predictors), fps, max_frames)
    return _figures(path, predictors, faces, counts)


def _figures(
    path: Path, predictors: Mapping[str, Predictor], faces: Sequence[SeenFace], counts: FootageCounts
) -> dict[str, dict[str, float]]:
    if len(faces) < LEAST_FRAMES:
        raise ValueError(f"{path}: a face was followed for {len(faces)} frames, fewer than {LEAST_FRAMES} ({counts})")
    return {name: _steadiness(predictor, faces) for name, predictor in predictors.items()}


def _steadiness(predictor: Predictor, faces: Sequence[SeenFace]) -> dict[str, float]:
    params = _predict(predictor, faces)
    detected = np.stack([face.detected_px for face in faces])
    projected = project_landmarks(predictor, params, [face.box for face in faces])
    eyes = float(eye_distances(detected).mean())
    mask = predictor.head.region_masks.get("face")
    keep = slice(None) if mask is None else mask.cpu().numpy()
    moving = np.stack([mesh.vertices for mesh in expressive_meshes(predictor.head, params)[0]])[:, keep]
    neutral = np.stack([mesh.vertices for mesh in neutral_meshes(predictor.head, params.shape)[0]])[:, keep]
    spread = np.sqrt(((neutral - neutral.mean(0)) ** 2).sum(-1).mean())
    return {
        "frames": len(faces),
        "reprojection": float(reprojection_errors(projected, detected, _weights(predictor)).mean()),
        "landmark_jitter": jitter(projected) / eyes,
        "detected_jitter": jitter(detected) / eyes,
        "expression_jitter_mm": jitter(moving),
        "identity_spread_mm": float(spread),
    }


def measure_picture(
    path: Path, predictors: Mapping[str, Predictor], finder: FaceFinder
) -> dict[str, dict[str, float]]:
    """Agreement with the landmarks of the first face found. Raises ValueError when there is none, or no picture."""
    picture = read_picture(path)
    found = finder.process(picture)
    if not found:
        raise ValueError(f"{path}: {no_face(picture)}")
    face = _see(picture, found[0].points, _sizes(predictors))
    figures = {}
    for name, predictor in predictors.items():
        projected = project_landmarks(predictor, _predict(predictor, [face]), [face.box])
        errors = reprojection_errors(projected[0], face.detected_px, _weights(predictor))
        figures[name] = {"reprojection": float(errors)}
    return figures


@runtime_checkable
class KnowsDetector(Protocol):
    """A predictor that knows where the detector puts its landmarks: sheap.predictor.SheapPredictor."""

    def detector_landmarks(self, params: HeadParams) -> Tensor: ...


def project_landmarks(predictor: Predictor, params: HeadParams, boxes: Sequence[CropBox]) -> Floats:
    """MediaPipe's landmarks [B,478,2] of predicted heads, in px of the pictures that the crops were cut from.

    As the detector would place them, where the predictor knows its habits: what it does alike on everybody is no disagreement.
    """
    head = predictor.head
    camera = published_camera(1, device=head.template.device)
    with torch.inference_mode():
        if isinstance(predictor, KnowsDetector):
            points = predictor.detector_landmarks(params)
        else:
            points = head.landmarks(head(params).vertices)
        in_crop, _ = project(points, camera)
    unit = in_crop[:, 0].double().cpu().numpy()
    return np.stack([points_to_picture(points, box, 1) for points, box in zip(unit, boxes, strict=True)])


def _longest_track(
    path: Path, landmarker: FaceModels, sizes: set[int], fps: float, max_frames: int
) -> tuple[list[SeenFace], FootageCounts]:
    tracks: dict[int, list[SeenFace]] = {}
    frames = frames_with_face = shots = 0
    is_whole = True
    with VideoReader(path) as video:
        for followed in followed_frames(video, landmarker, fps=fps):
            if frames == max_frames:
                is_whole = False
                break
            frames += 1
            frames_with_face += bool(followed.faces)
            shots = followed.shot + 1
            for number, face in followed.faces.items():
                tracks.setdefault(number, []).append(_see(followed.frame.image, face.points, sizes))
    counts = FootageCounts(frames, frames_with_face, shots, len(tracks), is_whole)
    return max(tracks.values(), key=len, default=[]), counts


def _see(picture: NDArray[np.uint8], points: NDArray[np.float32], sizes: set[int]) -> SeenFace:
    box = crop_box(points)
    return SeenFace({size: cut_crop(picture, box, size) for size in sizes}, box, points[:, :2].astype(np.float64))


def _sizes(predictors: Mapping[str, Predictor]) -> set[int]:
    return {predictor.image_size for predictor in predictors.values()}


def _predict(predictor: Predictor, faces: Sequence[SeenFace], batch_size: int = PICTURES_A_PASS) -> HeadParams:
    crops = [face.crops[predictor.image_size] for face in faces]
    batches = (as_input(crops[start : start + batch_size]) for start in range(0, len(crops), batch_size))
    return joined(predictor.head, [predictor.predict(batch) for batch in batches])


def _weights(predictor: Predictor) -> Floats:
    return predictor.head.landmark_weights.double().cpu().numpy()


def _means(files: dict[str, dict[str, float]]) -> dict[str, float]:
    names = next(iter(files.values()), {})
    return {name: float(np.mean([figures[name] for figures in files.values()])) for name in names}
