"""An identity at rest as hair and things to wear see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Wearer:
    """vertices, normals [N, 3] of the identity; template [N, 3]: the same vertices on the mean head; faces [F, 3];
    regions: soft weights [N] by name; now [7, 3]: NoW's landmarks; upper_lids: vertices along the upper lids' edges;
    skin: plain colour, linear RGB [3]; attachments [M, 3]: the head model's loose points beside the surface."""

    vertices: Array
    normals: Array
    template: Array
    faces: NDArray[np.int64]
    regions: dict[str, Array]
    now: Array
    upper_lids: NDArray[np.int64]
    skin: Array
    attachments: Array
