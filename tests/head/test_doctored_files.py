"""Files made to harm: whatever they claim or hide ends in one line that names file and array, and costs no memory."""

from __future__ import annotations

import gzip
import io
import pickle
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from safetensors import safe_open
from safetensors.torch import save

from sheap.head import HeadModel
from sheap.head.array_files import MOST_BYTES
from sheap.head.data import OPEN_HEAD_PATH
from tests.head.test_flame import made_up_arrays, write_pickle


class Call:
    """Unpickled the ordinary way, this calls something."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def complaint(path: Path) -> str:
    with pytest.raises(ValueError, match=path.name) as caught:
        HeadModel.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def little_memory() -> Any:
    """One and a half gigabytes more than there are now."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + 3 * 2**29, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def header(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    """Of an .npy file that claims such an array."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("shape", [(10**12, 3), (10**8, 3), (-1, 3), (10**30, 3)])
@pytest.mark.parametrize(("file", "name"), [("flame.npz", "v_template"), ("gnm_head.npz", "template_vertex_positions")])
def test_an_array_that_claims_more_than_it_holds(tmp_path: Path, file: str, name: str, shape: tuple[int, ...]) -> None:
    with zipfile.ZipFile(tmp_path / file, "w") as archive:
        archive.writestr(f"{name}.npy", header(shape))
    assert f"'{name}' is not a readable array (its header says float64 {list(shape)}, but 0 bytes" in complaint(tmp_path / file)
    (tmp_path / "flame.npy").write_bytes(header(shape))
    assert "not a readable .npy file (its header says" in complaint(tmp_path / "flame.npy")


@pytest.mark.usefixtures("little_memory")
def test_a_zip_or_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """The zip's directory says the size, which is then all that zipfile gives; nothing needs to be behind it here."""
    path = tmp_path / "flame.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("shapedirs.npy", header((1, 3)) + bytes(24))
        archive.writestr("v_template.npy", header((4, 3)) + bytes(96))
        archive.infolist()[1].file_size = MOST_BYTES
    assert f"'v_template' takes the file beyond {MOST_BYTES // 2**20} MiB unpacked" in complaint(path)
    packed = gzip.compress(pickle.dumps(made_up_arrays()))
    (tmp_path / "flame.pkl").write_bytes(packed[: len(packed) // 2])
    assert "not a readable gzip file" in complaint(tmp_path / "flame.pkl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sheap.head.array_files.MOST_BYTES", 2**20)
        (tmp_path / "flame.pkl").write_bytes(gzip.compress(bytes(2**21)))
        assert "takes more than 1 MiB unpacked" in complaint(tmp_path / "flame.pkl")


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (Call(bytearray, 2**20), "refuses bytes made of anything but bytes"),
        (Call(bytes, 2**20), "refuses bytes made of anything but bytes"),
        (Call(np.ndarray, (2**20,), "O"), "refuses an array of a size alone"),
    ],
    ids=["bytearray", "bytes", "ndarray"],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_asks_for_memory_gets_none(tmp_path: Path, claim: Call, words: str, protocol: int) -> None:
    path = write_pickle(tmp_path / "flame.pkl", made_up_arrays() | {"weights": claim}, protocol)
    assert f"not a readable FLAME pickle ({words})" in complaint(path)


def test_an_array_type_that_hides_objects_among_numbers_is_refused(tmp_path: Path) -> None:
    """numpy would take eight bytes of the file for an object's address."""
    path = tmp_path / "flame.pkl"
    fields = {"a": (np.dtype("O"), 0)}
    hiding = Call(np.dtype, "V8", state=(3, "|", None, ("a",), fields, 8, 1, 0))
    state = (1, (40,), hiding, False, bytes(range(1, 9)) * 40)
    reconstruct = np.zeros(1).__reduce__()[0]
    write_pickle(path, made_up_arrays() | {"weights": Call(reconstruct, np.ndarray, (0,), b"b", state=state)})
    loaded = f"from pathlib import Path; from sheap.head import HeadModel; HeadModel.load(Path({str(path)!r}))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=False)  # it might crash
    assert done.returncode == 1, "neither read nor crashed"
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("ValueError") and "refuses an array of other than plain numbers" in said


def test_a_pickle_cannot_change_the_functions_it_may_call(tmp_path: Path) -> None:
    from sheap.head import flame_pickle

    before = dict(vars(flame_pickle._KNOWN[("copyreg", "_reconstructor")]))
    state = b"\x80\x02ccopyreg\n_reconstructor\n}X\x09\x00\x00\x00_functionNsb."
    (tmp_path / "flame.pkl").write_bytes(state)
    assert "refuses to change a function" in complaint(tmp_path / "flame.pkl")
    assert vars(flame_pickle._KNOWN[("copyreg", "_reconstructor")]) == before
    (tmp_path / "flame.pkl").write_bytes(b"\x80\x02cnumpy\nndarray\n}X\x01\x00\x00\x00aNsb.")
    assert "refuses to change a class" in complaint(tmp_path / "flame.pkl")


def _with(form: str, change: Callable[[Any], None]) -> Any:
    matrix = getattr(scipy.sparse, f"{form}_matrix")(made_up_arrays()["J_regressor"])
    change(matrix)
    return matrix


def _set(name: str, value: Callable[[Any], Any]) -> Callable[[Any], None]:
    return lambda matrix: setattr(matrix, name, value(matrix))


@pytest.mark.parametrize(
    ("form", "change", "words"),
    [
        ("csc", _set("indices", lambda m: m.indices + 10**6), "its csc form names places outside 5 x 40"),
        ("csr", _set("indices", lambda m: m.indices - 1), "its csr form names places outside 5 x 40"),
        ("csc", _set("indptr", lambda m: m.indptr * 1000), "its csc form's indptr does not fit 5 x 40"),
        ("csr", _set("indptr", lambda m: m.indptr[::-1].copy()), "its csr form's indptr does not fit 5 x 40"),
        ("bsr", _set("indices", lambda m: m.indices + 99), "its bsr form names places outside 5 x 40"),
        ("coo", _set("coords", lambda m: (m.coords[0] + 100, m.coords[1])), "its coo form names places outside 5 x 40"),
        ("lil", lambda m: m.rows.__setitem__(0, [10**6] * 40), "its lil form names places outside 5 x 40"),
        ("lil", lambda m: m.rows.__setitem__(0, [1]), "its lil form has other numbers of places and values"),
        ("csc", _set("_shape", lambda m: (5, 10**9)), "a csc matrix of 5 x 1000000000, expected at most"),
        ("csr", _set("data", lambda m: m.data[:5]), "its csr form's indptr does not fit 5 x 40"),
        ("coo", _set("data", lambda m: m.data[:5]), "its coo form has 5 values at 200 rows and 200 columns"),
        ("csc", _set("indices", lambda m: m.indices * 0.5), "its indices are not a row of whole numbers"),
    ],
)
def test_sparse_matrices_with_places_outside(tmp_path: Path, form: str, change: Any, words: str) -> None:
    """scipy's own conversion writes beyond the array's end for the first of these."""
    path = write_pickle(tmp_path / "flame.pkl", made_up_arrays() | {"J_regressor": _with(form, change)})
    assert f"flame.pkl: 'J_regressor' is not a readable array ({words}" in complaint(path)


def test_a_part_that_a_stored_array_lacks_is_named(tmp_path: Path) -> None:
    matrix = scipy.sparse.csc_matrix(made_up_arrays()["J_regressor"])
    del matrix.indptr
    path = write_pickle(tmp_path / "flame.pkl", made_up_arrays() | {"J_regressor": matrix})
    assert "'J_regressor' is not a readable array (lacks 'indptr')" in complaint(path)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("template", lambda t: t[:-1], "'shape_basis' has shape [4989, 3, 300], but template has 4988 vertices"),
        ("skinning_weights", lambda t: t[:, :4], "'skinning_weights' has shape [4989, 4], but its metadata has 5 joints"),
        ("faces", lambda t: t + 1, "'faces' names vertices that are not there (there are 4989)"),
        ("template", lambda t: t[:, :2], "'template' has shape [4989, 2], expected [vertices, 3]"),
        ("uv_coords", None, "'uv_faces' names texture places that are not there (there are 0)"),
        ("landmark_points.weights", None, "head model lacks landmark_points.weights"),
        ("joint_regressor", None, "head model lacks joint_regressor (or joint_basis)"),
        ("action_matrix", None, "head model lacks action_matrix or action_rotvecs for the actions it names"),
        ("regions", lambda t: t[:-1], "'regions' has shape [21, 4989], but its metadata has 22 regions"),
    ],
)
def test_a_file_of_ours_whose_parts_do_not_belong_together(tmp_path: Path, name: str, change: Any, words: str) -> None:
    with safe_open(OPEN_HEAD_PATH, "pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    value = tensors.pop(name)
    if change is not None:
        tensors[name] = change(value).contiguous()
    (tmp_path / "head.safetensors").write_bytes(save(tensors, metadata))
    assert words in complaint(tmp_path / "head.safetensors")


@pytest.mark.parametrize("name", ["regions", "actions", "figures", "joints", "source"])
def test_metadata_of_ours_that_are_no_json(tmp_path: Path, name: str) -> None:
    with safe_open(OPEN_HEAD_PATH, "pt") as file:
        metadata, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for broken in ('{"', "7"):
        (tmp_path / "head.safetensors").write_bytes(save(tensors, metadata | {name: broken}))
        assert f"its metadata '{name}' " in complaint(tmp_path / "head.safetensors")


def test_tensors_of_every_layout_and_broken_torch_files(tmp_path: Path) -> None:
    path = tmp_path / "flame.pt"
    for content in (b"", b"PK\x03\x04junk"):
        path.write_bytes(content)
        assert "not a readable file of torch.save with tensors alone (" in complaint(path)
    tensors = {name: torch.as_tensor(v.astype("f8")) for name, v in made_up_arrays().items() if isinstance(v, np.ndarray)}
    torch.save({"state_dict": tensors}, path)
    assert "flame.pt: lacks 'v_template' (it holds state_dict)" in complaint(path)
