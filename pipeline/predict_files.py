"""One picture to files that a person can open: a mesh, the parameters, and the mesh laid over the crop."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.files.head_files import head_of_run
from sheap.evaluation.mesh_files import TriangleMesh, write_obj
from sheap.files import write_json, write_picture
from sheap.head import HeadModel, HeadParams
from sheap.predictor import ImagePrediction, SheapPredictor
from sheap.render.mesh import mesh_normals, rasterize_mesh
from sheap.transfer.arkit import ARKIT_NAMES
from sheap.transfer.parameters import HeadTransfer
from sheap.video.crops import cut_crop

OVERLAY_SIZE = 512

ENDINGS = (".obj", ".json", "_overlay.png")
NEUTRAL_ENDING = "_neutral.obj"
POSED_NOTE = (
    "The head as it was seen: posed, with its expression, metres, in the camera's space (x right, y up, z towards the viewer; "
    "the camera is at z = 1, looking down -z, vertical field of view 14.2539 degrees, and sees the crop that the .json names)."
)
NEUTRAL_NOTE = "The person at rest: neutral face, no pose, metres, head axes (x the person's left, y up, z out of the face)."



def endings(*, neutral: bool) -> tuple[str, ...]:
    """Of the files that a picture leads to."""
    return (*ENDINGS, NEUTRAL_ENDING) if neutral else ENDINGS


def predict_picture(
    predictor: SheapPredictor, picture: NDArray[np.uint8], stem: Path, *, neutral: bool = False, **meant: Any
) -> ImagePrediction:
    """Writes STEM.obj (POSED_NOTE), STEM.json (parameters, ARKit's weights, head model, crop, verdict) and STEM_overlay.png.

    picture: [H, W, 3] uint8 RGB. neutral: STEM_neutral.obj (NEUTRAL_NOTE), too. meant: which face, as predict_image takes
    it. Raises ValueError when it shows no such face, NotWritten naming the file.
    """
    found = predictor.predict_image(picture, **meant)
    vertices = predictor.mesh(found.params).vertices
    faces = predictor.head.faces
    write_obj(beside(stem, ".obj"), _mesh(vertices, faces), note=_note(POSED_NOTE, predictor.head))
    if neutral:
        note = _note(NEUTRAL_NOTE, predictor.head)
        write_obj(beside(stem, NEUTRAL_ENDING), _mesh(predictor.neutral(found.params), faces), note=note)
    crop = dict(zip(("center_x", "center_y", "side"), found.crop, strict=True))
    written = {
        **found.verdict.to_json(),
        "params": _values(found.params),
        "arkit": _arkit(predictor, found.params),
        "head": _head(predictor.head),
        "crop_px": crop,
        "turned_deg": found.turned_deg,
    }
    write_json(beside(stem, ".json"), written)

    fragments = rasterize_mesh(vertices, faces, predictor.camera(OVERLAY_SIZE))
    facing = mesh_normals(vertices, faces, fragments)[0, 0, ..., 2:].abs()
    covered = fragments.mask[0, 0, ..., None].float()
    pixels = torch.from_numpy(cut_crop(picture, found.crop, OVERLAY_SIZE)).float() / 255
    overlay = pixels * (1 - 0.6 * covered) + 0.6 * covered * facing
    both = (torch.cat([pixels, overlay], 1).clamp(0, 1) * 255).round().byte().numpy()
    write_picture(beside(stem, "_overlay.png"), both)
    return found


def transfer_prediction(transfer: HeadTransfer, path: Path, stem: Path) -> None:
    """Writes STEM.json and STEM.obj (metres) of the second head from a STEM.json of the first.

    Raises ValueError naming the file, and the parameter that is not the first head's; NotWritten.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))["params"]
        wanted = HeadParams.zeros(transfer.a, 1).present()
        if stored.keys() != wanted.keys():
            raise ValueError(f"params are {', '.join(stored)}; this head model has {', '.join(wanted)}")
        for name, zeros in wanted.items():
            if len(stored[name]) != zeros.shape[1]:
                raise ValueError(f"params.{name}: {len(stored[name])} numbers; this head model has {zeros.shape[1]}")
        params = HeadParams.zeros(transfer.a, 1).replace(
            **{name: torch.tensor([values], dtype=torch.float32) for name, values in stored.items()}
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a prediction with the first head model's parameters ({error})") from None
    made = transfer(params)
    write_json(beside(stem, ".json"), {"params": _values(made), "head": _head(transfer.b)})
    write_obj(beside(stem, ".obj"), _mesh(transfer.b(made).vertices, transfer.b.faces), note=_note(POSED_NOTE, transfer.b))


def _head(head: HeadModel) -> dict[str, str] | None:
    found = head_of_run(head)
    return None if found is None else found.model_dump()


def _note(note: str, head: HeadModel) -> str:
    """One line, with the licence of the head model that the mesh is made of."""
    found = head_of_run(head)
    return note if found is None else f"{note} {found.sentence()}"


def beside(stem: Path, ending: str) -> Path:
    """STEM + ENDING, whatever dots are in the stem."""
    return stem.with_name(stem.name + ending)


def _mesh(vertices: Tensor, faces: Tensor) -> TriangleMesh:
    return TriangleMesh(vertices[0].double().numpy(), faces.numpy())


def _values(params: HeadParams) -> dict[str, list[float]]:
    """What the head model has, of the first head."""
    return {name: value[0].tolist() for name, value in params.present().items()}


def _arkit(predictor: SheapPredictor, params: HeadParams) -> dict[str, float | None]:
    """ARKit's weights of the first head. JSON has no NaN: a shape that the head model has nothing like is None."""
    weights = predictor.arkit(params)[0].tolist()
    return {name: None if math.isnan(weight) else round(weight, 5) for name, weight in zip(ARKIT_NAMES, weights, strict=True)}
