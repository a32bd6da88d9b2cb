"""Seven landmarks on disk: MeshLab's picked points (.pp) for scans, .npy or .txt for predictions."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheap.files import write_text
from sheap.reading.arrays import read_array
from sheap.reading.regular_file import read_bytes
from sheap.reading.text import decode_text, marked_encoding, read_text

NUM_LANDMARKS = 7

_POINT = re.compile(r"<point\b([^>]*)>")
_ATTRIBUTE = re.compile(r"""([A-Za-z_]+)\s*=\s*["']([^"']*)["']""")


def read_picked_points(path: Path) -> NDArray[np.float32]:
    """The first seven points [7,3] of a .pp file, in the file's order, as float32 (NoW's precision).

    Raises OSError, or ValueError naming the file when there are fewer or one has no coordinates.
    """
    points = []
    content = read_bytes(path)
    # Names in other alphabets do no harm here; a mark or UTF-16 has to be understood.
    text = decode_text(content, path) if marked_encoding(content) else content.decode("utf-8", "replace")
    for found in _POINT.finditer(text):
        attributes = dict(_ATTRIBUTE.findall(found.group(1)))
        try:
            points.append([float(attributes[axis]) for axis in "xyz"])
        except (KeyError, ValueError):
            raise ValueError(f"{path}: point {len(points) + 1} has no x, y and z") from None
    if len(points) < NUM_LANDMARKS:
        raise ValueError(f"{path}: expected {NUM_LANDMARKS} picked points, found {len(points)}")
    return np.array(points[:NUM_LANDMARKS], dtype=np.float32)


def write_picked_points(path: Path, landmarks: NDArray[np.floating], mesh_name: str) -> None:
    """Writes landmarks [7,3] (mm) as MeshLab saves picked points of `mesh_name`, to ten nanometres.

    NoW's own reader counts lines: the first point is on the ninth.
    """
    points = [
        f' <point x="{x:.5f}" y="{y:.5f}" z="{z:.5f}" active="1" name="{i}"/>'
        for i, (x, y, z) in enumerate(np.asarray(landmarks).tolist())
    ]
    lines = [
        "<!DOCTYPE PickedPoints>",
        "<PickedPoints>",
        " <DocumentData>",
        '  <DateTime date="2000-01-01" time="00:00:00"/>',
        '  <User name=""/>',
        f'  <DataFileName name="{mesh_name}"/>',
        '  <templateName name=""/>',
        " </DocumentData>",
        *points,
        "</PickedPoints>",
    ]
    write_text(path, "\n".join(lines) + "\n")


def read_landmarks(path: Path) -> NDArray[np.floating]:
    """Predicted landmarks [7,3] from .npy (its own float precision) or .txt (seven lines of three, float32).

    Raises OSError, or ValueError naming the file for another shape, NaN or an unreadable file.
    """
    if path.suffix.lower() == ".npy":
        landmarks = read_array(path)
    else:
        try:
            landmarks = np.loadtxt(io.StringIO(read_text(path)), dtype=np.float32)
        except ValueError as error:
            problem = str(error).removeprefix(f"{path} ").removeprefix(f"{path}: ")
            raise ValueError(f"{path}: not readable as landmarks ({problem})") from None
    if landmarks.shape == (1, NUM_LANDMARKS, 3):  # a batch of one, which the official tool takes, too
        landmarks = landmarks[0]
    if landmarks.shape != (NUM_LANDMARKS, 3) or landmarks.dtype.kind not in "fiu":
        raise ValueError(f"{path}: expected [7,3] numbers, got {list(landmarks.shape)} of {landmarks.dtype}")
    landmarks = landmarks if landmarks.dtype.kind == "f" else landmarks.astype(np.float64)
    if not np.isfinite(landmarks).all():
        raise ValueError(f"{path}: NaN or infinite landmarks")
    return landmarks
