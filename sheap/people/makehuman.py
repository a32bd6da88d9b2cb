"""Optional looks from a folder of MakeHuman's CC0 assets: skins, hair, brows, lashes and eyes made for the base mesh
hm08.

Folder layout (as in MakeHuman's community packs): skins/*.jpg, hair/NAME/NAME.{mhclo,obj,_diffuse.png},
eyebrows/ and eyelashes/NAME/NAME.{mhclo,obj,png}, eyes/materials/*_eye.png. A .mhclo binds each vertex to three
vertices of the base mesh with weights and an offset, so hair fits every identity. Nothing here is needed: the
package has looks of its own, made from such a folder (pipeline.commands.looks).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.head.model import HeadModel
from sheap.people.hair_model import BoundMesh
from sheap.people.studio import shared_studio
from sheap.people.traits import Traits

Array = NDArray[np.float32]

_EYE_CENTRE, _EYE_IRIS = (0.7065, 0.297), 0.115
"""Where the upper right eye of an eye texture lies (shares of its side), and the radius of its iris."""

_HAIR_FOR = {
    "short": ("short01", "short02", "short03", "short04"),
    "quiff": ("short02", "short04"),
    "fringe": ("short01", "short03"),
    "medium": ("bob02",),
    "long": ("long01", "ponytail01", "braid01"),
    "tied": ("ponytail01", "braid01"),
}
"""Which assets suit a style; other styles are the package's."""


@dataclass(frozen=True)
class AssetLooks:
    """What one person takes from the folder; None: the package's. skin: whole-body picture; iris: picture of an iris
    alone."""

    skin: NDArray[np.uint8] | None
    iris: NDArray[np.uint8] | None
    hair: BoundMesh | None
    brows: BoundMesh | None
    lashes: BoundMesh | None
    names: dict[str, str]


class MakeHumanAssets:
    """A folder of assets, read as needed.

    base_vertex_ids [N + M]: the head's vertices, then its loose points, in the base mesh. Raises ValueError when the
    folder holds none of the kinds.
    """

    def __init__(self, folder: Path, base_vertex_ids: NDArray[np.int64]) -> None:
        self.folder = folder
        self._local = {int(base): local for local, base in enumerate(base_vertex_ids)}
        self._meshes: dict[Path, BoundMesh] = {}
        if not folder.is_dir():
            raise ValueError(f"assets: {folder} is not a folder")
        if not (self.skins or self.hair or self.brows or self.irises):
            raise ValueError(f"assets: {folder} holds no skins/, hair/, eyebrows/ or eyes/ as MakeHuman packs do")

    @classmethod
    def for_head(cls, folder: Path, head: HeadModel) -> MakeHumanAssets:
        """The assets of a folder for a head model made from the base mesh."""
        assert head.base_vertex_ids is not None, "the open head knows its base mesh"
        return cls(folder, np.concatenate([head.base_vertex_ids.numpy(), head.attachment_base_ids.numpy()]))

    @cached_property
    def skins(self) -> list[Path]:
        return sorted((self.folder / "skins").glob("*.jpg"))

    @cached_property
    def irises(self) -> list[Path]:
        return sorted((self.folder / "eyes/materials").glob("*_eye.png"))

    @cached_property
    def hair(self) -> list[Path]:
        return sorted((self.folder / "hair").glob("*/*.mhclo"))

    @cached_property
    def lashes(self) -> list[Path]:
        return sorted((self.folder / "eyelashes").glob("*/*.mhclo"))

    @cached_property
    def brows(self) -> list[Path]:
        return sorted((self.folder / "eyebrows").glob("*/*.mhclo"))

    def choose(self, traits: Traits, rng: np.random.Generator) -> AssetLooks:
        """Looks that go with a person's traits; some people keep the package's own in part, for variety."""
        names: dict[str, str] = {}

        def pick(kind: str, paths: list[Path], share: float) -> Path | None:
            if not paths or rng.random() > share:
                return None
            path = paths[rng.integers(len(paths))]
            names[kind] = path.stem
            return path

        dark = [path for path in self.skins if "african" in path.stem]
        light = [path for path in self.skins if "african" not in path.stem]
        skin = pick("skin", dark if traits.melanin > 0.55 else light, 0.7)
        brown = [path for path in self.irises if "brown" in path.stem]
        iris = pick("iris", brown if traits.melanin > 0.45 else self.irises, 0.5)
        fitting = [path for path in self.hair if path.stem in _HAIR_FOR.get(traits.hair_style, ())]
        hair = pick("hair", fitting, 0.7)
        brows = pick("brows", self.brows, 0.6)
        lashes = pick("lashes", self.lashes, 0.6)
        return AssetLooks(
            skin=None if skin is None else read_image(skin)[..., :3],
            iris=None if iris is None else _iris_only(read_image(iris)),
            hair=None if hair is None else self.mesh(hair),
            brows=None if brows is None else self.mesh(brows),
            lashes=None if lashes is None else self.mesh(lashes),
            names=names,
        )

    def mesh(self, path: Path) -> BoundMesh:
        if path not in self._meshes:
            mesh = _read_bound_mesh(path, self._local)
            self._meshes[path] = replace(mesh, texture=grey_texture(mesh.texture))
        return self._meshes[path]


@cache
def shared_assets(folder: str) -> MakeHumanAssets | None:
    """The assets of a folder for the open head, read at most once a process; None for an empty name."""
    if not folder:
        return None
    return MakeHumanAssets.for_head(Path(folder), shared_studio().head)


def _read_bound_mesh(path: Path, local: dict[int, int]) -> BoundMesh:
    """A .mhclo with its .obj and texture. Raises ValueError naming the file when it does not fit the head."""
    scales: dict[str, tuple[int, int, float]] = {}
    rows: list[list[float]] = []
    in_vertices = False
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("x_scale", "y_scale", "z_scale"):
            scales[words[0][0]] = (int(words[1]), int(words[2]), float(words[3]))
        elif words[0] == "verts":
            in_vertices = True
        elif in_vertices and words[0].isdigit():
            exact = len(words) == 1
            rows.append([float(words[0])] * 3 + [1, 0, 0, 0, 0, 0] if exact else [float(word) for word in words[:9]])
    if not rows or set(scales) != {"x", "y", "z"}:
        raise ValueError(f"{path}: not a .mhclo with bindings and scales")
    table = np.array(rows, np.float64)
    try:
        anchors = np.vectorize(local.__getitem__)(table[:, :3].astype(int))
        axes = tuple((local[scales[k][0]], local[scales[k][1]], scales[k][2]) for k in "xyz")
    except KeyError as error:
        raise ValueError(f"{path}: binds to base vertex {error}, which the head does not have") from None
    faces, corner_uv, count = _read_obj_faces(path.with_suffix(".obj"))
    if count != len(rows):
        raise ValueError(f"{path}: binds {len(rows)} vertices, its .obj has {count}")
    pictures = [p for p in (path.with_name(f"{path.stem}_diffuse.png"), path.with_suffix(".png")) if p.exists()]
    if not pictures:
        raise ValueError(f"{path}: no texture beside it")
    return BoundMesh(
        path.stem, anchors, table[:, 3:6].astype(np.float32), table[:, 6:9].astype(np.float32), axes, faces, corner_uv,
        read_image(pictures[0]),
    )  # fmt: skip


def _read_obj_faces(path: Path) -> tuple[NDArray[np.int32], Array, int]:
    """Triangles [F, 3], their UVs [F, 3, 2] from the top left, and the number of vertices of an OBJ of tri- or
    quads."""
    uvs, faces, corners, count = [], [], [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            count += 1
        elif words[0] == "vt":
            uvs.append((float(words[1]), 1 - float(words[2])))
        elif words[0] == "f":
            pairs = [tuple(int(part) - 1 for part in word.split("/")[:2]) for word in words[1:]]
            if any(len(pair) != 2 for pair in pairs):
                raise ValueError(f"{path}: a face without texture coordinates")
            for k in range(1, len(pairs) - 1):
                triangle = (pairs[0], pairs[k], pairs[k + 1])
                faces.append([pair[0] for pair in triangle])
                corners.append([uvs[pair[1]] for pair in triangle])
    return np.array(faces, np.int32), np.array(corners, np.float32), count


def read_image(path: Path) -> NDArray[np.uint8]:
    """uint8 sRGB [H, W, 4]."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3:
        raise ValueError(f"{path}: not a readable colour picture")
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGBA)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)


def _iris_only(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The square around the iris, its rim touching the sides."""
    size = image.shape[0]
    x, y, r = (round(value * size) for value in (*_EYE_CENTRE, _EYE_IRIS))
    return np.ascontiguousarray(image[y - r : y + r, x - r : x + r, :3])


def grey_texture(texture: NDArray[np.uint8], level: float = 0.62) -> NDArray[np.uint8]:
    """A hair texture without its colour, at a mean sRGB level, so that a person's own colour can tint it."""
    grey = texture[..., :3].mean(-1)
    solid = texture[..., 3] > 100
    mean, spread = grey[solid].mean(), max(grey[solid].std(), 1.0)
    even = np.clip(level * 255 + (grey - mean) / spread * 26, 20, 250)
    out = texture.copy()
    out[..., :3] = even[..., None].astype(np.uint8)
    return out
