"""Reading ICT Face Model Light (USC Institute for Creative Technologies, MIT licence): what real heads measure.

Takes the publisher's folder (ICT-FaceKit with `FaceXModel/`, or that folder itself) or a compact `.npz` of the same
arrays. Used to measure and to test; none of its arrays are part of the project.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

NUM_FACE, NUM_SKIN = 9409, 11248
"""The first vertices are the face, then head and neck; what follows lies inside or is an eyeball."""
NUM_MODES = 100
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
    """Raises ValueError naming the file when it is not ICT's model, OSError when it cannot be read."""
    if path.suffix == ".npz":
        with np.load(path) as data:
            if missing := sorted({"mean_cm", "identity_cm", "faces"} - set(data.files)):
                raise ValueError(f"{path}: lacks {', '.join(missing)}; expected ICT Face Model Light's arrays")
            mean, modes, faces = data["mean_cm"], data["identity_cm"].astype(np.float64), data["faces"]
    else:
        folder = path / "FaceXModel" if (path / "FaceXModel").is_dir() else path
        mean, faces = _read_obj(folder / "generic_neutral_mesh.obj")
        shapes = [_read_obj(folder / f"identity{k:03d}.obj")[0] for k in range(NUM_MODES)]
        modes = np.stack(shapes) - mean
    if len(mean) < NUM_SKIN or modes.shape != (NUM_MODES, len(mean), 3):
        raise ValueError(f"{path}: {len(mean)} vertices and {len(modes)} modes; expected ICT Face Model Light")
    faces = faces[(faces < NUM_SKIN).all(axis=1)].astype(np.int64)
    mean = mean[:NUM_SKIN].astype(np.float64) / 100
    return IctSkin(mean, modes[:, :NUM_SKIN] / 100, faces, np.arange(NUM_SKIN) < NUM_FACE)


def _read_obj(path: Path) -> tuple[Array, IntArray]:
    """Vertices and faces of an OBJ file; quads are cut in two."""
    vertices, faces = [], []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if not words:
                continue
            if words[0] == "v":
                vertices.append([float(word) for word in words[1:4]])
            elif words[0] == "f":
                ids = [int(word.split("/")[0]) - 1 for word in words[1:]]
                faces += [(ids[0], ids[k], ids[k + 1]) for k in range(1, len(ids) - 1)]
    return np.array(vertices), np.array(faces, dtype=np.int64)
