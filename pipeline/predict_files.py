"""One picture to files that a person can open: a mesh, the parameters, and the mesh laid over the crop."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import cv2
import torch

from sheap.evaluation.mesh_files import TriangleMesh, write_obj
from sheap.evaluation.pictures import read_picture
from sheap.head import HeadParams
from sheap.predictor import SheapPredictor
from sheap.render.mesh import mesh_normals, rasterize_mesh
from sheap.transfer.arkit import ARKIT_NAMES
from sheap.transfer.parameters import HeadTransfer
from sheap.video.crops import cut_crop

OVERLAY_SIZE = 512


def predict_picture(predictor: SheapPredictor, path: Path, stem: Path) -> None:
    """Writes STEM.obj (posed mesh, metres), STEM.json (parameters, ARKit's weights and the crop) and STEM_overlay.png.

    Raises ValueError naming the picture when it is none or shows no face, OSError when it cannot be read.
    """
    image = read_picture(path)
    try:
        found = predictor.predict_image(image)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    vertices = predictor.mesh(found.params).vertices
    faces = predictor.head.faces
    write_obj(stem.with_name(f"{stem.name}.obj"), TriangleMesh(vertices[0].double().numpy(), faces.numpy()))
    values = {name: value[0].tolist() for name, value in found.params.present().items()}
    weights = predictor.arkit(found.params)[0].tolist()
    # JSON has no NaN: a shape that the head has nothing like is null.
    arkit = {name: None if math.isnan(weight) else round(weight, 5) for name, weight in zip(ARKIT_NAMES, weights, strict=True)}
    crop = dataclasses.asdict(found.crop)
    said = {"params": values, "arkit": arkit, "crop_px": crop}
    stem.with_name(f"{stem.name}.json").write_text(json.dumps(said, indent=1) + "\n")

    fragments = rasterize_mesh(vertices, faces, predictor.camera(OVERLAY_SIZE))
    facing = mesh_normals(vertices, faces, fragments)[0, 0, ..., 2:].abs()
    covered = fragments.mask[0, 0, ..., None].float()
    pixels = torch.from_numpy(cut_crop(image, found.crop, OVERLAY_SIZE)).float() / 255
    overlay = pixels * (1 - 0.6 * covered) + 0.6 * covered * facing
    both = (torch.cat([pixels, overlay], 1).clamp(0, 1) * 255).round().byte().numpy()
    cv2.imwrite(str(stem.with_name(f"{stem.name}_overlay.png")), cv2.cvtColor(both, cv2.COLOR_RGB2BGR))


def transfer_prediction(transfer: HeadTransfer, path: Path, stem: Path) -> None:
    """Writes STEM.json and STEM.obj (metres) of the second head from a STEM.json of the first.

    Raises ValueError naming the file, and the parameter that is not the first head's.
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
    values = {name: value[0].tolist() for name, value in made.present().items()}
    stem.with_name(f"{stem.name}.json").write_text(json.dumps({"params": values}, indent=1) + "\n")
    vertices = transfer.b(made).vertices[0].double().numpy()
    write_obj(stem.with_name(f"{stem.name}.obj"), TriangleMesh(vertices, transfer.b.faces.numpy()))
