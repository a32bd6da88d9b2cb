"""Writes a benchmark in the folder layout of the NoW challenge, as its downloads have it.

imagepathsvalidation.txt                                  lines SUBJECT/CHALLENGE/IMAGE.jpg
iphone_pictures/SUBJECT/CHALLENGE/IMAGE.jpg
detected_face/SUBJECT/CHALLENGE/IMAGE.npy                 a dict with left, right, top, bottom (px)
scans/SUBJECT/SUBJECT.obj                                 mm
scans_lmks_onlypp/SUBJECT/SUBJECT_picked_points.pp        MeshLab's picked points, mm, seven in NoW's order
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.face_boxes import FaceBox, write_face_box
from sheap.evaluation.landmark_files import write_picked_points
from sheap.evaluation.mesh_files import TriangleMesh, write_obj
from sheap.evaluation.now.dataset import CHALLENGES, LIST_NAMES
from sheap.files import write_picture, write_text

JPEG_QUALITY = 94

SCAN_DECIMALS = 4
"""0.1 micrometre in mm."""


class NowWriter:
    """Writes images and scans below `root`; whoever has all lines writes the list (`write_image_list`)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add_image(
        self,
        subject: str,
        challenge: str,
        name: str,
        picture: NDArray[np.uint8],
        box: tuple[float, float, float, float],
    ) -> str:
        """picture [H, W, 3] uint8 RGB; box: the face's left, top, right, bottom in pixels. Returns the image's line."""
        if challenge not in CHALLENGES:
            raise ValueError(f"challenge: '{challenge}' is not one of NoW's ({', '.join(CHALLENGES)})")
        line = f"{subject}/{challenge}/{name}.jpg"
        write_picture(self.root / "iphone_pictures" / line, picture, JPEG_QUALITY)
        boxes = (self.root / "detected_face" / line).with_suffix(".npy")
        write_face_box(boxes, FaceBox(*(float(side) for side in box)))
        return line

    def add_scan(self, subject: str, vertices: NDArray, faces: NDArray, landmarks: NDArray) -> None:
        """vertices [N, 3] mm, faces [F, 3], landmarks [7, 3] mm."""
        scan = self.root / "scans" / subject / f"{subject}.obj"
        write_obj(scan, TriangleMesh(vertices, faces), SCAN_DECIMALS)
        points = self.root / "scans_lmks_onlypp" / subject / f"{subject}_picked_points.pp"
        write_picked_points(points, landmarks, scan.name)

    def write_image_list(self, lines: list[str]) -> None:
        """Lines as `add_image` returned them."""
        write_text(self.root / LIST_NAMES["val"], "".join(f"{line}\n" for line in lines))
