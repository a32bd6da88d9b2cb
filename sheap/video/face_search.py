"""Faces of a whole picture: small ones, and ones that lie on the side or stand on the head.

The detector knows upright faces of about a tenth of what it is shown. So it is shown the picture, then ever smaller
overlapping squares of it, then all of these turned by quarters, until a look shows a face that the landmark model confirms:
a false detection ends no search. A face seen askew gets confident landmarks in wrong places (upside down: presence 0.99), so
a find of which the detector is not sure is looked at again in its four turns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sheap.video.face_detector import FaceDetection, overlap
from sheap.video.face_region import (
    FaceLandmarks,
    FaceRoi,
    face_box,
    roi_from_detection,
    roi_from_landmarks,
    roi_to_image,
    warp_patch,
)

MIN_PRESENCE = 0.5
"""Below this a region holds no face."""

SURE_SCORE = 0.9
"""A detection with this score shows a face the right way up: on 23 portraits and frames of real people seen turned by 90, 180
and 270 degrees none scored above 0.87; upright, three of four score more than this."""

MIN_LEAD = 0.03
"""By so much more the detector must like a face in another turn."""

MAX_ASKEW = math.radians(25)
"""Eyes that lie farther from the line of the landmarks' eyes say that the landmarks are wrong."""

ASKEW_IN_VIEW = math.radians(60)
"""A face that is rolled farther in what the detector was shown is looked for again where it stands upright."""

MIN_TURNED_SCORE, MIN_SMALL_SCORE, MIN_TURNED_PRESENCE = 0.7, 0.85, 0.9
"""Of a face that is turned, and of one that only a square of the picture shows: such looks are many, and each may take a pattern
for a face. Measured: patterns in three pictures of animals up to 0.77, real faces 30 px high at least 0.90, when looked at again;
the landmark model's presence says 0.99 of patterns, too, at that size."""

CLOSER_SHARES = (0.75, 0.45, 0.2)
"""Sides of the squares in which small faces are looked for, over the picture's shorter side."""

LEAST_SQUARE_PX, MOST_SQUARES = 32, 1000
"""Smaller squares show no face that anything could be told of, and more of one size (a strip of a picture; 840 where it is twenty
times as long as high) would take minutes: neither are looked at."""

LEAST_SHARE = 0.15
"""Height of a face that is surely found, over the square that shows it. Measured with eight faces at three places each: 7 of
24 at 0.09, 21 at 0.12, all from 0.16."""

SAME_FACE = 0.25
"""Overlap of two faces' boxes from which on they are one."""

_PATCH_SIDE = 128
_PATCH_MARGIN = 1.4
"""Side of the patch in which a find is looked at again, over the landmark model's region."""


class FaceModels(Protocol):
    """What looks: sheap.video.face_landmarker.FaceLandmarker is one."""

    def detect(self, image: NDArray[np.uint8]) -> list[FaceDetection]: ...

    def landmarks(self, image: NDArray[np.uint8], roi: FaceRoi) -> FaceLandmarks: ...


@dataclass(frozen=True)
class FoundFace(FaceDetection):
    """A detection that the landmark model confirms."""

    face: FaceLandmarks


@dataclass(frozen=True)
class _View:
    """A square of a picture, or all of it, turned clockwise by quarters."""

    left: int
    top: int
    width: int
    height: int
    quarters: int

    def of(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        part = image[self.top : self.top + self.height, self.left : self.left + self.width]
        return np.ascontiguousarray(np.rot90(part, -self.quarters))

    def to_picture(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points [..., 2] of the view in px of the picture."""
        x, y = points[..., 0], points[..., 1]
        x, y = ((x, y), (y, self.height - x), (self.width - x, self.height - y), (self.width - y, x))[self.quarters]
        return np.stack([x + self.left, y + self.top], -1).astype(np.float32, copy=False)


def search_faces(
    models: FaceModels,
    image: NDArray[np.uint8],
    *,
    closely: bool,
    turned: bool | None = None,
    shares: Sequence[float] = CLOSER_SHARES,
    known: Sequence[NDArray[np.float32]] = (),
    thoroughly: bool = False,
) -> list[FoundFace]:
    """Faces of a uint8 RGB picture [H, W, 3], best detection first, but for those in the `known` boxes [4].

    Where the whole picture shows none, also small ones (closely: in squares of these `shares` of its shorter side) and those
    that lie on the side or upside down (turned; None: as closely). thoroughly: small ones are looked for in any case, as in a
    picture of a group, whose largest faces are found at once.
    """
    found: list[FoundFace] = []
    looks = _looks(image.shape[0], image.shape[1], shares if closely else (), closely if turned is None else turned)
    for views in looks:
        if found and (not thoroughly or views[0].quarters):
            break
        detections = [(detection, view) for view in views for detection in _detections(models, image, view)]
        before = [*known, *(face_box(one.face.points) for one in found)]
        for detection, view in sorted(detections, key=lambda item: -item[0].score):
            if _is_known(detection.box, before):
                continue  # followed or found already: the costly landmarks need not say so
            is_whole = (view.width, view.height) == (image.shape[1], image.shape[0])
            least = (MIN_TURNED_SCORE if view.quarters else 0.0) if is_whole else MIN_SMALL_SCORE
            face = _confirmed(models, image, detection, least_score=least)
            face = None if face is None else _as_if_upright(models, image, view, face)
            if face is None or _is_known(face_box(face.points), [*known, *(face_box(one.face.points) for one in found)]):
                continue
            found.append(FoundFace(detection.box, detection.keypoints, detection.score, face))
        if known:
            break
    return found


def no_face(image: NDArray[np.uint8]) -> str:
    """What to tell a person whose picture [H, W, 3] shows no face: what was tried, and what would help."""
    height, width = image.shape[:2]
    sides = _square_sides(height, width, CLOSER_SHARES)
    least = math.ceil(LEAST_SHARE * min([max(height, width), *sides.values()]))
    squares = ", ".join(f"{share:.0%}" for share in sides)
    closely = f"at squares of {squares} of its shorter side, and at all of them" if sides else "and at it"
    return (
        f"no face found: looked at the whole picture ({width} x {height}), {closely} turned by 90, 180 and 270 degrees; a face "
        f"that is at least {least} px high, lit and seen from the front would be found: crop the picture around a smaller one, "
        "or take another picture"
    )


def _looks(height: int, width: int, shares: Sequence[float], turned: bool) -> Iterator[list[_View]]:
    """Views of a picture that are looked at together; the next ones only where these show no face."""
    for turns in ((0,), (1, 2, 3)) if turned else ((0,),):
        yield [_View(0, 0, width, height, turn) for turn in turns]
        for side in _square_sides(height, width, shares).values():
            yield [
                _View(left, top, side, side, turn)
                for turn in turns
                for top in _starts(height, side)
                for left in _starts(width, side)
            ]


def _square_sides(height: int, width: int, shares: Sequence[float]) -> dict[float, int]:
    """The squares' sides, px, by their share of the shorter side."""
    sides = {share: round(min(height, width) * share) for share in shares}
    return {
        share: side
        for share, side in sides.items()
        if side >= LEAST_SQUARE_PX and len(_starts(height, side)) * len(_starts(width, side)) <= MOST_SQUARES
    }


def _starts(length: int, side: int) -> list[int]:
    """Where squares of `side` start so that they cover `length` and overlap by at least a quarter."""
    count = 1 if length <= side else int(np.ceil((length - side) / (0.75 * side))) + 1
    return [round(start) for start in np.linspace(0, length - side, count)]


def _detections(models: FaceModels, image: NDArray[np.uint8], view: _View) -> list[FaceDetection]:
    """Faces of a view, in px of the picture."""
    found = []
    for face in models.detect(view.of(image)):
        corners = view.to_picture(face.box.reshape(2, 2))
        box = np.concatenate([corners.min(0), corners.max(0)])
        found.append(FaceDetection(box, view.to_picture(face.keypoints), face.score))
    return found


def _is_known(box: NDArray[np.float32], known: Sequence[NDArray[np.float32]]) -> bool:
    return bool(known) and bool(overlap(box, np.stack(known)).max() > SAME_FACE)


def _confirmed(
    models: FaceModels, image: NDArray[np.uint8], detection: FaceDetection, *, least_score: float
) -> FaceLandmarks | None:
    """The landmarks of a detected face the right way up; None where there is no face."""
    roi = roi_from_detection(detection)
    face = models.landmarks(image, roi)
    is_face = face.presence >= MIN_PRESENCE
    if is_face and detection.score >= SURE_SCORE:
        return face
    around = roi_from_landmarks(face.points) if is_face else roi
    as_found, *turned = (_look_again(models, image, around, math.radians(turn)) for turn in (0, 90, 180, 270))
    best = max(turned, key=lambda look: look.score)
    if not is_face or best.score > as_found.score + MIN_LEAD:
        chosen = best
    elif abs(as_found.askew) > MAX_ASKEW:
        chosen = as_found
    else:
        return face if as_found.score >= least_score else None
    if chosen.roi is None or chosen.score < max(least_score, MIN_TURNED_SCORE):
        return face if is_face and as_found.score >= least_score else None
    turned_face = models.landmarks(image, chosen.roi)
    if turned_face.presence < MIN_TURNED_PRESENCE:
        return face if is_face and as_found.score >= least_score else None
    # the detector's eyes are rough where the patch lies askew
    again = models.landmarks(image, roi_from_landmarks(turned_face.points))
    return again if again.presence >= turned_face.presence else turned_face


def _as_if_upright(models: FaceModels, image: NDArray[np.uint8], view: _View, face: FaceLandmarks) -> FaceLandmarks:
    """A face found askew, as it is found in the view that shows it upright: a turned picture gives what the upright one gives."""
    rotation = roi_from_landmarks(face.points).rotation
    in_view = math.remainder(rotation + view.quarters * math.pi / 2, 2 * math.pi)
    if abs(in_view) < ASKEW_IN_VIEW:
        return face
    quarters = -round(rotation / (math.pi / 2)) % 4
    around = face_box(face.points)
    for detection in _detections(models, image, replace(view, quarters=quarters)):
        if overlap(detection.box, around[None])[0] > SAME_FACE:
            upright = models.landmarks(image, roi_from_detection(detection))
            is_same = overlap(face_box(upright.points), around[None])[0] > 2 * SAME_FACE
            if upright.presence >= MIN_PRESENCE and is_same:
                return upright
    return face


@dataclass(frozen=True)
class _SecondLook:
    """What the detector makes of a turned region: a score (0: nothing), how far askew the face stands in it, radians, and
    the region of the face."""

    score: float
    askew: float
    roi: FaceRoi | None


def _look_again(models: FaceModels, image: NDArray[np.uint8], around: FaceRoi, turn: float) -> _SecondLook:
    rotation = around.rotation + turn
    patch_roi = replace(around, side=_PATCH_MARGIN * around.side, rotation=rotation)
    to_image = roi_to_image(patch_roi, _PATCH_SIDE)
    detections = models.detect(warp_patch(image, to_image, _PATCH_SIDE))
    if not detections:
        return _SecondLook(0.0, 0.0, None)
    seen = roi_from_detection(detections[0])
    x, y = to_image @ [seen.center_x, seen.center_y, 1.0]
    scale = patch_roi.side / _PATCH_SIDE
    roi = FaceRoi(float(x), float(y), scale * seen.side, rotation + seen.rotation)
    return _SecondLook(detections[0].score, seen.rotation, roi)
