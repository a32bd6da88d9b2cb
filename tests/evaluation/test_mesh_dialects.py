"""A mesh is what its file says, or it is refused: OBJ in the dialects that programs write, PLY by its header's word."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from sheap.evaluation.mesh_files import TriangleMesh, find_file, read_mesh, read_points

FAULTS = Path(__file__).resolve().parents[2].parent / "shared" / "faults"

VERTICES = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [9, 9, 9]]
"""The last one is in no face, so that one vertex lost still leaves all indices in range."""
FACES = [[0, 1, 2], [0, 2, 3]]


def obj(tmp_path: Path, content: str | bytes, name: str = "a.obj") -> TriangleMesh:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_mesh(path)


PLAIN = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 9 9 9\nf 1 2 3\nf 1 3 4\n"

DIALECTS = {
    "a mark": "\ufeff" + PLAIN,
    "a mark before a comment": "\ufeff# made by an editor\n" + PLAIN,
    "blanks before": " " + PLAIN.replace("\n", "\n  "),
    "tabs before": "\t" + PLAIN.replace("\n", "\n\t\t"),
    "tabs between": PLAIN.replace(" ", "\t"),
    "several blanks": PLAIN.replace(" ", "   "),
    "comments behind": PLAIN.replace("\n", " # \\ said 1 2 3\n"),
    "comments without a blank": PLAIN.replace("\n", "#v 7 7 7\n"),
    "Windows' line ends": PLAIN.replace("\n", "\r\n"),
    "old Macs' line ends": PLAIN.replace("\n", "\r"),
    "continued vertices": PLAIN.replace("v 1 1 0", "v 1 \\\n1 \\\n 0"),
    "continued faces": PLAIN.replace("f 1 2 3", "f 1 \\\r\n 2 3"),
    "a face split from its keyword": PLAIN.replace("f 1 2 3", "f \\\n1 2 3"),
    "a comment that ends in a backslash": "# C:\\scans\\\n" + PLAIN,
    "a name that ends in a backslash": "mtllib C:\\scans\\\n" + PLAIN,
    "no end of the last line": PLAIN.rstrip("\n"),
    "relative from the end": PLAIN.replace("f 1 2 3\nf 1 3 4", "f -5 -4 -3\nf -5 -3 -2"),
    "relative from its line": "v 0 0 0\nv 1 0 0\nv 1 1 0\nf -3 -2 -1\nv 0 1 0\nf -4 -2 -1\nv 9 9 9\n",
    "a quad": PLAIN.replace("f 1 2 3\nf 1 3 4", "f 1 2 3 4"),
    "signs": PLAIN.replace("f 1 2 3", "f +1 +2 +3").replace("v 1 0 0", "v +1.0e0 -0 0."),
    "other statements": "mtllib x.mtl\no head\ng a 1 2 3\nvt 0 0\nvn 0 0 1\ns off\nusemtl 1 2 3\n" + PLAIN + "l 1 2 3\np 1 2 3\n",
    "vertex colours and weights": PLAIN.replace("v 1 1 0", "v 1 1 0 0.5 0.5 0.5").replace("v 0 1 0", "v 0 1 0 1.0"),
    "texture and normal numbers": PLAIN.replace("f 1 2 3", "f 1/7 2//8 3/9/9"),
    "a form feed": "\x0c" + PLAIN,
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_obj_dialects_are_read_to_the_same_mesh(tmp_path: Path, dialect: str) -> None:
    mesh = obj(tmp_path, DIALECTS[dialect])
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_obj_in_other_encodings(tmp_path: Path, encoding: str) -> None:
    mesh = obj(tmp_path, ("# grün\n" + PLAIN).encode(encoding))
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)


def test_names_in_any_alphabet_do_no_harm(tmp_path: Path) -> None:
    assert len(obj(tmp_path, "g Müller\n".encode("latin-1") + PLAIN.encode()).vertices) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN.replace("f 1 3 4", "f 1 3 99999999999999999999"), "line 7: faces: index 9{20}, but there are 5 vertices"),
        (PLAIN.replace("f 1 3 4", "f 1 3 -99999999999999999999"), "line 7: faces: index"),
        (PLAIN.replace("f 1 3 4", "f 1 3 6"), "line 7: faces: indices run from 0 to 5, but there are 5 vertices"),
        (PLAIN.replace("f 1 3 4", "f 1 3 -6"), "line 7: faces: indices run from -1"),
        ("v 0 0 0\nv 1 0 0\nf -1 -2 -3\nv 1 1 0\n", "line 3: faces: indices run from -1"),
        (PLAIN.replace("f 1 3 4", "f 1 3 0"), "line 7: a face has index 0"),
        (PLAIN.replace("f 1 3 4", "f 1 3 4.0"), "line 7: a face's corner is '4.0'"),
        (PLAIN.replace("f 1 3 4", "f 1 3 1_0"), "line 7: a face's corner is '1_0'"),
        (PLAIN.replace("f 1 3 4", "f 1 3 //4"), "line 7: a face's corner is ''"),
        (PLAIN.replace("f 1 3 4", "f 1 3"), "line 7: a face has fewer than three corners"),
        (PLAIN.replace("f 1 3 4", "f"), "line 7: a face has fewer than three corners"),
        (PLAIN.replace("v 1 1 0", "v 1 1"), "line 3: a vertex has fewer than three numbers"),
        (PLAIN.replace("v 1 1 0", "v 1 1 # 0"), "line 3: a vertex has fewer than three numbers"),
        (PLAIN.replace("v 1 1 0", "v 1,0 1,0 0,0"), "line 3: '1,0 1,0 0,0' are no numbers"),
        (PLAIN.replace("v 1 1 0", "v 1_0 1 0"), "line 3: '1_0 1 0' are no numbers"),
        (PLAIN.replace("v 1 1 0", "vv 1 1 0"), "line 3: 'vv' is no statement of the format"),
        (PLAIN.replace("v 1 1 0", "V 1 1 0"), "line 3: 'V' is no statement of the format"),
        (PLAIN.replace("v 1 1 0", "\u00a0v 1 1 0"), r"line 3: '\\xc2\\xa0v' is no statement"),
        (PLAIN.replace("f 1 3 4", "F 1/1 3/1 4/1"), "line 7: 'F' is no statement"),
        # As many numbers as there should be, but in other lines.
        (PLAIN.replace("v 1 1 0", "v 1 1").replace("v 0 1 0", "v 0 1 0 1"), "line 3: a vertex has fewer than three numbers"),
        (PLAIN.replace("v 1 1 0", "v1 1 0"), "line 3: 'v1' is no statement of the format; a blank is missing"),
        (PLAIN.replace("f 1 3 4", "f1/1 3/1 4/1"), "line 7: 'f1/1' is no statement of the format; a blank is missing"),
        ("call half.obj\n" + PLAIN, "line 1: 'call' takes statements from another file"),
        (PLAIN.replace("v 1 1 0\n", "v 1 1 0\n\0\0\0\0"), r"line 4: not text \(a NUL byte\)"),
    ],
)
def test_what_would_shift_or_lose_something_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.obj: not a readable OBJ file \(.*{message}") as caught:
        obj(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_endings_in_capitals_are_found_and_read(tmp_path: Path) -> None:
    assert len(obj(tmp_path, PLAIN, "IMG.1.OBJ").faces) == 2
    assert find_file(tmp_path / "IMG.1", (".obj", ".ply")) == tmp_path / "IMG.1.OBJ"
    obj(tmp_path, PLAIN, "IMG.1.obj")
    assert find_file(tmp_path / "IMG.1", (".obj", ".ply")) == tmp_path / "IMG.1.obj"
    assert find_file(tmp_path / "IMG", (".obj",)) is None and find_file(tmp_path / "no/such", (".obj",)) is None


# --- PLY --------------------------------------------------------------------------------------------------------------

HEADER = """ply
format ascii 1.0
comment made by hand
element vertex 5
property float x
property float y
property float z
element face 2
property list uchar int vertex_indices
end_header
"""
ROWS = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n9 9 9\n3 0 1 2\n3 0 2 3\n"


def ply(tmp_path: Path, content: str | bytes) -> TriangleMesh:
    return obj(tmp_path, content, "a.ply")


@pytest.mark.parametrize(
    "text",
    [
        HEADER + ROWS,
        (HEADER + ROWS).replace("\n", "\r\n"),
        "\ufeff" + HEADER + ROWS,
        HEADER + "\n" + ROWS.replace("\n", "\n\n"),
        HEADER.replace("vertex_indices", "vertex_index") + ROWS,
        HEADER.replace("element face 2", "element face 1") + ROWS.replace("3 0 1 2\n3 0 2 3\n", "4 0 1 2 3\n"),
    ],
)
def test_ascii_ply_is_read(tmp_path: Path, text: str) -> None:
    mesh = ply(tmp_path, text)
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + ROWS.replace("3 0 2 3\n", ""), "element face: 1 of 2 rows are there"),
        (HEADER.replace("face 2", "face 0") + ROWS, "2 more rows than the header promises"),
        (HEADER.replace("vertex 5", "vertex 4") + ROWS, "element face, row 1: 3 numbers, too few"),
        (HEADER.replace("vertex 5", "vertex 99999999999999999999") + ROWS, "element vertex: 7 of 9{20} rows are there"),
        (HEADER.replace("vertex 5", "vertex -5") + ROWS, "header line 4"),
        (HEADER + ROWS.replace("9 9 9", "9 9"), "element vertex, row 5: 2 numbers, 3 expected"),
        (HEADER + ROWS.replace("9 9 9", "9 9 9 9"), "element vertex, row 5: 4 numbers"),
        (HEADER + ROWS.replace("3 0 2 3", "3 0 2"), "element face, row 2: 3 numbers, too few"),
        (HEADER + ROWS.replace("3 0 2 3", "3 0 2 3 4"), "element face, row 2: 5 numbers, 4 expected"),
        (HEADER + ROWS.replace("3 0 2 3", "2 0 2"), "element face, row 2: fewer than three corners"),
        (HEADER + ROWS.replace("3 0 2 3", "3 0 2 99999999999999999999"), "element face"),
        (HEADER + ROWS.replace("9 9 9", "9 9 nine"), "element vertex"),
        (HEADER.replace("property float x", "property vector x") + ROWS, "header line 5"),
        (HEADER.replace("property float z", "property float w") + ROWS, "no element 'vertex' with x, y and z"),
        (HEADER.replace("ascii", "binary_middle_endian") + ROWS, "header line 2"),
        (HEADER.replace("end_header\n", ""), "the header has no end"),
        (HEADER.replace("float y", "float x") + ROWS, "element vertex: the header names a property twice"),
        (HEADER.replace("comment made by hand", "format binary_little_endian 1.0") + ROWS, "header line 3"),
        (HEADER + ROWS.replace("9 9 9", "9 1_0 9"), "element vertex: '1_0' is no number"),
        (HEADER + ROWS.replace("3 0 2 3", "3 0 2 0_3"), "element face: '0_3' is no number"),
        (HEADER.replace("float x", "uchar x") + ROWS.replace("9 9 9", "256 9 9"), "from 0 to 256 where the header says u1"),
        (HEADER.replace("uchar int", "uchar uint") + ROWS.replace("3 0 2 3", "3 0 2 -1"), "numbers from -1 to 2"),
    ],
)
def test_ply_that_is_not_what_its_header_says_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.ply: not a readable PLY file \(.*({message})") as caught:
        ply(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("order", ["little", "big"])
def test_binary_ply_with_mixed_polygons_colours_and_other_elements(tmp_path: Path, order: str) -> None:
    sign = "<" if order == "little" else ">"
    header = (
        f"ply\nformat binary_{order}_endian 1.0\nelement camera 1\nproperty double far\nelement vertex 5\nproperty double x\n"
        "property double y\nproperty double z\nproperty uchar red\nelement face 2\nproperty uchar flag\n"
        "property list uchar uint vertex_indices\nproperty list uchar float texcoord\nend_header\n"
    )
    body = struct.pack(f"{sign}d", 5.0)
    body += b"".join(struct.pack(f"{sign}3dB", *vertex, 7) for vertex in VERTICES)
    faces = struct.pack(f"{sign}BB4IB2f", 1, 4, 0, 1, 2, 3, 2, 0.5, 0.5) + struct.pack(f"{sign}BB3IB", 1, 3, 0, 2, 3, 0)
    mesh = ply(tmp_path, header.encode() + body + faces)
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, [*FACES, [0, 2, 3]])
    for cut in (1, len(faces) - 1, len(faces) + 1, len(faces) + len(body) - 1):
        with pytest.raises(ValueError, match="rows are there"):
            ply(tmp_path, header.encode() + (body + faces)[:-cut])
    with pytest.raises(ValueError, match="3 bytes more than the header promises"):
        ply(tmp_path, header.encode() + body + faces + b"abc")


def test_a_cut_binary_ply_says_how_much_is_there(tmp_path: Path, scan) -> None:
    trimesh.Trimesh(scan.vertices, scan.faces, process=False).export(tmp_path / "whole.ply")
    whole = (tmp_path / "whole.ply").read_bytes()
    with pytest.raises(ValueError, match=rf"element face: {len(scan.faces) - 1} of {len(scan.faces)} rows are there"):
        ply(tmp_path, whole[:-5])


def test_a_point_cloud_is_read_and_triangle_strips_are_not(tmp_path: Path) -> None:
    cloud = HEADER[: HEADER.index("element face")] + "end_header\n" + ROWS[: ROWS.index("3 0 1 2")]
    (tmp_path / "a.ply").write_text(cloud)
    np.testing.assert_array_equal(read_points(tmp_path / "a.ply"), VERTICES)
    with pytest.raises(ValueError, match=r"faces: expected \[F,3\]"):
        read_mesh(tmp_path / "a.ply")
    strips = HEADER.replace("element face 2", "element tristrips 1") + ROWS.replace("3 0 1 2\n3 0 2 3\n", "4 0 1 2 3\n")
    with pytest.raises(ValueError, match="triangle strips"):
        ply(tmp_path, strips)


@pytest.mark.skipif(not FAULTS.is_dir(), reason=f"{FAULTS} is absent")
def test_the_collected_faults() -> None:
    mesh = read_mesh(FAULTS / "bom_unused_last_vertex.obj")
    assert mesh.vertices.shape == (5, 3) and mesh.faces.tolist() == [[0, 1, 2], [1, 3, 2]]
    assert read_mesh(FAULTS / "relative_faces.obj").faces.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match=r"huge_index\.obj: .*line 4"):
        read_mesh(FAULTS / "huge_index.obj")
    with pytest.raises(ValueError, match=r"cut_in_faces\.ply: .*2 of 3 rows"):
        read_mesh(FAULTS / "cut_in_faces.ply")
