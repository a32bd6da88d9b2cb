"""Meshes and landmarks on disk, in every dialect that scans and submissions come in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from sheap.evaluation.landmark_files import read_landmarks, read_picked_points, write_picked_points
from sheap.evaluation.mesh_files import TriangleMesh, read_mesh, write_obj


def test_obj_round_trip(tmp_path: Path, scan) -> None:
    write_obj(tmp_path / "a.obj", TriangleMesh(scan.vertices, scan.faces))
    mesh = read_mesh(tmp_path / "a.obj")
    np.testing.assert_allclose(mesh.vertices, scan.vertices, atol=5.1e-7)
    np.testing.assert_array_equal(mesh.faces, scan.faces)
    other = trimesh.load(tmp_path / "a.obj", process=False, maintain_order=True)
    np.testing.assert_array_equal(other.vertices, mesh.vertices)
    np.testing.assert_array_equal(other.faces, mesh.faces)


def test_obj_with_colours_textures_polygons_and_negative_indices(tmp_path: Path) -> None:
    text = """# a scanner's file
mtllib x.mtl
v 0 0 0 0.5 0.5 0.5
v 1 0 0 0.5 0.5 0.5
vt 0 0
v 1 1 0
vn 0 0 1
v\t0 1 0 1 1 1
g face
f 1/1/1 2/1/1 3/1/1 4/1/1
f -4//1 -3//1 -1//1
"""
    (tmp_path / "a.obj").write_text(text)
    mesh = read_mesh(tmp_path / "a.obj")
    np.testing.assert_array_equal(mesh.vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [0, 1, 3]])


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_ply_keeps_order_and_unused_vertices(tmp_path: Path, scan, encoding: str) -> None:
    vertices = np.concatenate([scan.vertices, scan.vertices[:5], [[500.0, 0, 0]]])
    trimesh.Trimesh(vertices, scan.faces, process=False).export(tmp_path / "a.ply", encoding=encoding)
    mesh = read_mesh(tmp_path / "a.ply")
    np.testing.assert_allclose(mesh.vertices, vertices, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(mesh.faces, scan.faces)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.obj", "v 0 0\nf 1 1 1\n", "fewer than three numbers"),
        ("a.obj", "v 0 0 zero\nf 1 1 1\n", "not a readable OBJ"),
        ("a.obj", "v 0 0 0\nf 1 1 2\n", "indices run from 0 to 1, but there are 1"),
        ("a.obj", "v 0 0 0\nf 0 1 1\n", "index 0"),
        ("a.obj", "v 0 0 0\nf 1 1\n", "fewer than three corners"),
        ("a.obj", "v 0 0 0\n", "faces: expected"),
        ("a.obj", "", "vertices: expected"),
        ("a.obj", "v 0 0 nan\nf 1 1 1\n", "1 of 1 are NaN"),
        ("a.ply", "ply\nformat ascii 1.0\n", "not a readable PLY"),
        ("a.stl", "solid", "ending in .obj or .ply"),
    ],
)
def test_broken_meshes_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_mesh(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_truncated_binary_ply_is_named(tmp_path: Path, scan) -> None:
    trimesh.Trimesh(scan.vertices, scan.faces, process=False).export(tmp_path / "a.ply")
    whole = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.ply"):
        read_mesh(tmp_path / "a.ply")


def test_picked_points_are_read_back_to_ten_nanometres(tmp_path: Path, scan) -> None:
    write_picked_points(tmp_path / "a.pp", scan.landmarks, "a.obj")
    read = read_picked_points(tmp_path / "a.pp")
    assert read.dtype == np.float32
    # Half of the last decimal, and the rounding of float32 at 100 mm.
    np.testing.assert_allclose(read, scan.landmarks, atol=0.5e-5 + 0.4e-5, rtol=0)
    # The official reader looks at lines 8 to 14 and takes attributes that stand between single blanks.
    lines = (tmp_path / "a.pp").read_text().splitlines()
    for line, point in zip(lines[8:15], read, strict=True):
        fields = dict(part.split("=") for part in line.split(" ") if part[:2] in ("x=", "y=", "z="))
        np.testing.assert_array_equal([np.float32(fields[axis].strip('"')) for axis in "xyz"], point)


def test_picked_points_in_other_attribute_orders(tmp_path: Path) -> None:
    points = "".join(f'<point active="1" z="{i}.5" name="{9 - i}" x="{i}" y="-1e-2" />\n' for i in range(8))
    (tmp_path / "a.pp").write_text(f"<PickedPoints>{points}</PickedPoints>")
    np.testing.assert_array_equal(
        read_picked_points(tmp_path / "a.pp"), np.array([[i, -0.01, i + 0.5] for i in range(7)], np.float32)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "expected 7 picked points, found 0"), ('<point x="1" y="2"/>', "point 1 has no x, y and z")],
)
def test_broken_picked_points_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.pp").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_picked_points(tmp_path / "a.pp")


def test_predicted_landmarks_keep_their_precision(tmp_path: Path) -> None:
    landmarks = np.random.default_rng(0).normal(size=(7, 3))
    np.save(tmp_path / "a.npy", landmarks)
    assert (read_landmarks(tmp_path / "a.npy") == landmarks).all()
    np.save(tmp_path / "batch_of_one.npy", landmarks[None])
    assert (read_landmarks(tmp_path / "batch_of_one.npy") == landmarks).all()
    np.save(tmp_path / "b.npy", landmarks.astype(np.float32))
    assert read_landmarks(tmp_path / "b.npy").dtype == np.float32
    np.savetxt(tmp_path / "c.txt", landmarks)
    np.testing.assert_array_equal(read_landmarks(tmp_path / "c.txt"), landmarks.astype(np.float32))


def test_broken_predicted_landmarks_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "shape.npy", np.zeros((5, 3)))
    np.save(tmp_path / "nan.npy", np.full((7, 3), np.nan))
    np.save(tmp_path / "pickled.npy", np.array({"a": 1}, dtype=object), allow_pickle=True)
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "words.txt").write_text("one two three\n")
    for name in ("shape.npy", "nan.npy", "pickled.npy", "empty.npy", "words.txt"):
        with pytest.raises(ValueError, match=name):
            read_landmarks(tmp_path / name)
