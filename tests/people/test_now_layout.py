"""The written benchmark against a reader as strict as NoW's own: it counts lines, and splits at single spaces."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest

from sheap.evaluation.landmark_files import write_picked_points
from sheap.evaluation.now.dataset import NowDataset
from sheap.people.now_layout import NowWriter


@pytest.fixture
def written(tmp_path):
    rng = np.random.default_rng(0)
    writer = NowWriter(tmp_path)
    picture = rng.integers(0, 255, (40, 30, 3), np.uint8)
    lines = [
        writer.add_image("anna", "multiview_neutral", "IMG_0000", picture, (3.0, 4.0, 20.5, 33.0)),
        writer.add_image("anna", "selfie", "IMG_0000", picture, (1, 2, 3, 4)),
    ]
    vertices = rng.normal(0, 80, (20, 3))
    faces = rng.integers(0, 20, (9, 3))
    writer.add_scan("anna", vertices, faces, vertices[:7])
    writer.write_image_list(lines)
    return tmp_path, vertices, faces


def points_by_line(path: Path) -> np.ndarray:
    """As NoW's evaluation reads it: the ninth to fifteenth line, words split at spaces, values between quotes."""
    rows = path.read_text().splitlines()[8:15]
    points = []
    for row in rows:
        values = {word.split("=")[0]: word.split("=")[1] for word in row.split(" ") if "=" in word}
        points.append([float(values[k].split('"')[1]) for k in "xyz"])
    return np.array(points)


def test_the_folders_are_those_of_the_download(written):
    root, vertices, faces = written
    lines = (root / "imagepathsvalidation.txt").read_text().splitlines()
    assert lines == ["anna/multiview_neutral/IMG_0000.jpg", "anna/selfie/IMG_0000.jpg"]
    for line in lines:
        assert cv2.imread(str(root / "iphone_pictures" / line)).shape == (40, 30, 3)
        box = np.load((root / "detected_face" / line).with_suffix(".npy"), allow_pickle=True).item()
        assert set(box) == {"left", "top", "right", "bottom"} and all(type(v) is float for v in box.values())
    scan = (root / "scans/anna/anna.obj").read_text().splitlines()
    read = np.array([[float(v) for v in row.split()[1:]] for row in scan if row.startswith("v ")])
    assert np.abs(read - vertices).max() <= 0.5001e-4
    corners = np.array([[int(v) for v in row.split()[1:]] for row in scan if row.startswith("f ")])
    assert np.array_equal(corners - 1, faces)


def test_picked_points_are_read_by_counting_lines_and_as_xml(written):
    root, vertices, _ = written
    (path,) = (root / "scans_lmks_onlypp/anna").glob("*.pp")
    assert np.abs(points_by_line(path) - vertices[:7]).max() < 1e-5
    document = ElementTree.fromstring(re.sub(r"<!DOCTYPE.*>\n", "", path.read_text()))
    marked = [[float(point.get(k)) for k in "xyz"] for point in document.iter("point")]
    assert np.array_equal(np.array(marked), points_by_line(path))


def test_tiny_and_huge_coordinates_survive(tmp_path):
    points = np.array([[1e-7, -1e5, 0.123456]] * 7)
    write_picked_points(tmp_path / "a.pp", points, "a.obj")
    assert np.abs(points_by_line(tmp_path / "a.pp") - points).max() < 1e-5


def test_the_projects_own_reader_accepts_it(written):
    root, vertices, _ = written
    dataset = NowDataset.open(root)
    assert len(dataset.images) == 2 and dataset.subjects == ("anna",)
    assert dataset.face_box(dataset.images[0]) is not None
    scan = dataset.scan("anna")
    assert scan.landmarks.shape == (7, 3) and np.abs(scan.landmarks - vertices[:7]).max() < 1e-4


def test_an_unknown_challenge_is_refused(tmp_path):
    with pytest.raises(ValueError, match="multiview_sleeping"):
        NowWriter(tmp_path).add_image("a", "multiview_sleeping", "b", np.zeros((4, 4, 3), np.uint8), (0, 0, 1, 1))
