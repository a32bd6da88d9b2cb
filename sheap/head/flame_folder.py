"""Which files of a user's folder are FLAME's: as FLAME's download, SMIRK, DECA or SHeaP leave them."""

from __future__ import annotations

import re
from pathlib import Path

from sheap.head.flame import FlameFiles

MODEL_NAME = re.compile(
    r"(generic_model|flame(20\d\d)?([_-]?open)?([_-]?no[_-]?jaw)?)(\.(?:pkl|npz|pt|pth|pkl\.gz))", re.IGNORECASE
)
CONTAINERS = (".pkl", ".npz", ".pt", ".pth", ".pkl.gz")
"""One model in several containers counts once: the first of these is read."""
DEPTH = 3
"""Folders below the named one that are looked into."""

COMPANIONS = {
    "mediapipe_embedding": ("mediapipe_landmark_embedding.npz",),
    "static_embedding": ("flame_static_embedding.pkl", "flame_static_embedding.npz", "landmark_embedding.npy"),
    "uv_template": ("head_template.obj", "head_template_mesh.obj"),
    "masks": ("flame_masks.pkl",),
}


def find_flame(path: Path) -> FlameFiles | None:
    """FLAME's files in a folder and those below it, or a named model file with what lies beside it; None where there is no model.

    Raises ValueError naming two models when the folder holds more than one.
    """
    if path.is_dir():
        files = files_below(path)
        models = [file for file in files if MODEL_NAME.fullmatch(file.name)]
        if not models:
            return None
        model = _only_model(path, models)
    else:
        model, files = path, sorted(file for file in path.parent.iterdir() if file.is_file())
    by_name: dict[str, Path] = {}
    for file in files:
        by_name.setdefault(file.name.lower(), file)
    found = {role: next((by_name[name] for name in names if name in by_name), None) for role, names in COMPANIONS.items()}
    return FlameFiles(model, eyelids=_eyelids(by_name), **found)


def files_below(folder: Path) -> list[Path]:
    """At most DEPTH folders down, nearest first."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    depths = {file: len(file.relative_to(folder).parts) for file in files}
    return sorted((file for file in files if depths[file] <= DEPTH), key=lambda file: (depths[file], file.as_posix()))


def _only_model(folder: Path, models: list[Path]) -> Path:
    parts = {model: MODEL_NAME.fullmatch(model.name) for model in models}
    named = {model: (match[1].lower(), match[match.lastindex or 0].lower()) for model, match in parts.items() if match}
    if len({stem for stem, _ in named.values()}) > 1:
        names = " and ".join(sorted({model.name for model in models}))
        raise ValueError(f"{folder}: holds more than one FLAME model ({names}); name the file that is meant")
    return min(models, key=lambda model: CONTAINERS.index(named[model][1]))


def _eyelids(by_name: dict[str, Path]) -> tuple[Path, ...]:
    pair = [by_name[name] for name in ("l_eyelid.npy", "r_eyelid.npy") if name in by_name]
    if len(pair) == 1:
        raise ValueError(f"{pair[0]}: the other eyelid's file (l_eyelid.npy, r_eyelid.npy) is missing beside it")
    both = next((by_name[name] for name in ("eyelids.pt", "eyelids.pth") if name in by_name), None)
    return tuple(pair) or (() if both is None else (both,))
