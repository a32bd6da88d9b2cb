"""ICT's people on the open head's starting mesh: the registration with our landmarks and weights filled in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sheap.head.data import OPEN_HEAD_PATH, read_head
from sheap.head.ict import NOW_IN_68, IctSkin
from sheap.head.recipe.build import NOW_BASE_VERTICES, Start
from sheap.head.recipe.population import by_region
from sheap.head.recipe.registration import MEDIAPIPE_OF_68, Measured, RegistrationSettings, measure_people
from sheap.head.recipe.topology import smooth_over_mesh

TRUST = (("face", 1.0), ("scalp", 0.7), ("ears", 0.05), ("neck", 0.4))
"""How much each region counts: ears fold differently, and necks are posed."""

EDGE_TRUST, EDGE_RINGS = 0.05, 4
"""Along the edges of lids and lips, and so many rings around, nearest points lie on the wrong fold: the landmarks and the
skin around decide."""


def measure_start(start: Start, ict: IctSkin) -> Measured:
    """Statistics of ICT's people in the fields of the recipe's start."""
    weights = by_region(TRUST, start.regions)
    linings = start.regions["eye_sockets"] | start.regions["mouth_interior"]
    weights *= 1 - (1 - EDGE_TRUST) * smooth_over_mesh(linings.astype(float), start.head, EDGE_RINGS).clip(0, 0.5) * 2
    weights = weights[start.fields.outer]
    landmarks = _multi_pie(start)
    return measure_people(start.points, start.head.faces, start.fields, weights, landmarks, ict, RegistrationSettings())


def _multi_pie(start: Start) -> NDArray[np.float64]:
    """Rows [68, O] that average outer points to the Multi-PIE landmarks; zero where our head does not know them.

    NoW's seven are vertices; the others are taken from the shipped head's MediaPipe landmarks, whose mesh is the same.
    """
    local = np.full(len(start.points), -1)
    local[start.fields.outer] = np.arange(len(start.fields.outer))
    rows = np.zeros((68, len(start.fields.outer)))
    points = read_head(OPEN_HEAD_PATH).landmark_points
    assert points is not None, "the shipped head has landmarks"
    for landmark, mediapipe in MEDIAPIPE_OF_68.items():
        corners = start.head.faces[points.face_ids[mediapipe]]
        rows[landmark, local[corners]] = points.barycentrics[mediapipe].numpy()
    for landmark, vertex in zip(NOW_IN_68, start.head.local_ids(np.array(NOW_BASE_VERTICES)), strict=True):
        rows[landmark] = 0
        rows[landmark, local[vertex]] = 1
    return rows
