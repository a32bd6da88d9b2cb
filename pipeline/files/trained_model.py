"""What `data/model` says about the files that training was given and prediction needs again."""

from __future__ import annotations

import json
from pathlib import Path

from sheap.bundle import read_bundle_config


def trained_head_model(folder: Path) -> Path | None:
    """The head model file that the model in `folder` was trained with; None for the shipped one.

    Raises ValueError naming the file when `train.json` does not tell, or names a head model that is gone. (That the
    file's content is still the same is checked where it is loaded.)
    """
    if read_bundle_config(folder).head_model.shipped:
        return None
    summary = folder / "train.json"
    try:
        named = json.loads(summary.read_text(encoding="utf-8"))["params"]["weight_files"]["head_model"]
    except FileNotFoundError:
        raise ValueError(f"{summary}: missing; it names the head model that the model was trained with") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{summary}: names no head model ({type(error).__name__}: {error})") from None
    path = Path(named) if named else None
    if path is None or not path.is_file():
        raise ValueError(f"{summary}: the head model that the model was trained with ({named}) is not there any more")
    return path
