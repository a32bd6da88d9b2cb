"""What was measured on real people, as the recipe keeps it: mean and covariance in the coefficients of our own fields.

`python -m pipeline.commands.head_model measure ICT` makes the file that lies beside this module; `build` reads it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sheap.files import write_bytes
from sheap.head.recipe.registration import Measured

FORMAT = "sheap-people-1"
PEOPLE_PATH = Path(__file__).with_name("measured_people.safetensors")


def write_measured(measured: Measured, path: Path) -> None:
    """Writes mean [K, 3] and factor [K, 3, 100] in float16, in millimetres."""
    tensors = {name: np.ascontiguousarray(1e3 * getattr(measured, name), np.float16) for name in ("mean", "factor")}
    write_bytes(path, save(tensors, {"format": FORMAT, "figures": json.dumps(measured.figures)}))


def read_measured(path: Path) -> Measured:
    """Raises ValueError naming the file when it holds no statistics of ours, OSError when it cannot be read."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"{path}: not statistics of format '{FORMAT}'; make them with `head_model measure`")
            mean, factor = (file.get_tensor(name).astype(np.float64) / 1e3 for name in ("mean", "factor"))
    except SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from None
    return Measured(mean, factor, json.loads(metadata["figures"]))
