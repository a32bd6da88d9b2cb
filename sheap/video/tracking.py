"""Faces followed from frame to frame within a shot: one track is one person; a doubtful one is ended, not guessed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.video.face_detector import FaceDetection, overlap
from sheap.video.face_landmarker import (
    MIN_PRESENCE,
    FaceLandmarker,
    FaceLandmarks,
    roi_from_detection,
    roi_from_landmarks,
)

DETECT_EVERY = 10
"""Frames between searches for new faces while others are followed."""

MIN_CONTINUITY = 0.25
"""Overlap of a face's boxes in consecutive frames below which the track has jumped."""

_CLOSER_SHARES = (0.75, 0.45)
"""Sides of the squares in which small faces are looked for, over the picture's shorter side."""

MAX_MERGE = 0.5
"""Two tracks whose boxes overlap more than this cannot be told apart any longer."""


@dataclass
class _Track:
    number: int
    face: FaceLandmarks


class FaceTracker:
    """Follows every face of one shot; numbers are never reused within a video."""

    def __init__(self, landmarker: FaceLandmarker) -> None:
        self._landmarker = landmarker
        self._tracks: list[_Track] = []
        self._next_number = 0
        self._frames_since_search = DETECT_EVERY

    def start_shot(self) -> None:
        """Forgets every face: nobody is assumed to be the same person across a cut."""
        self._tracks = []
        self._frames_since_search = DETECT_EVERY

    def update(self, image: NDArray[np.uint8]) -> dict[int, FaceLandmarks]:
        """The faces in the next frame, by track number; a track that is missing has ended."""
        followed = [track for track in self._tracks if self._follow(track, image)]
        some_were_lost = len(followed) < len(self._tracks)
        self._tracks = _without_merged(followed)
        self._frames_since_search += 1
        is_due = self._frames_since_search >= DETECT_EVERY
        if is_due or some_were_lost or not self._tracks:
            # the costly search for small faces only when it is due: a long stretch without a face must stay cheap
            self._start_new(image, closely=is_due)
            if is_due:
                self._frames_since_search = 0
        return {track.number: track.face for track in self._tracks}

    def _follow(self, track: _Track, image: NDArray[np.uint8]) -> bool:
        face = self._landmarker.landmarks(image, roi_from_landmarks(track.face.points))
        before, now = face_box(track.face.points), face_box(face.points)
        if face.presence < MIN_PRESENCE or overlap(before, now[None])[0] < MIN_CONTINUITY:
            return False
        track.face = face
        return True

    def _start_new(self, image: NDArray[np.uint8], closely: bool) -> None:
        known = [face_box(track.face.points) for track in self._tracks]
        for detection in search_faces(self._landmarker, image, closely=closely and not known):
            if known and overlap(detection.box, np.stack(known)).max() > MIN_CONTINUITY:
                continue  # followed already: the costly landmarks need not say so
            face = self._landmarker.landmarks(image, roi_from_detection(detection))
            if face.presence < MIN_PRESENCE:
                continue
            box = face_box(face.points)
            if known and overlap(box, np.stack(known)).max() > MIN_CONTINUITY:
                continue
            known.append(box)
            self._tracks.append(_Track(self._next_number, face))
            self._next_number += 1


def search_faces(landmarker: FaceLandmarker, image: NDArray[np.uint8], *, closely: bool) -> list[FaceDetection]:
    """Faces of a whole picture. Closely: where none is found, those of ever smaller overlapping squares."""
    found = landmarker.detect(image)
    sides = [round(min(image.shape[:2]) * share) for share in _CLOSER_SHARES] if closely else []
    for side in sides:
        if found:
            break
        found = _search_squares(landmarker, image, side)
    return found


def _search_squares(landmarker: FaceLandmarker, image: NDArray[np.uint8], side: int) -> list[FaceDetection]:
    """Faces of the overlapping squares that cover a picture, in its pixels; a face may come more than once."""
    found = []
    for top in _starts(image.shape[0], side):
        for left in _starts(image.shape[1], side):
            square = np.ascontiguousarray(image[top : top + side, left : left + side])
            shift = np.array([left, top], np.float32)
            for face in landmarker.detect(square):
                found.append(FaceDetection(face.box + np.tile(shift, 2), face.keypoints + shift, face.score))
    return sorted(found, key=lambda face: -face.score)


def _starts(length: int, side: int) -> list[int]:
    """Where squares of `side` start so that they cover `length` and overlap by at least a quarter."""
    count = 1 if length <= side else int(np.ceil((length - side) / (0.75 * side))) + 1
    return [round(start) for start in np.linspace(0, length - side, count)]


def face_box(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bounding box (left, top, right, bottom) of landmarks [478, 2 or 3], px."""
    return np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])


def _without_merged(tracks: list[_Track]) -> list[_Track]:
    """Ends tracks that have run into each other: after that nobody knows who is who."""
    if len(tracks) < 2:
        return tracks
    boxes = np.stack([face_box(track.face.points) for track in tracks])
    merged = {
        number
        for number, box in enumerate(boxes)
        if any(other != number and value > MAX_MERGE for other, value in enumerate(overlap(box, boxes)))
    }
    return [track for number, track in enumerate(tracks) if number not in merged]
