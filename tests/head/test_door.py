"""The one door: the dialects in which people have FLAME, GNM Head, ICT Face Model Light and ours, and bad files."""

from __future__ import annotations

import io
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from sheap.geometry.rotations import rotvec_to_matrix
from sheap.head import HeadModel, HeadParams
from sheap.head.data import write_head
from sheap.head.door import FLAME, GNM, ICT, OPEN_HEAD, head_sha256, recognise
from tests.head.made_heads import flame_arrays, gnm_arrays, ict_arrays, open_head, write_flame_folder, write_gnm, write_ict_npz

FORMS = ("csc", "csr", "coo", "bsr", "dia", "lil", "dok")


@pytest.fixture(scope="module")
def arrays() -> dict[str, Any]:
    return flame_arrays()


@pytest.fixture(scope="module")
def flame(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flame_folder(tmp_path_factory.mktemp("flame") / "assets")


@pytest.fixture(scope="module")
def gnm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gnm(tmp_path_factory.mktemp("gnm") / "gnm_head.npz")


@pytest.fixture(scope="module")
def ict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ict_npz(tmp_path_factory.mktemp("ict") / "ict.npz")


def is_flame(head: HeadModel, arrays: dict[str, Any]) -> None:
    np.testing.assert_allclose(head.template, arrays["v_template"], atol=1e-6)
    np.testing.assert_allclose(head.joint_regressor, arrays["J_regressor"], atol=1e-6)
    np.testing.assert_allclose(head.shape_basis, arrays["shapedirs"][..., :300], atol=1e-6)
    np.testing.assert_array_equal(head.faces, arrays["f"])
    assert head.source is not None and head.source.kind == FLAME


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", FORMS)
def test_pickles_of_every_protocol_and_sparse_form(
    tmp_path: Path, arrays: dict[str, Any], protocol: int, form: str
) -> None:
    document = dict(arrays) | {"J_regressor": getattr(scipy.sparse, f"{form}_matrix")(arrays["J_regressor"])}
    (tmp_path / "flame2023.pkl").write_bytes(pickle.dumps(document, protocol=protocol))
    is_flame(HeadModel.load(tmp_path), arrays)


def test_keys_as_bytes_structs_sparse_arrays_and_other_containers(
    tmp_path: Path, arrays: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    struct = type("Struct", (), {"__module__": "smplx.utils"})
    for name in ("smplx", "smplx.utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["smplx.utils"].Struct = struct  # type: ignore[attr-defined]
    filled = struct()
    filled.__dict__.update(dict(arrays) | {"J_regressor": scipy.sparse.csr_array(arrays["J_regressor"])})
    made: dict[str, bytes] = {
        "bytes_keys.pkl": pickle.dumps({name.encode(): value for name, value in arrays.items()}, protocol=3),
        "struct.pkl": pickle.dumps(filled, protocol=4),
    }
    plain = {name: value for name, value in arrays.items() if name != "bs_style"}
    sparse = np.array(scipy.sparse.csc_matrix(arrays["J_regressor"]), dtype=object)
    for name, values in {"plain.NPZ": plain, "objects.npz": plain | {"J_regressor": sparse}}.items():
        buffer = io.BytesIO()
        np.savez(buffer, **values)
        made[name] = buffer.getvalue()
    tensors = {name: torch.as_tensor(value.astype(np.float64)) for name, value in plain.items()}
    shaped = tensors | {"faces": tensors.pop("f"), "kintree": tensors.pop("kintree_table")}
    for name, document in {"generic_model.pt": shaped, "saved.pkl": plain}.items():
        buffer = io.BytesIO()
        torch.save(document, buffer)
        made[name] = buffer.getvalue()
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
        is_flame(HeadModel.load(tmp_path / name), arrays)


def test_a_folder_brings_what_lies_in_it(flame: Path) -> None:
    head, ours = HeadModel.load(flame), open_head()
    assert head.num_eyelids == 2 and head.uv_coords is not None and head.num_expression == 100
    torch.testing.assert_close(head.eyelid_basis, ours.eyelid_basis)
    torch.testing.assert_close(head.now_landmarks(head.template), ours.now_landmarks(ours.template), atol=1e-5, rtol=0)
    assert int((head.landmark_weights > 0).sum()) == 94
    assert head.region_masks["lips"].equal(ours.region_masks["lips"])
    model = flame / "FLAME2020" / "generic_model.pkl"
    alone = HeadModel.load(model)
    assert alone.num_eyelids == 0 and alone.uv_coords is None and alone.landmark_faces is None
    assert alone.region_masks["eyeball_left"].equal(ours.region_masks["eyeball_left"])
    assert head_sha256(flame) != head_sha256(model)


def test_sheaps_eyelids_in_every_shape(tmp_path: Path, arrays: dict[str, Any]) -> None:
    (tmp_path / "generic_model.pkl").write_bytes(pickle.dumps(arrays))
    lids = open_head().eyelid_basis.double()
    for stored in (lids, lids.movedim(-1, 0), {"l_eyelid": lids[..., 0], "r_eyelid": lids[..., 1]}):
        torch.save(stored, tmp_path / "eyelids.pt")
        torch.testing.assert_close(HeadModel.load(tmp_path).eyelid_basis, lids.float())
    torch.save(lids[:-1], tmp_path / "eyelids.pt")
    with pytest.raises(ValueError, match=r"eyelids\.pt: 'eyelids' has shape \[4988, 3, 2\], expected \[4989, 3, 2\]"):
        HeadModel.load(tmp_path)


def test_a_torch_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return eval, (f"open({str(tmp_path / 'witness')!r}, 'w')",)

    torch.save({"v_template": Attack()}, tmp_path / "flame.pt")
    with pytest.raises(ValueError, match=r"flame\.pt: not a readable file of torch.save with tensors alone"):
        HeadModel.load(tmp_path / "flame.pt")
    assert not (tmp_path / "witness").exists()


def test_gnm_agrees_with_its_own_formula(gnm: Path) -> None:
    """Identity, expression and correctives (of all four joints), then skinning; translation moves the root."""
    arrays = {name: value for name, value in np.load(gnm).items()}
    head = HeadModel.load(gnm)
    assert head.joint_names == ("root", "neck", "eye_left", "eye_right") and head.num_eyelids == 0
    assert (head.num_shape, head.num_expression) == (40, 30)
    rng = np.random.default_rng(1)
    beta, psi = rng.normal(size=40), rng.normal(size=30)
    turns, shift = 0.3 * rng.normal(size=(4, 3)), rng.normal(size=3)
    rotations = rotvec_to_matrix(torch.tensor(turns)).numpy()
    bound = arrays["template_vertex_positions"] + np.einsum("i,inc->nc", beta, arrays["vertex_identity_basis"])
    bound = bound + np.einsum("e,enc->nc", psi, arrays["expression_basis"])
    bound = bound + ((rotations - np.eye(3)).reshape(-1) @ arrays["pose_correctives_regressor"]).reshape(-1, 3)
    joints = arrays["template_joint_positions"] + np.einsum("i,ijc->jc", beta, arrays["joint_identity_basis"])
    world, places = [rotations[0]], [joints[0]]
    for joint, parent in ((1, 0), (2, 1), (3, 1)):
        places.append(places[parent] + world[parent] @ (joints[joint] - joints[parent]))
        world.append(world[parent] @ rotations[joint])
    expected = shift + sum(
        arrays["skinning_weights"][j][:, None] * ((bound - joints[j]) @ world[j].T + places[j]) for j in range(4)
    )
    values = [torch.tensor(value).float() for value in (beta, psi, turns, shift)]
    params = HeadParams.from_parts(head, values[0], values[1], None, values[2], values[3])
    np.testing.assert_allclose(head(params).vertices, expected, atol=5e-6)
    with pytest.raises(ValueError, match="jaw_rotvec: given, but this head has no such joint"):
        head(params.replace(jaw_rotvec=torch.zeros(3)))


def test_gnms_joints_are_found_by_name_and_uvs_by_quads(tmp_path: Path) -> None:
    arrays = gnm_arrays()
    order = [2, 0, 3, 1]
    mixed = dict(arrays)
    mixed["joint_names"] = arrays["joint_names"][order]
    mixed["joint_parent_indices"] = np.array([3, -1, 3, 1])
    for name in ("template_joint_positions", "skinning_weights"):
        mixed[name] = arrays[name][order]
    mixed["joint_identity_basis"] = arrays["joint_identity_basis"][:, order]
    mixed["pose_correctives_regressor"] = arrays["pose_correctives_regressor"].reshape(4, 9, -1)[order].reshape(36, -1)
    faces = arrays["triangles"]
    # A quad for every triangle: its fourth corner lies on another part, so that no other triangle is half of it.
    ball = open_head().region_masks["eyeballs"].numpy()
    others = np.where(ball[faces[:, 0]], 0, np.flatnonzero(ball)[0])
    mixed["quads"] = np.concatenate([faces, others[:, None]], axis=1)
    mixed["quad_uvs"] = np.concatenate([mixed.pop("triangle_uvs"), np.zeros((len(faces), 1, 2))], axis=1)
    np.savez(tmp_path / "gnm_head.npz", **mixed)
    np.savez(tmp_path / "plain.npz", **arrays)
    one, two = HeadModel.load(tmp_path / "gnm_head.npz"), HeadModel.load(tmp_path / "plain.npz")
    for name in ("skinning_weights", "pose_basis", "_joint_shape", "_joint_template"):
        torch.testing.assert_close(getattr(one, name), getattr(two, name))
    torch.testing.assert_close(one.uv_coords[one.uv_faces], two.uv_coords[two.uv_faces])


def test_ict_is_a_head_without_jaw_whose_expressions_have_arkits_names(ict: Path) -> None:
    head, arrays = HeadModel.load(ict), ict_arrays()
    # The made-up model's looks turn its eyeballs themselves, so these need no joints.
    assert head.joint_names == ("root", "neck") and head.num_expression == 53 and len(head.action_names) == 51
    params = HeadParams.zeros(head)
    jaw = head.action_matrix[head.action_names.index("jawOpen")]
    moved = head(params.replace(expression=jaw)).vertices - head.template
    np.testing.assert_allclose(moved, arrays["expression_cm"][list(arrays["expression_names"]).index("jawOpen")] / 100, atol=1e-6)
    brows = head.action_matrix[head.action_names.index("browInnerUp")]
    assert brows.sum() == 2
    turned = head(params.replace(root_rotvec=torch.tensor([0.0, 0.3, 0.0]))).vertices
    before, after = (torch.cdist(points[:200].double(), points[:200].double()) for points in (head.template, turned))
    torch.testing.assert_close(before, after, atol=1e-6, rtol=0)
    ours = open_head()
    torch.testing.assert_close(head.now_landmarks(head.template), ours.now_landmarks(ours.template), atol=1e-4, rtol=0)


def test_the_shared_copy_of_ict_is_read() -> None:
    path = Path(__file__).parents[3] / "shared" / "reference" / "ict" / "ict_light.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not here: ICT's own model, for measuring")
    head = HeadModel.load(path)
    assert head.num_shape == 100 and head.num_vertices == 14388 and recognise(path).kind == ICT
    assert head.joint_names == ("root", "neck", "eye_left", "eye_right"), "its looks leave the eyeballs still"
    assert (head.face_origin - torch.tensor([0.0, 0.0362, 0.0244])).abs().max() < 1e-4


def test_a_written_head_keeps_everything_and_its_source(tmp_path: Path, flame: Path, gnm: Path, ict: Path) -> None:
    for path in (flame, gnm, ict):
        head = HeadModel.load(path)
        write_head(head.data, tmp_path / "head.safetensors")
        copy = HeadModel.load(tmp_path / "head.safetensors")
        assert copy.source == head.source and copy.joint_names == head.joint_names
        assert head_sha256(tmp_path / "head.safetensors") == head_sha256(path)
        params = HeadParams.zeros(head, 1)
        params = params.replace(shape=params.shape + 0.5, expression=params.expression + 0.3)
        torch.testing.assert_close(copy(params).vertices, head(params).vertices, atol=2e-4, rtol=0)
        torch.testing.assert_close(copy(params).joints, head(params).joints, atol=1e-4, rtol=0)
    assert recognise(tmp_path / "head.safetensors").licence == "MIT"


def test_kinds_are_recognised(flame: Path, gnm: Path, ict: Path, tmp_path: Path) -> None:
    from sheap.head.data import OPEN_HEAD_PATH

    kinds = [recognise(path).kind for path in (OPEN_HEAD_PATH, flame, gnm, gnm.parent, ict)]
    assert kinds == [OPEN_HEAD, FLAME, GNM, GNM, ICT]
    with pytest.raises(FileNotFoundError, match="nothing: head model not found"):
        recognise(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"no head model in this folder; expected FLAME"):
        recognise(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"notes\.txt: unknown kind of head model; expected FLAME"):
        recognise(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("expression_basis", None, "lacks 'expression_basis'"),
        ("template_vertex_positions", None, "lacks 'template_vertex_positions'"),
        ("vertex_identity_basis", np.zeros((4, 7, 3), np.float32), r"'vertex_identity_basis' has shape \[4, 7, 3\]"),
        ("joint_names", np.array(["a", "head", "left_eye", "right_eye"]), "'joint_names' is a, head, left_eye, right_eye"),
        ("joint_names", None, "lacks 'joint_names'"),
        ("joint_parent_indices", np.array([-1, 0, 0, 1]), "'joint_parent_indices' hangs left_eye elsewhere than on head"),
        ("triangles", np.full((4, 3), 99999), "'triangles' holds indices outside"),
    ],
)
def test_what_is_wrong_with_a_gnm_file_is_named(tmp_path: Path, gnm: Path, name: str, change: Any, complaint: str) -> None:
    arrays = dict(np.load(gnm).items())
    value = arrays.pop(name)
    arrays |= {f"{name}_v2": value} if change is None else {name: change}
    np.savez(tmp_path / "gnm_head.npz", **arrays)
    with pytest.raises(ValueError, match=rf"gnm_head\.npz: {complaint}"):
        HeadModel.load(tmp_path / "gnm_head.npz")


def test_a_gnm_file_cut_short_is_named(tmp_path: Path, gnm: Path) -> None:
    content = gnm.read_bytes()
    (tmp_path / "gnm_head.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"gnm_head\.npz: not a readable \.npz file .*cut short"):
        HeadModel.load(tmp_path / "gnm_head.npz")
    broken = bytearray(content)
    broken[2000:2200] = bytes(200)
    (tmp_path / "gnm_head.npz").write_bytes(bytes(broken))
    with pytest.raises(ValueError, match=r"gnm_head\.npz: 'template_vertex_positions' is not a readable array"):
        HeadModel.load(tmp_path / "gnm_head.npz")


def test_two_flame_models_in_one_folder_and_companions_of_another(tmp_path: Path, arrays: dict[str, Any], flame: Path) -> None:
    for name in ("generic_model.pkl", "flame2023.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(arrays))
    with pytest.raises(ValueError, match=r"more than one FLAME model \(flame2023.pkl and generic_model.pkl\); name the file"):
        HeadModel.load(tmp_path)
    is_flame(HeadModel.load(tmp_path / "flame2023.pkl"), arrays)
    (tmp_path / "flame2023.pkl").unlink()
    np.save(tmp_path / "l_eyelid.npy", np.zeros((5023, 3)))
    with pytest.raises(ValueError, match=r"l_eyelid\.npy: the other eyelid's file"):
        HeadModel.load(tmp_path)
    np.save(tmp_path / "r_eyelid.npy", np.zeros((5023, 3)))
    with pytest.raises(ValueError, match=r"l_eyelid\.npy: 'eyelid' has shape \[5023, 3\], expected \[4989, 3\]"):
        HeadModel.load(tmp_path)
    for name in ("l_eyelid.npy", "r_eyelid.npy"):
        (tmp_path / name).unlink()
    (tmp_path / "head_template.obj").write_text("vt 0 0\nf 1/1 2/1 3/1\n")
    with pytest.raises(ValueError, match=r"head_template\.obj: 'f' names vertices outside 1\.\.0|its faces are not the model's"):
        HeadModel.load(tmp_path)
    (tmp_path / "head_template.obj").unlink()
    embedding = {"lmk_face_idx": [99999], "lmk_b_coords": [[1.0, 0, 0]], "landmark_indices": [1]}
    np.savez(tmp_path / "mediapipe_landmark_embedding.npz", **embedding)
    with pytest.raises(ValueError, match=r"mediapipe_landmark_embedding\.npz: 'lmk_face_idx' holds indices outside"):
        HeadModel.load(tmp_path)


def test_what_is_wrong_with_an_ict_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    with pytest.raises(ValueError, match=r"generic_neutral_mesh\.obj: missing; ICT-FaceKit's FaceXModel folder holds it"):
        HeadModel.load(tmp_path)
    from sheap.head.ict import EXPRESSIONS, NUM_VERTICES

    vertices = "v 0 0 0\n" * NUM_VERTICES
    for name in ("generic_neutral_mesh", *(f"identity{k:03d}" for k in range(100)), *EXPRESSIONS):
        (folder / f"{name}.obj").write_text(vertices + "f 1 2 3\n")
    (folder / "identity007.obj").write_text("v 0 0 0\n" * 5)
    with pytest.raises(ValueError, match=r"identity007\.obj: 5 vertices; generic_neutral_mesh\.obj beside it has 26719"):
        HeadModel.load(tmp_path)
    (folder / "jawOpen.obj").unlink()
    with pytest.raises(ValueError, match=r"jawOpen\.obj: missing"):
        HeadModel.load(tmp_path)
    (folder / "jawOpen.obj").write_text(vertices)
    (folder / "generic_neutral_mesh.obj").write_text("v 0 0 0\nv 1 0\n")
    with pytest.raises(ValueError, match=r"generic_neutral_mesh\.obj: a 'v' line does not hold 3 numbers"):
        HeadModel.load(tmp_path)
    (folder / "generic_neutral_mesh.obj").write_text("v 0 0 0\n" * 9)
    with pytest.raises(ValueError, match=r"generic_neutral_mesh\.obj: 9 vertices; ICT Face Model Light has 26719"):
        HeadModel.load(tmp_path)
