"""SHeaP: a self-supervised head geometry predictor learned via 2D Gaussians, with the whole training system."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`sheap.load_predictor` (sheap.predictor) when it is asked for: `import sheap` alone loads no torch, and no room below the
    predictor depends on it."""
    if name == "load_predictor":
        return importlib.import_module("sheap.predictor").load_predictor
    raise AttributeError(f"module 'sheap' has no attribute '{name}'")
