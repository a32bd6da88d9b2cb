"""Whether a predicted mesh is a surface at all near the face: its edges, its area, and how it folds.

Faces that skip over the head (a topology rolled, shifted or of another mesh) and noise of millimetres lower NoW's median, since
there is a face near every point. They are told by three figures, in widths of NoW's ball around the face. Measured, where sound
is what the reference pairs hold (scans, predictions, one decimated), ICT's people up to 3 and the open head up to 4 standard
deviations in every coefficient, and spheres of 100 vertices:

                                            longest edge     area        share of folded edges
    sound, at most                              0.49         3.5               0.11
    faces rolled by one corner                  1.5          4.9               0.54
    vertices shifted by one, or one lost        1.4         19                 0.47
    noise of 2 mm (of 5 mm)                     0.23         3.6 (9.9)         0.43 (0.70)
    one face in a hundred at random             1.3         11                 0.02
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.closest_point import SLIVER_RATIO
from sheap.evaluation.now.crop import RADIUS_FACTOR, face_crop

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LONGEST_EDGE = 0.8
LARGEST_AREA = 5.0
FOLDED_DEG = 60.0
MOST_FOLDED = 0.25
"""Share of the length of all edges between two faces that are folded by more than FOLDED_DEG."""
MOST_FLAT = 0.1
"""Share of faces without an area: sound meshes have none."""

_SAME_PLACE = 1e-5
"""Vertices closer than this share of the ball's radius are one: files repeat them at seams, or for every face."""


def surface_problems(vertices: Floats, faces: Ints, landmarks: NDArray[np.floating]) -> tuple[str, ...]:
    """What is absurd for a face, in words: vertices [N,3], faces [F,3], NoW's landmarks [7,3] in one unit; () when sound."""
    figures = surface_figures(vertices, faces, landmarks)
    if figures is None:
        return ()
    found = []
    longest, area, folded, num_long, num_flat, num_faces = figures
    if longest > LONGEST_EDGE:
        found.append(
            f"{num_long} of {num_faces} faces near the face have edges longer than {LONGEST_EDGE:g} times its width: "
            "do faces and vertices belong together?"
        )
    if area > LARGEST_AREA:
        found.append(f"the faces near the face have {area:.0f} times its width squared in area: do they skip over the head?")
    if folded > MOST_FOLDED:
        found.append(f"{100 * folded:.0f} % of the surface near the face is folded by more than {FOLDED_DEG:.0f} degrees")
    if num_flat > MOST_FLAT * num_faces:
        found.append(f"{num_flat} of {num_faces} faces near the face have no area: do faces and vertices belong together?")
    return tuple(found)


def surface_figures(
    vertices: Floats, faces: Ints, landmarks: NDArray[np.floating]
) -> tuple[float, float, float, int, int, int] | None:
    """Longest edge, area, share of folded edges (see above); how many faces have too long an edge, no area, and are there at all.

    Counted are faces with a vertex in the ball. None where there is none, or the landmarks span nothing.
    """
    crop = face_crop(np.asarray(landmarks, np.float32), RADIUS_FACTOR)
    if not np.isfinite(crop.radius) or crop.radius <= 0:
        return None
    scaled = (np.asarray(vertices, np.float64) - crop.center) / (2 * crop.radius)
    near = faces[((scaled**2).sum(1) <= 0.25)[faces].any(1)]
    if not len(near):
        return None
    corners = scaled[near]
    edges = corners[:, (1, 2, 0)] - corners
    lengths = np.linalg.norm(edges, axis=2)
    normals = np.cross(edges[:, 0], edges[:, 1])
    areas = np.linalg.norm(normals, axis=1) / 2
    has_area = areas > SLIVER_RATIO * lengths.max(1) ** 2
    normals[has_area] /= 2 * areas[has_area, None]
    folded = _folded_share(_merged(corners[has_area]), normals[has_area], lengths[has_area])
    too_long = int((lengths.max(1) > LONGEST_EDGE).sum())
    return float(lengths.max()), float(areas.sum()), folded, too_long, int((~has_area).sum()), len(near)


def _merged(corners: Floats) -> Ints:
    """Faces [F,3] whose corners [F,3,3] have one number where they are in one place."""
    places = np.round(corners.reshape(-1, 3) / (_SAME_PLACE / 2)).astype(np.int64)
    order = np.lexsort(places.T)
    is_new = np.ones(len(places), bool)
    is_new[1:] = (places[order[1:]] != places[order[:-1]]).any(1)
    numbers = np.empty(len(places), np.int64)
    numbers[order] = np.cumsum(is_new) - 1
    return numbers.reshape(-1, 3)


def _folded_share(faces: Ints, normals: Floats, lengths: Floats) -> float:
    """Of the edges between two faces; a face that is wound the other way than its neighbour is turned for it."""
    ends = np.stack([faces, faces[:, (1, 2, 0)]], axis=2).reshape(-1, 2)
    is_forward = ends[:, 0] < ends[:, 1]
    ends = np.sort(ends, axis=1)
    order = np.lexsort(ends.T)
    is_new = np.ones(len(ends), bool)
    is_new[1:] = (ends[order[1:]] != ends[order[:-1]]).any(1)
    starts = np.flatnonzero(is_new)
    pairs = starts[np.diff(np.append(starts, len(ends))) == 2]
    one, other = order[pairs], order[pairs + 1]
    if not len(one):
        return 0.0
    sign = np.where(is_forward[one] == is_forward[other], -1.0, 1.0)
    cosines = sign * (normals[one // 3] * normals[other // 3]).sum(1)
    weights = lengths.reshape(-1)[one]
    return float(weights[cosines < np.cos(np.radians(FOLDED_DEG))].sum() / weights.sum())
