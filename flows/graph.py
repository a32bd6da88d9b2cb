"""What the flow needs to know of the DVC graph: the names of its stages, in the order they run."""

from __future__ import annotations

from pathlib import Path

import yaml

from pipeline.run.settings import StageError


def stage_names(project: Path) -> list[str]:
    """The stages of `project`/dvc.yaml; the file lists them in the order they run.

    Raises StageError when there is no such file or it holds no stages.
    """
    path = project / "dvc.yaml"
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(f"{path}: not found; run from the project's root") from None
    except yaml.YAMLError:
        raise StageError(f"{path}: not valid YAML") from None
    stages = document.get("stages") if isinstance(document, dict) else None
    if not isinstance(stages, dict) or not stages:
        raise StageError(f"{path}: holds no stages")
    return list(stages)
