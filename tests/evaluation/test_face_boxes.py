"""Detected faces come as pickles: they must be read without running what they say."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from sheap.evaluation.face_boxes import FaceBox, read_face_box, write_face_box


def test_round_trip(tmp_path: Path) -> None:
    box = FaceBox(10.5, 20.0, 110.5, 140.0)
    write_face_box(tmp_path / "a.npy", box)
    assert read_face_box(tmp_path / "a.npy") == box
    assert box.center == (60.5, 80.0)
    assert box.size == 110.0
    official = np.load(tmp_path / "a.npy", allow_pickle=True, encoding="latin1").item()
    assert official == {"left": 10.5, "top": 20.0, "right": 110.5, "bottom": 140.0}


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_numpy_numbers_and_old_pickles(tmp_path: Path, protocol: int) -> None:
    content = {"left": np.float32(1), "top": np.int64(2), "right": np.array(30.0), "bottom": 40, "score": 0.9}
    save_pickled(tmp_path / "a.npy", np.array(content, dtype=object), protocol)
    assert read_face_box(tmp_path / "a.npy") == FaceBox(1, 2, 30, 40)


def save_pickled(path: Path, value: object, protocol: int = 2) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    path.write_bytes(file.getvalue() + pickle.dumps(value, protocol))


class Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("wrap", [lambda p: p, lambda p: np.array({"left": p}, dtype=object)])
def test_a_pickle_that_would_run_a_command_is_refused(tmp_path: Path, wrap) -> None:
    save_pickled(tmp_path / "a.npy", wrap(Payload(tmp_path / "ran")))
    with pytest.raises(ValueError, match=r"it asks for (posix|os|nt).system"):
        read_face_box(tmp_path / "a.npy")
    assert not (tmp_path / "ran").exists()


def test_other_files_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "numbers.npy", np.zeros(4))
    save_pickled(tmp_path / "keys.npy", np.array({"left": 1}, dtype=object))
    save_pickled(tmp_path / "empty_box.npy", np.array({"left": 9, "top": 0, "right": 2, "bottom": 5}, dtype=object))
    save_pickled(tmp_path / "nan.npy", np.array({"left": 0, "top": 0, "right": np.nan, "bottom": 5}, dtype=object))
    (tmp_path / "short.npy").write_bytes((tmp_path / "keys.npy").read_bytes()[:-9])
    (tmp_path / "text.npy").write_text("hello")
    for name in ("numbers", "keys", "empty_box", "nan", "short", "text"):
        with pytest.raises(ValueError, match=f"{name}.npy: not a detected face"):
            read_face_box(tmp_path / f"{name}.npy")
    with pytest.raises(FileNotFoundError):
        read_face_box(tmp_path / "absent.npy")
