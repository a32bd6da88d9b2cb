"""The NoW benchmark's folder (https://now.is.tue.mpg.de): images, detected faces, scans and picked points.

    ROOT/imagepathsvalidation.txt                            lines SUBJECT/CHALLENGE/IMAGE.jpg
    ROOT/imagepathstest.txt                                  the same for the test set
    ROOT/iphone_pictures/SUBJECT/CHALLENGE/IMAGE.jpg
    ROOT/detected_face/SUBJECT/CHALLENGE/IMAGE.npy
    ROOT/scans/SUBJECT/*.obj                                 millimetres
    ROOT/scans_lmks_onlypp/SUBJECT/*.pp

The official archives unpack pictures and boxes into NoW_Dataset/final_release_version/; they are found there too.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.face_boxes import FaceBox, read_face_box
from sheap.evaluation.landmark_files import read_picked_points
from sheap.evaluation.mesh_files import TriangleMesh, read_mesh
from sheap.reading.regular_file import read_bytes
from sheap.reading.text import read_lines

log = logging.getLogger(__name__)

ImageSet = Literal["val", "test"]
LIST_NAMES: dict[str, str] = {"val": "imagepathsvalidation.txt", "test": "imagepathstest.txt"}
CHALLENGES = ("multiview_neutral", "multiview_expressions", "multiview_occlusions", "selfie")

_IMAGE_ROOTS = ("", "NoW_Dataset/final_release_version", "final_release_version", "NoW_Dataset")


@dataclass(frozen=True, order=True)
class NowImage:
    """One picture: SUBJECT/CHALLENGE/NAME, name with its ending."""

    subject: str
    challenge: str
    name: str

    @property
    def stem(self) -> PurePosixPath:
        """SUBJECT/CHALLENGE/NAME without the ending: where its prediction lies in a submission."""
        return PurePosixPath(self.subject, self.challenge, PurePosixPath(self.name).stem)

    def __str__(self) -> str:
        return f"{self.subject}/{self.challenge}/{self.name}"


@dataclass(frozen=True)
class NowScan:
    """A subject's neutral scan (mm) and its landmarks [7,3] float32."""

    mesh: TriangleMesh
    landmarks: NDArray[np.float32]


@dataclass(frozen=True)
class NowDataset:
    """A benchmark folder whose list has been read; files are opened when asked for."""

    root: Path
    images: tuple[NowImage, ...]

    @classmethod
    def open(cls, root: Path, image_set: ImageSet = "val", image_list: Path | None = None) -> NowDataset:
        """Reads the image list (`image_list`, or the set's own in `root`).

        Raises OSError when it is missing, ValueError naming file and line for a line that is not
        SUBJECT/CHALLENGE/IMAGE, an unknown challenge, a duplicate, an empty list, or one in another encoding.
        """
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder; expected a NoW benchmark")
        if image_set not in LIST_NAMES:
            raise ValueError(f"image_set: unknown '{image_set}' (known: {', '.join(LIST_NAMES)})")
        path = image_list or root / LIST_NAMES[image_set]
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing; expected the benchmark's list of images")
        images: list[NowImage] = []
        for number, line in read_lines(path):
            parts = PurePosixPath(line.replace("\\", "/")).parts[-3:]
            if len(parts) < 3 or any(part in ("..", "/") for part in parts):
                raise ValueError(f"{path} line {number}: expected SUBJECT/CHALLENGE/IMAGE, got '{line}'")
            if parts[1] not in CHALLENGES:
                known = ", ".join(CHALLENGES)
                raise ValueError(f"{path} line {number}: unknown challenge '{parts[1]}' (known: {known})")
            images.append(NowImage(*parts))
        if not images:
            raise ValueError(f"{path}: lists no images")
        stems = [image.stem for image in images]
        if len(set(stems)) != len(stems):
            double = next(stem for stem in stems if stems.count(stem) > 1)
            raise ValueError(f"{path}: '{double}' is listed more than once")
        return cls(root, tuple(images))

    def of_challenge(self, challenge: str | None) -> NowDataset:
        """The images of one challenge (None: all). Raises ValueError for an unknown name or when there are none."""
        if challenge is None:
            return self
        if challenge not in CHALLENGES:
            raise ValueError(f"challenge: unknown '{challenge}' (known: {', '.join(CHALLENGES)})")
        images = tuple(image for image in self.images if image.challenge == challenge)
        if not images:
            raise ValueError(f"challenge: {self.root} has no images of '{challenge}'")
        return NowDataset(self.root, images)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects in the order of the list."""
        return tuple(dict.fromkeys(image.subject for image in self.images))

    def of_subject(self, subject: str) -> tuple[NowImage, ...]:
        """A subject's images in the order of the list."""
        return tuple(image for image in self.images if image.subject == subject)

    def image_path(self, image: NowImage) -> Path:
        """The picture. Raises FileNotFoundError."""
        return self._find("iphone_pictures", PurePosixPath(str(image)))

    def face_box(self, image: NowImage) -> FaceBox | None:
        """The face the picture is about, None where the benchmark has no such file. ValueError for a broken one."""
        try:
            path = self._find("detected_face", image.stem.with_name(image.stem.name + ".npy"))
        except FileNotFoundError:
            return None
        return read_face_box(path)

    def scan(self, subject: str) -> NowScan:
        """A subject's scan and landmarks. Raises FileNotFoundError or ValueError naming the file."""
        mesh_path, landmarks_path = self._scan_files(subject)
        return NowScan(read_mesh(mesh_path), read_picked_points(landmarks_path))

    def fingerprint(self) -> str:
        """SHA-256 of list, pictures, boxes, scans and landmarks: equal ones are the same benchmark."""
        digest = hashlib.sha256()
        for image in self.images:
            digest.update(f"{image}\n".encode())
            try:
                digest.update(read_bytes(self.image_path(image)))
                digest.update(repr(self.face_box(image)).encode())
            except (OSError, ValueError):  # a benchmark that lacks it is another one
                digest.update(b"unreadable")
        for subject in self.subjects:
            for path in self._scan_files(subject):
                digest.update(read_bytes(path))
        return digest.hexdigest()

    def _scan_files(self, subject: str) -> tuple[Path, Path]:
        """Scan and picked points."""
        scan = _only_file(self.root / "scans" / subject, (".obj", ".ply"))
        return scan, _only_file(self.root / "scans_lmks_onlypp" / subject, (".pp",))

    def _find(self, folder: str, inside: PurePosixPath) -> Path:
        for place in _IMAGE_ROOTS:
            path = self.root / place / folder / inside
            if path.is_file():
                return path
        raise FileNotFoundError(f"{self.root / folder / inside}: missing")


def _only_file(folder: Path, endings: tuple[str, ...]) -> Path:
    """The file of the first ending that is there; of several, the first by name, as the log then says."""
    for ending in endings:
        inside = folder.iterdir() if folder.is_dir() else ()
        found = sorted(path for path in inside if path.suffix.lower() == ending and not path.name.startswith("."))
        if len(found) > 1:
            log.warning("%s: %d files end in %s; %s is used", folder, len(found), ending, found[0].name)
        if found:
            return found[0]
    raise FileNotFoundError(f"{folder}: no {' or '.join(endings)} file")
