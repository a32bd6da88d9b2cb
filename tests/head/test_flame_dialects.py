"""FLAME as other projects re-save it: older modules' names, other containers, types and array names; and what is refused."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from sheap.head import HeadModel
from sheap.head.data import HeadData
from sheap.head.flame import FlameFiles, read_flame
from sheap.head.sparse_arrays import FORMS
from tests.head.made_heads import write_gnm
from tests.head.test_flame import chumpy_like, made_up_arrays, with_state, write_pickle

__all__ = ["chumpy_like"]


def is_read(path: Path, expressions: int = 100, atol: float = 1e-6) -> HeadData:
    arrays, data = made_up_arrays(), HeadModel.load(path).data
    np.testing.assert_allclose(data.template, arrays["v_template"], atol=atol)
    np.testing.assert_array_equal(data.faces, arrays["f"])
    np.testing.assert_allclose(data.joint_regressor, arrays["J_regressor"], atol=atol)
    np.testing.assert_allclose(data.skinning_weights, arrays["weights"], atol=atol)
    np.testing.assert_allclose(data.shape_basis, arrays["shapedirs"][..., :300], atol=atol)
    np.testing.assert_allclose(data.expression_basis, arrays["shapedirs"][..., 300 : 300 + expressions], atol=atol)
    np.testing.assert_allclose(data.pose_basis, arrays["posedirs"], atol=atol)
    return data


@pytest.mark.parametrize("form", FORMS)
def test_sparse_matrices_and_arrays_under_scipys_older_names(tmp_path: Path, form: str) -> None:
    """scipy 1.8 renamed its modules; FLAME's own files are older, and numpy 2 renamed its own."""
    matrix = getattr(scipy.sparse, f"{form}_matrix")(made_up_arrays()["J_regressor"])
    content = pickle.dumps(made_up_arrays() | {"J_regressor": matrix}, protocol=2)
    older = content.replace(f"scipy.sparse._{form}".encode(), f"scipy.sparse.{form}".encode())
    older = older.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"scipy.sparse._" not in older and b"_core" not in older
    (tmp_path / "flame.pkl").write_bytes(older)
    is_read(tmp_path / "flame.pkl")
    array = getattr(scipy.sparse, f"{form}_array")(made_up_arrays()["J_regressor"])
    is_read(write_pickle(tmp_path / "flame.pkl", made_up_arrays() | {"J_regressor": array}, 5))


def test_blocks_padding_and_repeated_places_of_sparse_forms(tmp_path: Path) -> None:
    """As scipy itself makes them dense."""
    rng = np.random.default_rng(0)
    matrices = [
        scipy.sparse.bsr_matrix(made_up_arrays()["J_regressor"], blocksize=(1, 4)),
        scipy.sparse.coo_matrix((rng.normal(size=300), (rng.integers(0, 5, 300), rng.integers(0, 40, 300))), (5, 40)),
        scipy.sparse.dia_matrix((rng.normal(size=(3, 44)), [-2, 0, 7]), (5, 40)),
        scipy.sparse.csr_matrix((5, 40)),
    ]
    for matrix in matrices:
        path = write_pickle(tmp_path / "flame.pkl", made_up_arrays() | {"J_regressor": matrix})
        np.testing.assert_allclose(read_flame(path).joint_regressor, matrix.toarray(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["<i4", "<i8", "<u4", "<f4", "<f8", ">i4"])
def test_faces_of_every_number_type(tmp_path: Path, kind: str) -> None:
    is_read(write_pickle(tmp_path / "flame.pkl", made_up_arrays() | {"f": made_up_arrays()["f"].astype(kind)}))


def test_single_precision_fortran_order_matrices_and_lists(tmp_path: Path) -> None:
    arrays = made_up_arrays()
    single = {name: v.astype("f4") if isinstance(v, np.ndarray) and v.dtype == "f8" else v for name, v in arrays.items()}
    is_read(write_pickle(tmp_path / "flame.pkl", single), atol=1e-5)
    is_read(write_pickle(tmp_path / "flame.pkl", arrays | {"shapedirs": np.asfortranarray(arrays["shapedirs"])}))
    for protocol in (2, 4):  # of J_regressor.todense()
        is_read(write_pickle(tmp_path / "flame.pkl", arrays | {"J_regressor": np.matrix(arrays["J_regressor"])}, protocol))
    is_read(write_pickle(tmp_path / "flame.pkl", arrays | {"weights": arrays["weights"].tolist()}))


def test_chumpys_numbers_under_either_name(tmp_path: Path, chumpy_like: types.SimpleNamespace) -> None:
    arrays = made_up_arrays()
    for name in ("x", "r"):
        inner = with_state(chumpy_like.Ch, **{name: arrays["v_template"]})
        is_read(write_pickle(tmp_path / "flame.pkl", arrays | {"v_template": inner}))
    path = write_pickle(tmp_path / "flame.pkl", arrays | {"v_template": with_state(chumpy_like.Ch, other=1)})
    with pytest.raises(ValueError, match=r"flame\.pkl: 'v_template' is not a readable array \(lacks 'r'\)"):
        read_flame(path)


def test_gzip_under_either_name_and_in_a_folder(tmp_path: Path) -> None:
    packed = gzip.compress(pickle.dumps(made_up_arrays(), protocol=2))
    for name in ("flame.pkl", "generic_model.pkl.gz"):
        (tmp_path / name).write_bytes(packed)
        is_read(tmp_path / name)
        is_read(tmp_path)
        (tmp_path / name).unlink()
    (tmp_path / "flame.pkl").write_bytes(bz2.compress(packed))
    with pytest.raises(ValueError, match=r"flame\.pkl: not a readable FLAME pickle"):
        read_flame(tmp_path / "flame.pkl")


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("name", ["flame.pt", "flame.pth", "flame.pkl"])
def test_torch_files_in_both_formats(tmp_path: Path, name: str, is_zip: bool) -> None:
    arrays = made_up_arrays()
    tensors = {name: torch.as_tensor(v.astype("f8")) for name, v in arrays.items() if isinstance(v, np.ndarray)}
    sparse = tensors | {"J_regressor": tensors["J_regressor"].to_sparse()}
    rows = tensors | {"J_regressor": tensors["J_regressor"].to_sparse_csr()}
    for document in (tensors, arrays, sparse, rows):
        torch.save(document, tmp_path / name, _use_new_zipfile_serialization=is_zip)
        is_read(tmp_path / name)
    torch.save(tensors | {"weights": tensors["weights"].bfloat16()}, tmp_path / name, _use_new_zipfile_serialization=is_zip)
    found = HeadModel.load(tmp_path / name).skinning_weights
    torch.testing.assert_close(found, tensors["weights"].float(), atol=4e-3, rtol=0)


def test_the_state_of_smplxs_and_decas_modules(tmp_path: Path) -> None:
    """Faces, parents, weights and correctives under their names there; smplx keeps expression apart."""
    arrays = made_up_arrays()
    state = {
        "v_template": arrays["v_template"], "J_regressor": arrays["J_regressor"], "lbs_weights": arrays["weights"],
        "posedirs": arrays["posedirs"].reshape(-1, 36).T, "faces_tensor": arrays["f"].astype(np.int64),
        "parents": np.array([-1, 0, 1, 1, 1]), "shapedirs": arrays["shapedirs"],
    }  # fmt: skip
    torch.save({name: torch.tensor(value) for name, value in state.items()}, tmp_path / "flame.pt")
    is_read(tmp_path / "flame.pt")
    split = state | {"shapedirs": arrays["shapedirs"][..., :300], "expr_dirs": arrays["shapedirs"][..., 300:350]}
    np.savez(tmp_path / "flame.npz", **split)
    (tmp_path / "flame.npz").rename(tmp_path / "flame.NPZ")
    is_read(tmp_path / "flame.NPZ", expressions=50)
    fewer = arrays | {"shapedirs": arrays["shapedirs"][..., :350]}
    is_read(write_pickle(tmp_path / "flame2020.pkl", fewer), expressions=50)


@pytest.mark.parametrize(
    "name", ["generic_model.pkl", "FLAME2020.pkl", "flame2023.pkl", "flame2023_no_jaw.pkl", "flame2023_Open.pkl"]
)
def test_every_versions_file_is_found_in_a_folder(tmp_path: Path, name: str) -> None:
    write_pickle(tmp_path / name, made_up_arrays())
    for other in ("female_model.pkl", "male_model.pkl"):  # beside the generic one in FLAME's own download
        write_pickle(tmp_path / other, made_up_arrays())
    data = is_read(tmp_path)
    assert data.source is not None and ("CC-BY" in data.source.licence) == ("Open" in name)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"J_regressor": made_up_arrays()["J_regressor"].T}, r"'J_regressor' has shape \[40, 5\], expected \[5, 40\]"),
        ({"v_template": None, "v": np.zeros((40, 3))}, r"lacks 'v_template' \(it holds J_regressor, .*, v, weights\)"),
        ({"shapedirs": np.zeros((40, 3, 150))}, "'shapedirs' has 150 directions, expected more than 300: identity, then expr"),
        ({"expr_dirs": np.zeros((41, 3, 50))}, r"'expr_dirs' has shape \[41, 3, 50\], expected \[40, 3, any\]"),
        ({"f": np.zeros((0, 3), np.uint32)}, "'f' is empty"),
        ({"f": made_up_arrays()["f"] + 0.5}, r"'f' holds indices outside 0\.\.39"),
        ({"v_template": np.zeros((0, 3))}, "'v_template' is empty"),
        ({"weights": np.ma.masked_array(np.zeros((40, 5)))}, r"not a readable FLAME pickle \(names numpy\.ma\.core"),
        ({"weights": torch.zeros(40, 5)}, r"not a readable FLAME pickle \(names torch\._utils"),
    ],
)
def test_what_is_not_guessed_at_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    document = {name: value for name, value in (made_up_arrays() | changes).items() if value is not None}
    with pytest.raises(ValueError, match=rf"flame\.pkl: {words}") as caught:
        read_flame(write_pickle(tmp_path / "flame.pkl", document))
    assert "\n" not in str(caught.value)


def test_companions_of_another_versions_mesh(tmp_path: Path) -> None:
    """What belongs to 5,023 vertices beside a model of 40."""
    model = write_pickle(tmp_path / "flame.pkl", made_up_arrays())
    masks = write_pickle(tmp_path / "FLAME_masks.pkl", {"face": np.array([4999]), "lips": np.array([1])})
    with pytest.raises(ValueError, match=r"FLAME_masks\.pkl: 'face' holds indices outside 0\.\.39"):
        read_flame(FlameFiles(model, masks=masks))
    static = {"lmk_face_idx": np.full(51, 9975), "lmk_b_coords": np.full((51, 3), 1 / 3)}
    path = write_pickle(tmp_path / "flame_static_embedding.pkl", static)
    with pytest.raises(ValueError, match=r"flame_static_embedding\.pkl: 'lmk_face_idx' holds indices outside 0\.\.59"):
        read_flame(FlameFiles(model, static_embedding=path))
    torch.save(torch.zeros(5023, 3, 2), tmp_path / "eyelids.pt")
    with pytest.raises(ValueError, match=r"eyelids\.pt: 'eyelids' has shape \[5023, 3, 2\], expected \[40, 3, 2\]"):
        read_flame(FlameFiles(model, eyelids=(tmp_path / "eyelids.pt",)))
    template = "".join("v 0 0 0\n" for _ in range(40)) + "vt 0 0\n" + "f 1/1 2/1 3/1\n" * 60
    (tmp_path / "head_template.obj").write_text(template)
    with pytest.raises(ValueError, match=r"head_template\.obj: its faces are not the model's"):
        read_flame(FlameFiles(model, uv_template=tmp_path / "head_template.obj"))
    (tmp_path / "head_template.obj").write_text(template.replace("v 0 0 0\n", "v 0 nan 0\n", 1))
    with pytest.raises(ValueError, match=r"head_template\.obj: a 'v' line holds a number that is not finite"):
        read_flame(FlameFiles(model, uv_template=tmp_path / "head_template.obj"))


def test_a_folder_of_two_publishers_models_is_not_guessed_at(tmp_path: Path) -> None:
    write_gnm(tmp_path / "gnm_head.npz", identities=2, expressions=2)
    (tmp_path / "flame").mkdir()
    write_pickle(tmp_path / "flame" / "generic_model.pkl", made_up_arrays())
    with pytest.raises(ValueError, match=r"holds GNM Head \(gnm_head\.npz\) and FLAME \(generic_model\.pkl\); name the one"):
        HeadModel.load(tmp_path)
    is_read(tmp_path / "flame")


def test_a_file_with_neither_ending_nor_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gz").write_bytes(gzip.compress(b"hello"))
    with pytest.raises(ValueError, match=r"model\.gz: not a readable FLAME pickle"):
        HeadModel.load(tmp_path / "model.gz")
    buffer = io.BytesIO()
    np.savez(buffer, v_template=np.zeros((3, 3)))
    (tmp_path / "flame.npz").write_bytes(buffer.getvalue()[:-30])
    with pytest.raises(ValueError, match=r"flame\.npz: not a readable \.npz file .*cut short"):
        HeadModel.load(tmp_path / "flame.npz")
