"""The NoW metric for one scan and one prediction (Sanyal et al. 2019, now.is.tue.mpg.de), to the official digit.

Crop the scan to the face, bring the prediction onto it by seven landmarks, refine by scan-to-mesh distances, and report
the distance of every cropped scan vertex to the aligned surface. Millimetres throughout.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.closest_point import TriangleTree
from sheap.evaluation.mesh_checks import check_mesh, check_points
from sheap.evaluation.mesh_surface import surface_problems
from sheap.evaluation.now.crop import LANDMARK_NAMES, RADIUS_FACTOR, FaceCrop, face_crop
from sheap.evaluation.now.refinement import refine
from sheap.evaluation.similarity import Similarity, procrustes
from sheap.evaluation.time_limit import TimeLimit

Floats = NDArray[np.float64]

Unit = Literal["m", "cm", "mm"]
MM_PER_UNIT: dict[str, float] = {"m": 1000.0, "cm": 10.0, "mm": 1.0}

PLAUSIBLE_RADIUS_MM = (40.0, 250.0)
"""Crop radii of human scans: NoW's reference scan has 101 mm. Anything else is a scan in another unit."""

WARN_LANDMARK_RMS = 0.12
"""Warned above this RMS landmark residual after Procrustes, as a share of the crop's radius. Measured: 0.039 and 0.050
on the reference pairs of a real scan, 0.16 and more there with any two landmarks exchanged."""

WARN_LANDMARK_OFF_MESH = 0.25
"""Warned when a predicted landmark, which lies on the predicted surface, is this share of the crop's radius off it."""

METRICAL_SCALE_RANGE = (0.5, 2.0)
"""A metrical prediction whose size is off by more than this is in another unit than claimed."""


class NowWarning(UserWarning):
    """The metric was computed, but the input looks wrong."""


@dataclass(frozen=True)
class NowResult:
    """What the metric found for one prediction.

    distances [P] (mm) of the cropped scan's vertices `scan_indices` [P] to the aligned surface; aligned_vertices [N,3]
    (mm, scan frame); crop_center [3] and crop_radius (mm); scale, rotation [3,3] and translation [3] from the
    prediction as given to the aligned one (aligned = scale * rotation @ v + translation); iterations of the refinement;
    landmark_rms_mm after Procrustes; warnings in words.
    """

    distances: Floats
    aligned_vertices: Floats
    crop_center: Floats
    crop_radius: float
    scale: float
    rotation: Floats
    translation: Floats
    iterations: int
    scan_indices: NDArray[np.int64]
    landmark_rms_mm: float
    warnings: tuple[str, ...]

    @property
    def median(self) -> float:
        """Median distance (mm)."""
        return float(np.median(self.distances))


def evaluate_pair(
    scan_vertices: NDArray[np.floating],
    scan_faces: NDArray[np.integer] | None,
    scan_landmarks: NDArray[np.floating],
    predicted_vertices: NDArray[np.floating],
    predicted_faces: NDArray[np.integer],
    predicted_landmarks: NDArray[np.floating],
    *,
    metrical_unit: Unit | None = None,
    num_threads: int = 1,
    time_limit: TimeLimit | None = None,
) -> NowResult:
    """The NoW error of a neutral prediction against its scan.

    scan_vertices [N,3], scan_faces [F,3], scan_landmarks [7,3] in mm, landmarks in the order of LANDMARK_NAMES (they
    are rounded to float32, as the official tool reads them); predicted_* likewise in any unit. With `metrical_unit`,
    the prediction's unit, the scale is fixed (NoW's metrical variant). The scan's faces only have to be sound: the
    metric does not use them, and a point cloud has none. time_limit: raises its TookTooLong, a ValueError, when it ends.

    Raises ValueError naming the field for malformed arrays, an empty crop, a scan that is not in millimetres, or a
    metrical unit that contradicts the prediction's size. Warns (NowWarning, and in the result) when landmarks do not
    fit, look mirrored or float off the mesh, faces have no area, or the mesh is no surface near the face.
    """
    crop, indices = check_scan(scan_vertices, scan_faces, scan_landmarks)
    check_mesh(predicted_vertices, predicted_faces, "predicted")
    scan_landmarks = np.asarray(scan_landmarks, dtype=np.float32)
    predicted_landmarks = _landmarks(predicted_landmarks, "predicted_landmarks")
    scan_vertices = np.asarray(scan_vertices, dtype=np.float64)
    predicted_vertices = np.asarray(predicted_vertices, dtype=np.float64)
    remarks: list[str] = []

    try:
        landmark_fit = procrustes(scan_landmarks, predicted_landmarks)
    except ValueError:
        raise ValueError("predicted_landmarks: all seven coincide") from None
    landmark_rms = _rms(landmark_fit, scan_landmarks, predicted_landmarks)
    if landmark_fit.is_reflection:
        unmirrored = procrustes(scan_landmarks, predicted_landmarks, allow_reflection=False)
        remarks.append(
            f"alignment residual abnormal: the landmarks fit best mirrored, and lie "
            f"{_rms(unmirrored, scan_landmarks, predicted_landmarks):.1f} mm (RMS) apart otherwise; are left and right "
            "exchanged in one set?"
        )
    if landmark_rms > WARN_LANDMARK_RMS * crop.radius:
        remarks.append(
            f"alignment residual abnormal: landmarks are {landmark_rms:.1f} mm (RMS) apart after alignment; are they "
            "in NoW's order?"
        )
    start = landmark_fit
    if metrical_unit is not None:
        start = _metrical_start(landmark_fit, metrical_unit)

    tree = TriangleTree(start.apply(predicted_vertices), predicted_faces, time_limit)
    if tree.num_degenerate:
        remarks.append(f"{tree.num_degenerate} of {tree.num_faces} predicted faces have no area")
    remarks += surface_problems(predicted_vertices, np.asarray(predicted_faces, np.int64), predicted_landmarks)
    off_mesh = tree.query(start.apply(predicted_landmarks.astype(np.float64))).distances.max()
    if off_mesh > WARN_LANDMARK_OFF_MESH * crop.radius:
        remarks.append(
            f"a predicted landmark is {off_mesh:.3g} mm away from the predicted mesh: do they share a frame and a unit?"
        )
    refinement = refine(scan_vertices[indices], tree, num_threads, with_scale=metrical_unit is None)
    total = refinement.transform.after(start)
    for remark in remarks:
        warnings.warn(remark, NowWarning, stacklevel=2)
    return NowResult(
        distances=refinement.distances,
        aligned_vertices=total.apply(predicted_vertices),
        crop_center=crop.center,
        crop_radius=crop.radius,
        scale=total.scale,
        rotation=total.rotation,
        translation=total.translation,
        iterations=refinement.iterations,
        scan_indices=indices,
        landmark_rms_mm=landmark_rms,
        warnings=tuple(remarks),
    )


def check_scan(
    scan_vertices: NDArray[np.floating], scan_faces: NDArray[np.integer] | None, scan_landmarks: NDArray[np.floating]
) -> tuple[FaceCrop, NDArray[np.int64]]:
    """The face crop of a scan (mm) and the indices of its vertices in it. Raises ValueError as evaluate_pair does."""
    if scan_faces is None:
        check_points(scan_vertices, "scan vertices")
    else:
        check_mesh(scan_vertices, scan_faces, "scan")
    crop = face_crop(_landmarks(scan_landmarks, "scan_landmarks").astype(np.float32), RADIUS_FACTOR)
    if not PLAUSIBLE_RADIUS_MM[0] <= crop.radius <= PLAUSIBLE_RADIUS_MM[1]:
        raise ValueError(
            f"scan_landmarks: the face's crop has a radius of {crop.radius:.4g} mm, not a human's: scans are read in "
            "millimetres, landmarks in the order " + ", ".join(LANDMARK_NAMES)
        )
    indices = crop.indices(np.asarray(scan_vertices, dtype=np.float64))
    if len(indices) == 0:
        raise ValueError(
            f"scan vertices: none within {crop.radius:.1f} mm of the face centre {np.round(crop.center, 1).tolist()}; "
            "do scan and scan_landmarks share a frame and a unit?"
        )
    return crop, indices


def _landmarks(landmarks: NDArray[np.floating], name: str) -> NDArray[np.floating]:
    landmarks = np.asarray(landmarks)
    if landmarks.shape != (7, 3):
        raise ValueError(f"{name}: expected [7,3] ({', '.join(LANDMARK_NAMES)}), got {list(landmarks.shape)}")
    if not np.issubdtype(landmarks.dtype, np.floating):
        landmarks = landmarks.astype(np.float64)
    if not np.isfinite(landmarks).all():
        raise ValueError(f"{name}: NaN or infinite coordinates")
    return landmarks


def _rms(fit: Similarity, target: NDArray[np.floating], source: NDArray[np.floating]) -> float:
    """Root of the mean squared distance of fitted landmarks."""
    apart = fit.apply(source.astype(np.float64)) - target
    return float(np.sqrt((apart**2).sum(axis=1).mean()))


def _metrical_start(landmark_fit: Similarity, unit: str) -> Similarity:
    """The prediction's own scale with the landmark fit's rotation and translation.

    The translation is that of the *scaled* fit, so the start is off where the two scales differ; that is what the
    official metrical evaluation does, and its figures depend on it.
    """
    if unit not in MM_PER_UNIT:
        raise ValueError(f"metrical_unit: expected one of {', '.join(MM_PER_UNIT)}, got '{unit}'")
    scale = MM_PER_UNIT[unit]
    ratio = landmark_fit.scale / scale
    if not METRICAL_SCALE_RANGE[0] <= ratio <= METRICAL_SCALE_RANGE[1]:
        raise ValueError(
            f"metrical_unit: read in '{unit}', the prediction would have to grow {ratio:.3g} times to fit the scan; "
            "is it in another unit?"
        )
    return Similarity(scale, landmark_fit.rotation, landmark_fit.translation)
