"""Faces followed from frame to frame within a shot: one track is one person; a doubtful one is ended, not guessed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sheap.video.face_detector import overlap
from sheap.video.face_region import FaceLandmarks, face_box, roi_from_landmarks
from sheap.video.face_search import CLOSER_SHARES, MIN_PRESENCE, FaceModels, search_faces

DETECT_EVERY = 10
"""Frames between searches for new faces while others are followed."""

TURNED_EVERY = 4
"""Of these searches one looks for faces that lie on the side or upside down, which takes four times as long."""

FOOTAGE_SHARES = CLOSER_SHARES[:2]
"""A face that only smaller squares would show is too small for a clip (`ingest.filter.min_head_px`), and they are many."""

MIN_CONTINUITY = 0.25
"""Overlap of a face's boxes in consecutive frames below which the track has jumped."""

MOST_MOVED = 0.06
"""Share of its region's side by which a face may have moved between frames and still be seen well in the old region: beyond, the
landmarks are off by 1 to 2 % of the eyes' distance (a shaken clip), by 0.5 % when they are looked for once more."""

MAX_MERGE = 0.5
"""Two tracks whose boxes overlap more than this cannot be told apart any longer."""


@dataclass
class _Track:
    number: int
    face: FaceLandmarks


class FaceTracker:
    """Follows every face of one shot; numbers are never reused within a video."""

    def __init__(self, landmarker: FaceModels) -> None:
        self._landmarker = landmarker
        self._tracks: list[_Track] = []
        self._next_number = 0
        self._frames_since_search = DETECT_EVERY
        self._searches = 0
        """Since the shot began."""

    def start_shot(self) -> None:
        """Forgets every face: nobody is assumed to be the same person across a cut."""
        self._tracks = []
        self._frames_since_search = DETECT_EVERY
        self._searches = 0

    def update(self, image: NDArray[np.uint8]) -> dict[int, FaceLandmarks]:
        """The faces in the next frame, by track number; a track that is missing has ended."""
        followed = [track for track in self._tracks if self._follow(track, image)]
        some_were_lost = len(followed) < len(self._tracks)
        self._tracks = _without_merged(followed)
        self._frames_since_search += 1
        is_due = self._frames_since_search >= DETECT_EVERY
        if is_due or some_were_lost or not self._tracks:
            # the costly search for small faces only when it is due: a long stretch without a face must stay cheap
            self._start_new(image, closely=is_due, turned=is_due and self._searches % TURNED_EVERY == 0)
            self._searches += is_due
            if is_due:
                self._frames_since_search = 0
        return {track.number: track.face for track in self._tracks}

    def _follow(self, track: _Track, image: NDArray[np.uint8]) -> bool:
        region = roi_from_landmarks(track.face.points)
        face = self._landmarker.landmarks(image, region)
        moved_to = roi_from_landmarks(face.points)
        if np.hypot(moved_to.center_x - region.center_x, moved_to.center_y - region.center_y) > MOST_MOVED * region.side:
            face = self._landmarker.landmarks(image, moved_to)
        before, now = face_box(track.face.points), face_box(face.points)
        if face.presence < MIN_PRESENCE or overlap(before, now[None])[0] < MIN_CONTINUITY:
            return False
        track.face = face
        return True

    def _start_new(self, image: NDArray[np.uint8], closely: bool, turned: bool) -> None:
        known = [face_box(track.face.points) for track in self._tracks]
        closely, turned = closely and not known, turned and not known
        for found in search_faces(
            self._landmarker, image, closely=closely, turned=turned, shares=FOOTAGE_SHARES, known=known
        ):
            self._tracks.append(_Track(self._next_number, found.face))
            self._next_number += 1


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
