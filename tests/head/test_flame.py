"""Reading a user's FLAME files, on a made-up model with FLAME's layout (FLAME itself may not be shipped)."""

from __future__ import annotations

import os
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from sheap.geometry.rotations import rotvec_to_matrix
from sheap.head import HeadModel, HeadParams
from sheap.head.flame import FlameFiles, read_flame

NUM_VERTICES, NUM_FACES = 40, 60
ROOT = 4294967295
"""FLAME's parent of the root: -1 as an unsigned 32-bit number."""


def made_up_arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    weights = rng.random((NUM_VERTICES, 5))
    regressor = rng.random((5, NUM_VERTICES))
    return {
        "v_template": rng.normal(size=(NUM_VERTICES, 3)),
        "f": rng.integers(0, NUM_VERTICES, (NUM_FACES, 3)).astype(np.uint32),
        "shapedirs": rng.normal(size=(NUM_VERTICES, 3, 400)),
        "posedirs": rng.normal(size=(NUM_VERTICES, 3, 36)),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "kintree_table": np.array([[ROOT, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.int64),
        "weights": weights / weights.sum(1, keepdims=True),
        "bs_style": "lbs",
    }


@pytest.fixture
def chumpy_like(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Classes with the names and the state of chumpy's, importable only while the test writes its pickle."""

    def holder(module: str, name: str) -> type:
        made = type(name, (), {"__module__": module})
        if module not in sys.modules:
            monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
        setattr(sys.modules[module], name, made)
        return made

    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    return types.SimpleNamespace(Ch=holder("chumpy.ch", "Ch"), Select=holder("chumpy.reordering", "Select"))


def with_state(cls: type, **state: Any) -> Any:
    item = cls()
    item.__dict__.update(state)
    return item


def write_pickle(path: Path, document: Any, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(document, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 4])
def test_pickle_with_chumpy_and_sparse_entries(
    tmp_path: Path, chumpy_like: types.SimpleNamespace, protocol: int
) -> None:
    arrays = made_up_arrays()
    document = dict(arrays)
    document["J_regressor"] = scipy.sparse.csc_matrix(arrays["J_regressor"])
    document["v_template"] = with_state(chumpy_like.Ch, x=arrays["v_template"])
    flat = with_state(chumpy_like.Ch, x=arrays["shapedirs"].reshape(-1))
    indices = np.arange(arrays["shapedirs"].size)
    document["shapedirs"] = with_state(
        chumpy_like.Select, a=flat, idxs=indices, preferred_shape=arrays["shapedirs"].shape
    )
    data = read_flame(write_pickle(tmp_path / "generic_model.pkl", document, protocol))
    np.testing.assert_allclose(data.template, arrays["v_template"], rtol=1e-6)
    np.testing.assert_allclose(data.shape_basis, arrays["shapedirs"][..., :300], rtol=1e-6)
    np.testing.assert_allclose(data.expression_basis, arrays["shapedirs"][..., 300:], rtol=1e-6)
    np.testing.assert_allclose(data.joint_regressor, arrays["J_regressor"], rtol=1e-6)
    np.testing.assert_array_equal(data.faces, arrays["f"])


def test_model_agrees_with_flames_own_formula(tmp_path: Path) -> None:
    """Li et al. 2017: shape, expression and pose corrections, joints regressed from the shaped template, then LBS."""
    arrays = made_up_arrays()
    path = tmp_path / "flame.npz"
    np.savez(path, **{name: value for name, value in arrays.items() if name != "bs_style"})
    head = HeadModel.load(path)
    assert (head.num_shape, head.num_expression, head.num_vertices) == (300, 100, NUM_VERTICES)
    rng = np.random.default_rng(1)
    beta, psi, rotvecs = 0.1 * rng.normal(size=300), 0.1 * rng.normal(size=100), 0.4 * rng.normal(size=(5, 3))
    rotations = rotvec_to_matrix(torch.tensor(rotvecs)).numpy()
    shaped = arrays["v_template"] + arrays["shapedirs"] @ np.concatenate([beta, psi])
    joints = arrays["J_regressor"] @ shaped
    posed = shaped + arrays["posedirs"] @ (rotations[1:] - np.eye(3)).reshape(-1)
    world, places = [rotations[0]], [joints[0]]
    for joint, parent in ((1, 0), (2, 1), (3, 1), (4, 1)):
        places.append(places[parent] + world[parent] @ (joints[joint] - joints[parent]))
        world.append(world[parent] @ rotations[joint])
    expected = sum(arrays["weights"][:, [j]] * ((posed - joints[j]) @ world[j].T + places[j]) for j in range(5))
    names = ("root_rotvec", "neck_rotvec", "jaw_rotvec", "eye_left_rotvec", "eye_right_rotvec")
    params = HeadParams.zeros(head).replace(
        shape=torch.tensor(beta).float(),
        expression=torch.tensor(psi).float(),
        **{name: torch.tensor(value).float() for name, value in zip(names, rotvecs)},
    )
    np.testing.assert_allclose(head(params).vertices, expected, atol=2e-5)


def test_extra_files(tmp_path: Path) -> None:
    arrays = made_up_arrays()
    model = write_pickle(tmp_path / "flame.pkl", arrays)
    rng = np.random.default_rng(2)
    lids = [tmp_path / "l_eyelid.npy", tmp_path / "r_eyelid.npy"]
    moves = [rng.normal(size=(NUM_VERTICES, 3)) for _ in lids]
    for path, move in zip(lids, moves):
        np.save(path, move)
    corners = np.eye(3)[rng.integers(0, 3, 51)]
    static = write_pickle(
        tmp_path / "static.pkl", {"lmk_face_idx": np.arange(51, dtype=np.uint32), "lmk_b_coords": corners}
    )
    mediapipe = tmp_path / "mediapipe.npz"
    np.savez(mediapipe, lmk_face_idx=np.array([7, 8]), lmk_b_coords=np.full((2, 3), 1 / 3), landmark_indices=[276, 33])
    parts = [
        "face",
        "lips",
        "nose",
        "neck",
        "scalp",
        "forehead",
        "left_ear",
        "right_ear",
        "eye_region",
        "left_eyeball",
        "right_eyeball",
    ]
    masks = write_pickle(tmp_path / "masks.pkl", {part: np.array([row, row + 11]) for row, part in enumerate(parts)})
    obj = tmp_path / "template.obj"
    lines = [f"vt {0.1 * k:.3f} 0.5" for k in range(9)]
    lines += ["f " + " ".join(f"{vertex + 1}/{1 + k % 9}" for vertex in face) for k, face in enumerate(arrays["f"])]
    obj.write_text("\n".join(lines))

    files = FlameFiles(
        model,
        eyelids=(lids[0], lids[1]),
        static_embedding=static,
        mediapipe_embedding=mediapipe,
        masks=masks,
        uv_template=obj,
    )
    data = read_flame(files)
    head = HeadModel(data)
    np.testing.assert_allclose(data.eyelid_basis[..., 1], moves[1], rtol=1e-6)
    expected = np.einsum("lk,lkc->lc", corners, arrays["v_template"][arrays["f"][:51]])[[19, 22, 25, 28, 16, 31, 37]]
    np.testing.assert_allclose(head.now_landmarks(head.template), expected, rtol=1e-5)
    assert head.landmark_weights.nonzero().flatten().tolist() == [33, 276]
    np.testing.assert_allclose(
        head.landmarks(head.template)[276], arrays["v_template"][arrays["f"][7]].mean(0), rtol=1e-4
    )
    assert head.region_masks["ears"].nonzero().flatten().tolist() == [6, 7, 17, 18]
    assert head.uv_faces[10].tolist() == [1, 1, 1] and head.uv_coords.shape == (9, 2)


def test_without_embeddings_landmarks_are_refused(tmp_path: Path) -> None:
    head = HeadModel.load(write_pickle(tmp_path / "flame.pkl", made_up_arrays()))
    with pytest.raises(ValueError, match=r"no MediaPipe landmark embedding"):
        head.landmarks(head.template)
    with pytest.raises(ValueError, match=r"no NoW landmarks"):
        head.now_landmarks(head.template)
    with pytest.raises(ValueError, match=r"no attachment points"):
        head.attachments(HeadParams.zeros(head))
    assert head.uv_coords is None and head.eyelid_basis is None


class _Attack:
    """Unpickled the ordinary way, this creates a file."""

    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call, self.arguments


@pytest.mark.parametrize("kind", ["system", "eval", "numpy"])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, kind: str) -> None:
    witness = tmp_path / "witness"
    attack = {
        "system": _Attack(os.system, f"touch {witness}"),
        "eval": _Attack(eval, f"open({str(witness)!r}, 'w')"),
        "numpy": _Attack(np.save, str(witness), np.zeros(1)),
    }[kind]
    document = {**made_up_arrays(), "weights": attack}
    path = write_pickle(tmp_path / "evil.pkl", document)
    with pytest.raises(ValueError, match=r"evil.pkl: not a readable FLAME pickle \(names .*no use for"):
        read_flame(path)
    assert not list(tmp_path.glob("witness*"))
    pickle.loads(path.read_bytes())  # the test's own check: it would have run
    assert list(tmp_path.glob("witness*"))


def test_objects_inside_arrays_go_through_the_same_gate(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    sneaky = np.empty(1, dtype=object)
    sneaky[0] = _Attack(os.system, f"touch {witness}")
    path = write_pickle(tmp_path / "evil.pkl", {**made_up_arrays(), "weights": sneaky})
    with pytest.raises(ValueError, match=r"evil.pkl"):
        read_flame(path)
    np.savez(tmp_path / "evil.npz", weights=sneaky)
    with pytest.raises(ValueError, match=r"evil.npz"):
        read_flame(tmp_path / "evil.npz")
    assert not witness.exists()


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("v_template", None, "lacks 'v_template'"),
        ("v_template", np.zeros((NUM_VERTICES, 2)), r"'v_template' has shape \[40, 2\], expected \[any, 3\]"),
        ("v_template", np.full((NUM_VERTICES, 3), np.nan), "'v_template' holds values that are not finite"),
        ("f", np.full((4, 3), NUM_VERTICES), r"'f' holds indices outside 0\.\.39"),
        ("weights", np.zeros((NUM_VERTICES, 4)), r"'weights' has shape \[40, 4\], expected \[40, 5\]"),
        ("weights", "none", "'weights' is not an array of numbers"),
        ("shapedirs", np.zeros((NUM_VERTICES, 3, 300)), "'shapedirs' has 300 directions, expected more than 300"),
        ("kintree_table", np.zeros((2, 5)), "'kintree_table' does not describe FLAME's"),
        ("posedirs", np.zeros((NUM_VERTICES, 3, 27)), "'posedirs' has shape"),
    ],
)
def test_wrong_contents_are_named(tmp_path: Path, field: str, value: Any, complaint: str) -> None:
    arrays = made_up_arrays()
    if value is None:
        del arrays[field]
    else:
        arrays[field] = value
    with pytest.raises(ValueError, match=rf"flame.pkl: {complaint}"):
        read_flame(write_pickle(tmp_path / "flame.pkl", arrays))


@pytest.mark.parametrize("content", [b"", b"\x80\x02", b"PK\x03\x04 not a pickle", b"version https://git-lfs"])
def test_broken_files_are_named(tmp_path: Path, content: bytes) -> None:
    for name in ("broken.pkl", "broken.npz"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=name):
            read_flame(path)
    with pytest.raises(ValueError, match=r"list.pkl: expected a dictionary of arrays, found list"):
        read_flame(write_pickle(tmp_path / "list.pkl", [1, 2]))
