"""One picture to files that a person can open: a mesh, the parameters, and the mesh laid over the crop."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import torch

from sheap.evaluation.mesh_files import TriangleMesh, write_obj
from sheap.evaluation.pictures import read_picture
from sheap.predictor import SheapPredictor
from sheap.render.mesh import mesh_normals, rasterize_mesh
from sheap.video.crops import cut_crop

OVERLAY_SIZE = 512


def predict_picture(predictor: SheapPredictor, path: Path, stem: Path) -> None:
    """Writes STEM.obj (posed mesh, metres), STEM.json (parameters and the crop) and STEM_overlay.png.

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
    crop = dataclasses.asdict(found.crop)
    stem.with_name(f"{stem.name}.json").write_text(json.dumps({"params": values, "crop_px": crop}, indent=1) + "\n")

    fragments = rasterize_mesh(vertices, faces, predictor.camera(OVERLAY_SIZE))
    facing = mesh_normals(vertices, faces, fragments)[0, 0, ..., 2:].abs()
    covered = fragments.mask[0, 0, ..., None].float()
    pixels = torch.from_numpy(cut_crop(image, found.crop, OVERLAY_SIZE)).float() / 255
    overlay = pixels * (1 - 0.6 * covered) + 0.6 * covered * facing
    both = (torch.cat([pixels, overlay], 1).clamp(0, 1) * 255).round().byte().numpy()
    cv2.imwrite(str(stem.with_name(f"{stem.name}_overlay.png")), cv2.cvtColor(both, cv2.COLOR_RGB2BGR))
