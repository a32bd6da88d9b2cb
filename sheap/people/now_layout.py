"""Writes a benchmark in the folder layout of the NoW challenge, as its downloads have it.

imagepathsvalidation.txt                                  lines SUBJECT/CHALLENGE/IMAGE.jpg
iphone_pictures/SUBJECT/CHALLENGE/IMAGE.jpg
detected_face/SUBJECT/CHALLENGE/IMAGE.npy                 a dict with left, right, top, bottom (px)
scans/SUBJECT/SUBJECT.obj                                 mm
scans_lmks_onlypp/SUBJECT/SUBJECT_picked_points.pp        MeshLab's picked points, mm, seven in NoW's order
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

CHALLENGES = ("multiview_neutral", "multiview_expressions", "multiview_occlusions", "selfie")
IMAGE_LIST = "imagepathsvalidation.txt"


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
        path = self.root / "iphone_pictures" / line
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 94])
        assert encoded
        path.write_bytes(data.tobytes())
        boxes = (self.root / "detected_face" / line).with_suffix(".npy")
        boxes.parent.mkdir(parents=True, exist_ok=True)
        left, top, right, bottom = (float(v) for v in box)
        # The official files are pickled dicts inside .npy: the layout has to be theirs, pickle and all.
        np.save(
            boxes,
            np.array({"left": left, "top": top, "right": right, "bottom": bottom}, dtype=object),
            allow_pickle=True,
        )
        return line

    def add_scan(self, subject: str, vertices: NDArray, faces: NDArray, landmarks: NDArray) -> None:
        """vertices [N, 3] mm, faces [F, 3], landmarks [7, 3] mm."""
        scan = self.root / "scans" / subject / f"{subject}.obj"
        scan.parent.mkdir(parents=True, exist_ok=True)
        write_obj(scan, vertices, faces)
        points = self.root / "scans_lmks_onlypp" / subject / f"{subject}_picked_points.pp"
        points.parent.mkdir(parents=True, exist_ok=True)
        write_picked_points(points, landmarks, scan.name)

    def write_image_list(self, lines: list[str]) -> None:
        """Lines as `add_image` returned them."""
        (self.root / IMAGE_LIST).write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def write_obj(path: Path, vertices: NDArray, faces: NDArray) -> None:
    """A plain triangle OBJ: vertices with four decimals (0.1 micrometre in mm), faces counted from one."""
    lines = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in np.asarray(vertices).tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (np.asarray(faces) + 1).tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_picked_points(path: Path, points: NDArray, mesh_name: str) -> None:
    """MeshLab's .pp. NoW's own reader counts lines: the first point is on the ninth."""
    rows = [
        "<!DOCTYPE PickedPoints>",
        "<PickedPoints>",
        " <DocumentData>",
        '  <DateTime date="2000-01-01" time="00:00:00"/>',
        '  <User name=""/>',
        f'  <DataFileName name="{mesh_name}"/>',
        '  <templateName name=""/>',
        " </DocumentData>",
    ]
    for index, (x, y, z) in enumerate(np.asarray(points).tolist()):
        rows.append(f' <point x="{x:.5f}" y="{y:.5f}" z="{z:.5f}" active="1" name="{index}"/>')
    path.write_text("\n".join([*rows, "</PickedPoints>"]) + "\n", encoding="ascii")
