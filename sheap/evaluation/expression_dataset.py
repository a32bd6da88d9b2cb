"""A benchmark of faces with an expression: pictures, each with a scan or point cloud of the same moment.

    ROOT/imagepaths.txt                              lines SUBJECT/SEQUENCE/IMAGE.jpg
    ROOT/images/SUBJECT/SEQUENCE/IMAGE.jpg           (.png too)
    ROOT/scans/SUBJECT/SEQUENCE/IMAGE.ply            or .obj, a mesh or a point cloud, millimetres
    ROOT/landmarks/SUBJECT/SEQUENCE/IMAGE.npy        or .txt, NoW's seven points [7,3] on the scan, millimetres

The rendered benchmark has one in `expressions/`; docs/evaluation/expressions.md says how to export others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.face_boxes import FaceBox
from sheap.evaluation.landmark_files import read_landmarks
from sheap.evaluation.mesh_files import find_file, read_points, write_points
from sheap.files import write_array, write_picture, write_text
from sheap.reading.text import read_lines

LIST_NAME = "imagepaths.txt"
JPEG_QUALITY = 94


@dataclass(frozen=True, order=True)
class ExpressionImage:
    """One picture: SUBJECT/SEQUENCE/NAME, name with its ending. The sequence is whatever the expression is called."""

    subject: str
    sequence: str
    name: str

    @property
    def stem(self) -> PurePosixPath:
        """SUBJECT/SEQUENCE/NAME without the ending."""
        return PurePosixPath(self.subject, self.sequence, PurePosixPath(self.name).stem)

    def __str__(self) -> str:
        return f"{self.subject}/{self.sequence}/{self.name}"


@dataclass(frozen=True)
class ExpressionScan:
    """points [P,3] and NoW's landmarks [7,3] (mm)."""

    points: NDArray[np.float64]
    landmarks: NDArray[np.floating]


@dataclass(frozen=True)
class ExpressionDataset:
    """A benchmark folder whose list has been read; files are opened when asked for."""

    root: Path
    images: tuple[ExpressionImage, ...]

    @classmethod
    def open(cls, root: Path) -> ExpressionDataset:
        """Reads the list. Raises OSError when it is missing, ValueError naming file and line for a wrong one."""
        path = root / LIST_NAME
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing; expected an expression benchmark's list of images")
        images: list[ExpressionImage] = []
        for number, line in read_lines(path):
            parts = PurePosixPath(line.replace("\\", "/")).parts
            if len(parts) != 3 or ".." in parts or parts[0] == "/":
                raise ValueError(f"{path} line {number}: expected SUBJECT/SEQUENCE/IMAGE, got '{line}'")
            images.append(ExpressionImage(*parts))
        if not images:
            raise ValueError(f"{path}: lists no images")
        if len({image.stem for image in images}) != len(images):
            raise ValueError(f"{path}: an image is listed more than once")
        return cls(root, tuple(images))

    def image_path(self, image: ExpressionImage) -> Path:
        """The picture. Raises FileNotFoundError."""
        path = self.root / "images" / str(image)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing")
        return path

    def face_box(self, image: ExpressionImage) -> FaceBox | None:
        """None: this layout names no face, the largest one counts."""
        return None

    def scan(self, image: ExpressionImage) -> ExpressionScan:
        """The moment's scan and landmarks. Raises FileNotFoundError or ValueError naming the file."""
        points = read_points(self._either("scans", image, (".ply", ".obj")))
        return ExpressionScan(points, read_landmarks(self._either("landmarks", image, (".npy", ".txt"))))

    def _either(self, folder: str, image: ExpressionImage, endings: tuple[str, ...]) -> Path:
        stem = self.root / folder / image.stem
        found = find_file(stem, endings)
        if found is None:
            raise FileNotFoundError(f"{stem}: no {' or '.join(endings)}")
        return found


class ExpressionWriter:
    """Writes the layout below `root`; whoever has all images writes the list."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(
        self,
        image: ExpressionImage,
        picture: NDArray[np.uint8],
        points: NDArray[np.float64],
        landmarks: NDArray[np.floating],
    ) -> None:
        """picture [H,W,3] uint8 RGB; the scan's points [P,3] and landmarks [7,3] in mm."""
        picture_path = self.root / "images" / str(image)
        scan_path, landmarks_path = (
            (self.root / folder / image.stem).with_suffix(ending)
            for folder, ending in (("scans", ".obj"), ("landmarks", ".npy"))
        )
        write_picture(picture_path, picture, JPEG_QUALITY)
        write_points(scan_path, points)
        write_array(landmarks_path, landmarks)

    def write_list(self, images: list[ExpressionImage]) -> None:
        """The images that `add` was given."""
        write_text(self.root / LIST_NAME, "".join(f"{image}\n" for image in images))
