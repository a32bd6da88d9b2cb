"""FLAME as a head model, from the files its users download themselves (https://flame.is.tue.mpg.de; its own licence).

The model file is `generic_model.pkl`, `flame2023.pkl` or the same arrays in another container (array_files.py). Everything
else is optional, and what a file would bring is absent without it: eyelids, MediaPipe and static landmarks, UVs, region masks.
FLAME keeps its own origin; its axes and unit are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.head.array_files import Arrays, array_of, float_tensor, indices_of, read_arrays, read_npy, read_torch
from sheap.head.data import HeadData, SurfacePoints
from sheap.head.obj_file import read_obj
from sheap.head.regions import eyeball_regions

NUM_JOINTS = 5
PARENTS = (0, 1, 1, 1)
"""FLAME's joints after the root: the neck hangs on the root, jaw and eyes on the neck."""

NUM_STATIC = 51
NOW_STATIC_LANDMARKS = (19, 22, 25, 28, 16, 31, 37)
"""The 7 NoW landmarks among FLAME's 51 static ones (iBUG's 68 without the 17 of the jaw line)."""

MASK_PARTS = {
    "face": ("face",), "lips": ("lips",), "nose": ("nose",), "neck": ("neck",), "scalp": ("scalp",),
    "forehead": ("forehead",), "ears": ("left_ear", "right_ear"), "eyeballs": ("left_eyeball", "right_eyeball"),
    "eyeball_left": ("left_eyeball",), "eyeball_right": ("right_eyeball",),
    "eyes": ("eye_region", "left_eyeball", "right_eyeball"),
}  # fmt: skip
"""Our region names and the entries of FLAME_masks.pkl they are made of."""

OTHER_NAMES = {
    "f": ("faces", "faces_tensor"), "kintree_table": ("kintree", "parents"), "weights": ("lbs_weights",),
}  # fmt: skip
"""What SHeaP's copy calls some of the arrays, and smplx's and DECA's modules in their state."""
SPLIT_EXPRESSION = "expr_dirs"
"""smplx's module keeps expression apart from identity under this name."""


@dataclass(frozen=True)
class FlameFiles:
    """A FLAME model and the files that go with it. eyelids: of the left and the right lid, .npy [N, 3] each (as SMIRK ships
    them), or one file of both (SHeaP's eyelids.pt); mediapipe_embedding: .npz with lmk_face_idx, lmk_b_coords, landmark_indices;
    static_embedding: lmk_face_idx and lmk_b_coords of the 51 static landmarks, or DECA's landmark_embedding.npy (gives NoW's 7);
    uv_template: the .obj with FLAME's UVs; masks: FLAME_masks.pkl."""

    model: Path
    eyelids: tuple[Path, ...] = ()
    mediapipe_embedding: Path | None = None
    static_embedding: Path | None = None
    uv_template: Path | None = None
    masks: Path | None = None

    def paths(self) -> list[Path]:
        """All of them."""
        others = (self.mediapipe_embedding, self.static_embedding, self.uv_template, self.masks)
        return [self.model, *self.eyelids, *(path for path in others if path is not None)]


def read_flame(files: FlameFiles | Path, *, num_shape: int = 300) -> HeadData:
    """FLAME's data in our terms. The first `num_shape` of the file's shape directions are identity, the rest expression.

    Raises ValueError naming file and array for anything that is not FLAME's or belongs to another version's mesh, OSError for
    unreadable files.
    """
    files = FlameFiles(files) if isinstance(files, Path) else files
    path, arrays = files.model, read_arrays(files.model)
    for ours, others in OTHER_NAMES.items():
        for theirs in others:
            if ours not in arrays and theirs in arrays:
                arrays[ours] = arrays[theirs]
    template = array_of(arrays, "v_template", path, (None, 3))
    count = len(template)
    identity, expression = _directions(arrays, path, count, num_shape)
    faces = indices_of(arrays, "f", path, count)
    parents = np.asarray(array_of(arrays, "kintree_table", path, np.shape(arrays.get("kintree_table", ())))).reshape(-1)
    if parents.size not in (NUM_JOINTS, 2 * NUM_JOINTS) or tuple(parents[1:NUM_JOINTS].astype(np.int64)) != PARENTS:
        raise ValueError(f"{path}: 'kintree_table' does not describe FLAME's root, neck, jaw and two eyes")
    weights = float_tensor(array_of(arrays, "weights", path, (count, NUM_JOINTS)))
    uv_coords, uv_faces = (None, None) if files.uv_template is None else _read_uvs(files.uv_template, faces)
    regions = eyeball_regions(weights[:, 3], weights[:, 4])
    if files.masks is not None:
        regions = _read_masks(files.masks, count)
    static, mediapipe = files.static_embedding, files.mediapipe_embedding
    return HeadData(
        template=float_tensor(template),
        faces=torch.as_tensor(faces),
        uv_coords=uv_coords,
        uv_faces=uv_faces,
        shape_basis=float_tensor(identity),
        expression_basis=float_tensor(expression),
        eyelid_basis=_read_eyelids(files.eyelids, count) if files.eyelids else None,
        joint_regressor=float_tensor(array_of(arrays, "J_regressor", path, (NUM_JOINTS, count))),
        skinning_weights=weights,
        now_points=None if static is None else _read_now_points(static, len(faces)),
        landmark_points=None if mediapipe is None else _read_mediapipe(mediapipe, len(faces)),
        pose_basis=float_tensor(_pose_directions(arrays, path, count)),
        regions=regions,
    )


def _directions(arrays: Arrays, path: Path, count: int, num_shape: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Identity [N, 3, S] and expression [N, 3, E]: FLAME keeps both in one array, one after the other."""
    directions = array_of(arrays, "shapedirs", path, (count, 3, None))
    if SPLIT_EXPRESSION in arrays:
        return directions, array_of(arrays, SPLIT_EXPRESSION, path, (count, 3, None))
    if directions.shape[2] <= num_shape:
        found = directions.shape[2]
        raise ValueError(
            f"{path}: 'shapedirs' has {found} directions, expected more than {num_shape}: identity, then expression (or that "
            f"apart as '{SPLIT_EXPRESSION}')"
        )
    return directions[:, :, :num_shape], directions[:, :, num_shape:]


def _pose_directions(arrays: Arrays, path: Path, count: int) -> NDArray[np.float64]:
    """[N, 3, 36]; smplx keeps them as [36, 3 N]."""
    size = 9 * (NUM_JOINTS - 1)
    if np.shape(arrays.get("posedirs", ())) == (size, 3 * count):
        return array_of(arrays, "posedirs", path, (size, 3 * count)).T.reshape(count, 3, size)
    return array_of(arrays, "posedirs", path, (count, 3, size))


def _read_eyelids(paths: tuple[Path, ...], count: int) -> Tensor:
    """[N, 3, 2], left and right."""
    if len(paths) == 2:
        lids = [array_of({"eyelid": read_npy(path)}, "eyelid", path, (count, 3)) for path in paths]
        return float_tensor(np.stack(lids, axis=-1))
    (path,) = paths
    found = read_torch(path) if path.suffix.lower() in (".pt", ".pth") else read_npy(path)
    if isinstance(found, dict):
        sides = {str(name).lower().lstrip("_")[0]: value for name, value in found.items()}
        found = [sides.get("l"), sides.get("r")]
    try:
        both = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{path}: 'eyelids' is not an array of numbers") from None
    both = np.moveaxis(both, 0, -1) if both.ndim == 3 and both.shape[0] == 2 else both
    return float_tensor(array_of({"eyelids": both}, "eyelids", path, (count, 3, 2)))


def _read_now_points(path: Path, num_faces: int) -> SurfacePoints:
    arrays = read_arrays(path)
    names = ("lmk_face_idx", "lmk_b_coords")
    if names[0] not in arrays and "static_lmk_faces_idx" in arrays:
        names = ("static_lmk_faces_idx", "static_lmk_bary_coords")
    faces = indices_of(arrays, names[0], path, num_faces, width=None)
    barycentrics = array_of(arrays, names[1], path, (len(faces), 3))
    if len(faces) != NUM_STATIC:
        raise ValueError(f"{path}: '{names[0]}' has {len(faces)} landmarks, expected FLAME's {NUM_STATIC} static ones")
    chosen = list(NOW_STATIC_LANDMARKS)
    return SurfacePoints(torch.as_tensor(faces[chosen]), float_tensor(barycentrics[chosen]), torch.ones(len(chosen)))


def _read_mediapipe(path: Path, num_faces: int) -> SurfacePoints:
    """All 478 landmarks; those the embedding does not name have weight 0 and stand at the first face's first corner."""
    arrays = read_arrays(path)
    faces = indices_of(arrays, "lmk_face_idx", path, num_faces, width=None)
    barycentrics = array_of(arrays, "lmk_b_coords", path, (len(faces), 3))
    landmarks = indices_of(arrays, "landmark_indices", path, 478, width=None)
    if len(landmarks) != len(faces):
        raise ValueError(f"{path}: 'landmark_indices' and 'lmk_face_idx' differ in length")
    all_faces = torch.zeros(478, dtype=torch.int64)
    all_barycentrics = torch.tensor([1.0, 0.0, 0.0]).repeat(478, 1)
    weights = torch.zeros(478)
    all_faces[landmarks], all_barycentrics[landmarks] = torch.as_tensor(faces), float_tensor(barycentrics)
    weights[landmarks] = 1.0
    return SurfacePoints(all_faces, all_barycentrics, weights)


def _read_masks(path: Path, count: int) -> dict[str, Tensor]:
    arrays = read_arrays(path)
    regions = {}
    for region, parts in MASK_PARTS.items():
        mask = torch.zeros(count, dtype=torch.bool)
        for part in parts:
            mask[indices_of(arrays, part, path, count, width=None)] = True
        regions[region] = mask
    regions["skin"] = ~regions["eyeballs"]
    return regions


def _read_uvs(path: Path, faces: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """UVs of an .obj whose faces are the model's, in the model's order."""
    mesh = read_obj(path)
    if mesh.faces.shape != faces.shape or (mesh.faces != faces).any():
        raise ValueError(f"{path}: its faces are not the model's")
    if mesh.uv_coords is None or mesh.uv_faces is None:
        raise ValueError(f"{path}: 'f' lines name no texture places (v/vt)")
    return float_tensor(mesh.uv_coords), torch.as_tensor(mesh.uv_faces)
