"""Reading ICT Face Model Light (USC Institute for Creative Technologies, MIT licence): what real heads measure.

Takes the publisher's folder (ICT-FaceKit with `FaceXModel/`, or that folder itself) or a compact `.npz` of the same
arrays. None of its arrays are part of the project. As a head model of ours: ict_head.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheap.head.array_files import array_of, indices_of, read_arrays
from sheap.head.obj_file import read_obj, read_obj_vertices

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

NUM_FACE, NUM_SKIN = 9409, 11248
"""The first vertices are the face, then head and neck; what follows lies inside or is an eyeball."""
NUM_MODES = 100
NUM_VERTICES = 26719
EYEBALLS = (21451, 23021, 24591)
"""Where the left eyeball begins, the right one, and what follows (shells and lashes before the eyes), by ICT-FaceKit's table."""
NEUTRAL = "generic_neutral_mesh"
EXPRESSIONS = (
    "browDown_L", "browDown_R", "browInnerUp_L", "browInnerUp_R", "browOuterUp_L", "browOuterUp_R", "cheekPuff_L",
    "cheekPuff_R", "cheekSquint_L", "cheekSquint_R", "eyeBlink_L", "eyeBlink_R", "eyeLookDown_L", "eyeLookDown_R",
    "eyeLookIn_L", "eyeLookIn_R", "eyeLookOut_L", "eyeLookOut_R", "eyeLookUp_L", "eyeLookUp_R", "eyeSquint_L",
    "eyeSquint_R", "eyeWide_L", "eyeWide_R", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose",
    "mouthDimple_L", "mouthDimple_R", "mouthFrown_L", "mouthFrown_R", "mouthFunnel", "mouthLeft", "mouthLowerDown_L",
    "mouthLowerDown_R", "mouthPress_L", "mouthPress_R", "mouthPucker", "mouthRight", "mouthRollLower",
    "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmile_L", "mouthSmile_R", "mouthStretch_L",
    "mouthStretch_R", "mouthUpperUp_L", "mouthUpperUp_R", "noseSneer_L", "noseSneer_R",
)  # fmt: skip
"""The expressions that every copy of the model has; newer ones have a few more."""
LANDMARKS_68 = (
    1225, 1888, 1052, 367, 1719, 1722, 2199, 1447, 966, 3661, 4390, 3927, 3924, 2608, 3272, 4088, 3443, 268, 493, 1914,
    2044, 1401, 3615, 4240, 4114, 2734, 2509, 978, 4527, 4942, 4857, 1140, 2075, 1147, 4269, 3360, 1507, 1542, 1537,
    1528, 1518, 1511, 3742, 3751, 3756, 3721, 3725, 3732, 5708, 5695, 2081, 0, 4275, 6200, 6213, 6346, 6461, 5518, 5957,
    5841, 5702, 5711, 5533, 6216, 6207, 6470, 5517, 5966,
)  # fmt: skip
"""Vertices of the 68 landmarks of the Multi-PIE markup (ICT-FaceKit's vertex_indices.json)."""
NOW_IN_68 = (36, 39, 42, 45, 33, 48, 54)


@dataclass(frozen=True)
class IctSkin:
    """mean [V, 3] and modes [100, V, 3] (one standard deviation each) of the outer skin, metres; faces [F, 3];
    is_face [V]."""

    mean: Array
    modes: Array
    faces: IntArray
    is_face: NDArray[np.bool_]

    @property
    def landmarks(self) -> IntArray:
        """Vertices [68]."""
        return np.array(LANDMARKS_68)

    @property
    def now_vertices(self) -> IntArray:
        """NoW's seven landmarks as vertices."""
        return self.landmarks[list(NOW_IN_68)]

    def people(self, coefficients: Array) -> Array:
        """Vertices [..., V, 3] for standard normal coefficients [..., 100]."""
        return self.mean + np.tensordot(coefficients, self.modes, axes=1)


def read_ict(path: Path) -> IctSkin:
    """Raises ValueError naming file and array when it is not ICT's model, OSError when it cannot be read."""
    arrays = read_ict_arrays(path, with_expressions=False)
    faces = arrays.faces[(arrays.faces < NUM_SKIN).all(axis=1)]
    return IctSkin(arrays.mean[:NUM_SKIN], arrays.modes[:, :NUM_SKIN], faces, np.arange(NUM_SKIN) < NUM_FACE)


@dataclass(frozen=True)
class IctArrays:
    """The whole model in metres: mean [N, 3], modes [100, N, 3], faces [F, 3], UVs (or None), expressions [E, N, 3] by name."""

    mean: Array
    modes: Array
    faces: IntArray
    uv_coords: Array | None
    uv_faces: IntArray | None
    expression_names: tuple[str, ...]
    expressions: Array


def ict_files(folder: Path) -> dict[str, Path]:
    """The OBJ files of a FaceXModel folder by what they are: `neutral`, `identity000`..., and expressions by name.

    Raises ValueError naming the first that is missing.
    """
    stems = (*(f"identity{k:03d}" for k in range(NUM_MODES)), *EXPRESSIONS)
    named = {"neutral": folder / f"{NEUTRAL}.obj"} | {stem: folder / f"{stem}.obj" for stem in stems}
    for path in named.values():
        if not path.is_file():
            raise ValueError(f"{path}: missing; ICT-FaceKit's FaceXModel folder holds it")
    others = sorted(path for path in folder.glob("*.obj") if path not in set(named.values()) and _is_expression(path.stem))
    return named | {path.stem: path for path in others}


def read_ict_arrays(path: Path, *, with_expressions: bool = True) -> IctArrays:
    """From the publisher's folder or a compact .npz. Raises as read_ict does."""
    if path.is_dir():
        return _read_folder(path / "FaceXModel" if (path / "FaceXModel").is_dir() else path, with_expressions)
    arrays = read_arrays(path)
    mean = array_of(arrays, "mean_cm", path, (None, 3)) / 100
    modes = array_of(arrays, "identity_cm", path, (NUM_MODES, len(mean), 3), "f4") / 100
    if len(mean) < NUM_SKIN:
        raise ValueError(f"{path}: 'mean_cm' has {len(mean)} vertices; expected ICT Face Model Light's, at least {NUM_SKIN}")
    faces = indices_of(arrays, "faces", path, len(mean))
    names: tuple[str, ...] = ()
    expressions = np.zeros((0, len(mean), 3))
    if with_expressions:
        if "expression_names" not in arrays:
            raise ValueError(f"{path}: lacks 'expression_names'")
        names = tuple(str(name) for name in np.asarray(arrays["expression_names"]).reshape(-1))
        expressions = array_of(arrays, "expression_cm", path, (len(names), len(mean), 3), "f4") / 100
        if missing := [name for name in EXPRESSIONS if name not in names]:
            raise ValueError(f"{path}: 'expression_names' lacks {missing[0]}")
    uv_coords = array_of(arrays, "uv", path, (None, 2)) if "uv" in arrays else None
    uv_faces = None
    if uv_coords is not None:
        uv_faces = indices_of(arrays, "uv_faces", path, len(uv_coords))
        if uv_faces.shape != faces.shape:
            raise ValueError(f"{path}: 'uv_faces' has {len(uv_faces)} faces, 'faces' {len(faces)}")
    return IctArrays(mean, modes, faces, uv_coords, uv_faces, names, expressions)


def _read_folder(folder: Path, with_expressions: bool) -> IctArrays:
    files = ict_files(folder)
    neutral = read_obj(files.pop("neutral"))
    count = len(neutral.vertices)
    if count != NUM_VERTICES:
        raise ValueError(f"{folder / NEUTRAL}.obj: {count} vertices; ICT Face Model Light has {NUM_VERTICES}")

    def offsets(names: list[str]) -> Array:
        moved = np.empty((len(names), count, 3))
        for number, name in enumerate(names):
            vertices = read_obj_vertices(files[name])
            if len(vertices) != count:
                raise ValueError(f"{files[name]}: {len(vertices)} vertices; {NEUTRAL}.obj beside it has {count}")
            moved[number] = (vertices - neutral.vertices) / 100
        return moved

    identities = [f"identity{k:03d}" for k in range(NUM_MODES)]
    names = [name for name in files if name not in identities] if with_expressions else []
    return IctArrays(
        mean=neutral.vertices / 100,
        modes=offsets(identities),
        faces=neutral.faces,
        uv_coords=neutral.uv_coords,
        uv_faces=neutral.uv_faces,
        expression_names=tuple(names),
        expressions=offsets(names),
    )


def _is_expression(stem: str) -> bool:
    return stem.endswith(("_L", "_R")) and not stem.startswith(("identity", NEUTRAL))
