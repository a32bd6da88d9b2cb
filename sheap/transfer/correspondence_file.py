"""Correspondences at rest: found once, kept as safetensors."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from sheap.files import write_bytes
from sheap.transfer.registration import Correspondence

ARRAYS = ("vertex_ids", "face_ids", "barycentrics", "sure", "turn", "shift")


def write_correspondence(found: Correspondence, path: Path) -> None:
    """Writes a file that `read_correspondence` reads. Raises NotWritten."""
    tensors = {name: torch.as_tensor(getattr(found, name)).contiguous() for name in ARRAYS}
    write_bytes(path, save(tensors, metadata={"residual_mm": json.dumps(found.residual_mm)}))


def read_correspondence(path: Path) -> Correspondence:
    """Raises OSError when the file cannot be read."""
    with safe_open(path, framework="pt") as file:
        arrays = {name: file.get_tensor(name).numpy() for name in ARRAYS}
        residual = json.loads(file.metadata()["residual_mm"])
    return Correspondence(**arrays, residual_mm={name: (low, high) for name, (low, high) in residual.items()})
