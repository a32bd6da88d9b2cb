"""Is it that face at all? What a prediction says of itself: figures that need no truth, and whether they are those of a sure one.

A landmark model answers whatever it is shown. On a profile its points lie on ear and hair, on a wrong find anywhere; the mesh,
predicted from the same crop by another network, then lies elsewhere. The thresholds were measured on portraits and videos of
real people and on rendered people whose truth is known: docs/robustness.md, `python -m experiments.verdict_figures`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.evaluation.video_metrics import LEFT_EYE_OUTER, RIGHT_EYE_OUTER
from sheap.geometry.cameras import project, published_camera
from sheap.geometry.rotations import rotvec_to_matrix
from sheap.head import HeadModel, HeadParams
from sheap.video.crops import CropBox
from sheap.video.face_landmarker import FaceLandmarks

LEAST_PRESENCE = 0.8
MOST_DISAGREEMENT = 0.13
"""In eye distances."""
MOST_YAW_DEG = 60.0


@dataclass(frozen=True)
class Verdict:
    """presence: the landmark model's own, 0 to 1. disagreement: mean distance of the mesh's landmarks and those found in the
    picture, in distances of the outer eye corners (in space: a profile's do not shrink); None where the head model has no such
    landmarks. yaw_deg: of the predicted head, positive towards the person's left. reasons: why the prediction is doubtful, empty
    where it is sure.
    """

    presence: float
    disagreement: float | None
    yaw_deg: float
    reasons: tuple[str, ...]

    @property
    def is_sure(self) -> bool:
        return not self.reasons

    @property
    def word(self) -> str:
        """`sure` or `doubtful`."""
        return "sure" if self.is_sure else "doubtful"

    def to_json(self) -> dict[str, Any]:
        """As results and manifests carry it."""
        return {
            "verdict": self.word,
            "reasons": list(self.reasons),
            "presence": round(self.presence, 4),
            "disagreement": None if self.disagreement is None else round(self.disagreement, 4),
            "yaw_deg": round(self.yaw_deg, 1),
        }

    def __str__(self) -> str:
        figures = f"presence {self.presence:.2f}, yaw {self.yaw_deg:+.0f} deg"
        if self.disagreement is not None:
            figures += f", disagreement {self.disagreement:.2f}"
        return f"{self.word} ({'; '.join(self.reasons) or figures})"


def judge(presence: float, disagreement: float | None, yaw_deg: float) -> Verdict:
    """The verdict on these figures. Raises ValueError for figures that are no numbers: the model's answer was none."""
    if not all(math.isfinite(value) for value in (presence, disagreement or 0.0, yaw_deg)):
        raise ValueError("model: its answer to this picture is not finite")
    reasons = []
    if presence < LEAST_PRESENCE:
        reasons.append(f"a face is there with presence {presence:.2f} alone, below {LEAST_PRESENCE:g}")
    if disagreement is not None and disagreement > MOST_DISAGREEMENT:
        reasons.append(f"mesh and landmarks disagree by {disagreement:.2f} eye distances, more than {MOST_DISAGREEMENT:g}")
    if abs(yaw_deg) > MOST_YAW_DEG:
        reasons.append(f"the face is turned by {abs(yaw_deg):.0f} degrees, farther than {MOST_YAW_DEG:g}")
    return Verdict(presence, disagreement, yaw_deg, tuple(reasons))


@torch.inference_mode()
def judge_prediction(head: HeadModel, params: HeadParams, crop: CropBox, face: FaceLandmarks) -> Verdict:
    """The verdict on one predicted head (batch of one) as it lies in `crop`, against the landmarks of the face it was cut by."""
    if not all(bool(torch.isfinite(value).all()) for value in (params.shape, params.translation, params.root_rotvec)):
        raise ValueError("model: its answer to this picture is not finite")
    return judge(face.presence, disagreement(head, params, crop, face.points), yaw_of(params))


def disagreement(head: HeadModel, params: HeadParams, crop: CropBox, points: NDArray[np.float32]) -> float | None:
    """Mean distance of the mesh's landmarks from `points` [478, 3] px, as the head model weighs them, in eye distances."""
    if head.landmark_faces is None:
        return None
    in_crop, _ = project(head.landmarks(head(params).vertices), published_camera(1, device=head.template.device))
    x, y, side = crop
    seen = (in_crop[0, 0].double().cpu().numpy() - 0.5) * side + [x, y]
    weights = head.landmark_weights.double().cpu().numpy()
    found = points.astype(np.float64)
    eyes = float(np.linalg.norm(found[RIGHT_EYE_OUTER] - found[LEFT_EYE_OUTER]))
    apart = float(np.linalg.norm(seen - found[:, :2], axis=-1) @ weights / weights.sum())
    return apart / eyes if eyes > 0 else math.inf


def yaw_of(params: HeadParams) -> float:
    """How far the head (batch of one) is turned about its own height, degrees; 0 looks into the camera, 90 to the side."""
    turned = rotvec_to_matrix(params.root_rotvec)
    if params.neck_rotvec is not None:
        turned = turned @ rotvec_to_matrix(params.neck_rotvec)
    out = turned[0, :, 2]
    return math.degrees(math.atan2(float(out[0]), float(out[2])))
