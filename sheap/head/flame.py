"""FLAME as a head model, from the files its users download themselves (https://flame.is.tue.mpg.de; its own licence).

The model file is `generic_model.pkl`, `flame2023.pkl` or the same arrays as .npz. Everything else is optional, and
what a file would bring is absent without it: eyelids (no effect), MediaPipe and static landmarks (asking for them
raises), UVs (None), region masks (none). FLAME keeps its own origin; its axes and unit are ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.head.data import HeadData, SurfacePoints
from sheap.head.flame_pickle import read_pickled_arrays

NUM_JOINTS = 5
PARENTS = (0, 1, 1, 1)
"""FLAME's joints after the root: the neck hangs on the root, jaw and eyes on the neck."""

NOW_STATIC_LANDMARKS = (19, 22, 25, 28, 16, 31, 37)
"""The 7 NoW landmarks among FLAME's 51 static ones (iBUG's 68 without the 17 of the jaw line)."""

MASK_PARTS = {
    "face": ("face",), "lips": ("lips",), "nose": ("nose",), "neck": ("neck",), "scalp": ("scalp",),
    "forehead": ("forehead",), "ears": ("left_ear", "right_ear"), "eyeballs": ("left_eyeball", "right_eyeball"),
    "eyeball_left": ("left_eyeball",), "eyeball_right": ("right_eyeball",),
    "eyes": ("eye_region", "left_eyeball", "right_eyeball"),
}  # fmt: skip
"""Our region names and the entries of FLAME_masks.pkl they are made of."""


def read_flame(
    path: Path,
    *,
    num_shape: int = 300,
    eyelids: tuple[Path, Path] | None = None,
    mediapipe_embedding: Path | None = None,
    static_embedding: Path | None = None,
    uv_template: Path | None = None,
    masks: Path | None = None,
) -> HeadData:
    """FLAME's data in our terms.

    eyelids: .npy files [N, 3] of the left and the right lid's way from open to closed (as SMIRK and SHeaP ship them);
    mediapipe_embedding: .npz with lmk_face_idx, lmk_b_coords, landmark_indices; static_embedding: .pkl or .npz with
    lmk_face_idx, lmk_b_coords of the 51 static landmarks (gives NoW's 7); uv_template: the .obj with FLAME's UVs;
    masks: FLAME_masks.pkl. The first `num_shape` of the file's shape directions are identity, the rest expression.

    Raises ValueError naming file and field for anything that is not FLAME's, OSError for unreadable files.
    """
    arrays = _read_arrays(path)
    template = _array(arrays, "v_template", path, (None, 3))
    count = len(template)
    directions = _array(arrays, "shapedirs", path, (count, 3, None))
    if directions.shape[2] <= num_shape:
        raise ValueError(f"{path}: shapedirs has {directions.shape[2]} directions, expected more than {num_shape}")
    faces = _indices(arrays, "f", path, count)
    parents = _array(arrays, "kintree_table", path, (2, NUM_JOINTS))[0, 1:]
    if tuple(parents.astype(np.int64)) != PARENTS:
        raise ValueError(f"{path}: kintree_table does not describe FLAME's root, neck, jaw and two eyes")
    pose_basis = _array(arrays, "posedirs", path, (count, 3, 9 * (NUM_JOINTS - 1)))

    uv_coords, uv_faces = (None, None) if uv_template is None else _read_uvs(uv_template, faces)
    return HeadData(
        template=_float(template),
        faces=torch.as_tensor(faces),
        uv_coords=uv_coords,
        uv_faces=uv_faces,
        shape_basis=_float(directions[:, :, :num_shape]),
        expression_basis=_float(directions[:, :, num_shape:]),
        eyelid_basis=torch.zeros(count, 3, 2) if eyelids is None else _read_eyelids(eyelids, count),
        joint_regressor=_float(_array(arrays, "J_regressor", path, (NUM_JOINTS, count))),
        skinning_weights=_float(_array(arrays, "weights", path, (count, NUM_JOINTS))),
        now_points=None if static_embedding is None else _read_now_points(static_embedding, len(faces)),
        landmark_points=None if mediapipe_embedding is None else _read_mediapipe(mediapipe_embedding, len(faces)),
        pose_basis=_float(pose_basis),
        regions={} if masks is None else _read_masks(masks, count),
    )


def _read_arrays(path: Path) -> dict[str, Any]:
    """Arrays by name from a pickle or an .npz."""
    if path.suffix != ".npz":
        return read_pickled_arrays(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except OSError:
        raise
    except Exception as error:  # zip, header and dtype problems each raise their own kind
        raise ValueError(f"{path}: not a readable .npz file of plain arrays ({error})") from None


def _array(arrays: dict[str, Any], name: str, path: Path, shape: tuple[int | None, ...]) -> NDArray[np.float64]:
    """One numeric array of the given shape (None: any size)."""
    if name not in arrays:
        raise ValueError(f"{path}: lacks '{name}'")
    try:
        value = np.asarray(arrays[name], dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{path}: '{name}' is not an array of numbers") from None
    if value.ndim != len(shape) or any(want is not None and want != got for want, got in zip(shape, value.shape)):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{path}: '{name}' has shape {list(value.shape)}, expected [{wanted}]")
    if not np.isfinite(value).all():
        raise ValueError(f"{path}: '{name}' holds values that are not finite")
    return value


def _indices(arrays: dict[str, Any], name: str, path: Path, limit: int, width: int | None = 3) -> NDArray[np.int64]:
    """Whole numbers in [0, limit), shape [any, width] or [any]."""
    value = _array(arrays, name, path, (None,) if width is None else (None, width))
    if not (value == value.round()).all() or value.min(initial=0) < 0 or value.max(initial=0) >= limit:
        raise ValueError(f"{path}: '{name}' holds indices outside 0..{limit - 1}")
    return value.astype(np.int64)


def _float(value: NDArray[np.float64]) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32)


def _read_eyelids(paths: tuple[Path, Path], count: int) -> Tensor:
    lids = []
    for path in paths:
        try:
            value = np.load(path, allow_pickle=False)
        except ValueError as error:
            raise ValueError(f"{path}: not a readable .npy file of plain numbers ({error})") from None
        lids.append(_array({"eyelid": value}, "eyelid", path, (count, 3)))
    return _float(np.stack(lids, axis=-1))


def _read_now_points(path: Path, num_faces: int) -> SurfacePoints:
    arrays = _read_arrays(path)
    faces = _indices(arrays, "lmk_face_idx", path, num_faces, width=None)
    barycentrics = _array(arrays, "lmk_b_coords", path, (len(faces), 3))
    if len(faces) != 51:
        raise ValueError(f"{path}: 'lmk_face_idx' has {len(faces)} landmarks, expected FLAME's 51 static ones")
    chosen = list(NOW_STATIC_LANDMARKS)
    return SurfacePoints(torch.as_tensor(faces[chosen]), _float(barycentrics[chosen]), torch.ones(len(chosen)))


def _read_mediapipe(path: Path, num_faces: int) -> SurfacePoints:
    """All 478 landmarks; those the embedding does not name have weight 0 and stand at the first face's first corner."""
    arrays = _read_arrays(path)
    faces = _indices(arrays, "lmk_face_idx", path, num_faces, width=None)
    barycentrics = _array(arrays, "lmk_b_coords", path, (len(faces), 3))
    landmarks = _indices(arrays, "landmark_indices", path, 478, width=None)
    if len(landmarks) != len(faces):
        raise ValueError(f"{path}: 'landmark_indices' and 'lmk_face_idx' differ in length")
    all_faces = torch.zeros(478, dtype=torch.int64)
    all_barycentrics = torch.tensor([1.0, 0.0, 0.0]).repeat(478, 1)
    weights = torch.zeros(478)
    all_faces[landmarks], all_barycentrics[landmarks] = torch.as_tensor(faces), _float(barycentrics)
    weights[landmarks] = 1.0
    return SurfacePoints(all_faces, all_barycentrics, weights)


def _read_masks(path: Path, count: int) -> dict[str, Tensor]:
    arrays = read_pickled_arrays(path)
    regions = {}
    for region, parts in MASK_PARTS.items():
        mask = torch.zeros(count, dtype=torch.bool)
        for part in parts:
            mask[_indices(arrays, part, path, count, width=None)] = True
        regions[region] = mask
    regions["skin"] = ~regions["eyeballs"]
    return regions


def _read_uvs(path: Path, faces: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """UVs of an .obj whose faces are the model's, in the model's order."""
    coords, vertex_ids, uv_ids = [], [], []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        words = line.split()
        try:
            if words[:1] == ["vt"]:
                coords.append([float(word) for word in words[1:3]])
            elif words[:1] == ["f"]:
                corners = [word.split("/") for word in words[1:]]
                vertex_ids.append([int(corner[0]) - 1 for corner in corners])
                uv_ids.append([int(corner[1]) - 1 for corner in corners])
        except (ValueError, IndexError):
            raise ValueError(f"{path} line {number}: expected numbers, and faces as v/vt") from None
    if vertex_ids != faces.tolist():
        raise ValueError(f"{path}: its faces are not the model's")
    table = _array({"vt": coords}, "vt", path, (None, 2))
    return _float(table), torch.as_tensor(_indices({"vt of faces": uv_ids}, "vt of faces", path, len(table)))
