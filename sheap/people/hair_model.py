"""Modelled hair that ships with the package: eight CC0 meshes bound to the head, with grey textures for any colour to tint."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from sheap.files import write_bytes

Array = NDArray[np.float32]

FORMAT = "sheap-hair-1"
OPEN_HAIR_PATH = Path(__file__).with_name("open_hair.safetensors")


@dataclass(frozen=True)
class BoundMesh:
    """A mesh bound to the head. anchors [N, 3]: the head's vertices and, counted on, its loose points; weights [N,
    3]; offsets [N, 3] in units of `scales`: three (head vertex, head vertex, divisor) by axis x, y, z; faces [F, 3];
    corner_uv [F, 3, 2]; texture [H, W, 4] sRGB."""

    name: str
    anchors: NDArray[np.int64]
    weights: Array
    offsets: Array
    scales: tuple[tuple[int, int, float], ...]
    faces: NDArray[np.int32]
    corner_uv: Array
    texture: NDArray[np.uint8]

    def fitted(self, vertices: Array) -> tuple[Array, Array]:
        """Positions [N, 3] on an identity's vertices and loose points [V + M, 3], and the anchors' weighted means."""
        base = (vertices[self.anchors] * self.weights[..., None]).sum(1)
        scale = [abs(vertices[a, k] - vertices[b, k]) / d for k, (a, b, d) in enumerate(self.scales)]
        return (base + self.offsets * np.array(scale, np.float32)).astype(np.float32), base.astype(np.float32)

    def mirrored(self, mirror: NDArray[np.int64]) -> BoundMesh:
        """The mesh for the other side. mirror [V + M]: which vertex or loose point lies opposite each."""
        return replace(
            self, anchors=mirror[self.anchors], offsets=self.offsets * np.array([-1, 1, 1], np.float32),
            faces=self.faces[:, ::-1], corner_uv=self.corner_uv[:, ::-1],
        )  # fmt: skip


def write_hair(meshes: list[BoundMesh], path: Path) -> None:
    """Textures are kept as lightness and alpha: a person's own colour tints them."""
    tensors, entries = {}, {}
    for mesh in meshes:
        entries[mesh.name] = [list(scale) for scale in mesh.scales]
        tensors |= {
            f"{mesh.name}.anchors": mesh.anchors.astype(np.int16),
            f"{mesh.name}.weights": mesh.weights.astype(np.float16),
            f"{mesh.name}.offsets": mesh.offsets.astype(np.float16),
            f"{mesh.name}.faces": mesh.faces.astype(np.int16),
            f"{mesh.name}.corner_uv": np.round(np.clip(mesh.corner_uv, 0, 1) * 65535).astype(np.uint16),
            f"{mesh.name}.texture": np.ascontiguousarray(mesh.texture[..., [0, 3]]),
        }
    write_bytes(path, save(tensors, {"format": FORMAT, "scales": json.dumps(entries)}))


def read_hair(path: Path) -> dict[str, BoundMesh]:
    """The file's meshes by name. Raises ValueError naming the file when it is no file of hair."""
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path}: not a file of hair (format {FORMAT})")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise ValueError(f"{path}: {error}") from None
    meshes = {}
    for name, scales in json.loads(metadata["scales"]).items():
        light, alpha = np.moveaxis(tensors[f"{name}.texture"], -1, 0)
        weights = tensors[f"{name}.weights"].astype(np.float32)
        meshes[name] = BoundMesh(
            name, tensors[f"{name}.anchors"].astype(np.int64), weights, tensors[f"{name}.offsets"].astype(np.float32),
            tuple((int(a), int(b), float(d)) for a, b, d in scales), tensors[f"{name}.faces"].astype(np.int32),
            tensors[f"{name}.corner_uv"].astype(np.float32) / 65535, np.stack([light, light, light, alpha], -1),
        )  # fmt: skip
    return meshes


@cache
def open_hair() -> dict[str, BoundMesh]:
    """The package's hair, read once a process."""
    return read_hair(OPEN_HAIR_PATH)
