"""A sheet to look at: each picture's face as the predictor sees it, and the person that it takes it for.

    python -m experiments.portrait_sheet OUT.png PICTURE... [--model FOLDER] [--size 192]

A row a picture: the crop, the posed mesh over it, the network's own points (compact encoder), and the neutral shape from
front, half way and side.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sheap.completion.portraits import orbit_camera, take_portrait
from sheap.predictor import SheapPredictor
from sheap.render.mesh import mesh_normals, rasterize_mesh
from sheap.video.crops import cut_crop

VIEWS_DEG = (0.0, 35.0, 90.0)
OVERLAY = 0.55


def main(
    out: Annotated[Path, typer.Argument(help="the picture to write")],
    pictures: Annotated[list[Path], typer.Argument(help="photographs")],
    model: Annotated[Path | None, typer.Option(help="a model folder (default: the shipped one)")] = None,
    size: Annotated[int, typer.Option(help="pixels a tile")] = 192,
) -> None:
    """Draws the sheet; names pictures without a face."""
    predictor = SheapPredictor.load(model)
    rows = []
    for path in pictures:
        image = np.asarray(Image.open(path).convert("RGB"))
        try:
            rows.append(row(predictor, image, size))
        except ValueError as error:
            print(f"{path}: {error}")
    if not rows:
        raise SystemExit("no face in any of the pictures: nothing to draw")
    Image.fromarray(np.concatenate(rows)).save(out)


@torch.inference_mode()
def row(predictor: SheapPredictor, image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The tiles [size, 6 * size, 3] of a picture, uint8 RGB [H, W, 3]. Raises ValueError where no face is found."""
    found = predictor.predict_image(image)
    crop = cut_crop(image, found.crop, predictor.image_size)
    codes = predictor.network.encode(torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 255)
    photo = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.LANCZOS))
    vertices, cameras = predictor.mesh(found.params).vertices, predictor.camera(size)
    fragments = rasterize_mesh(vertices, predictor.head.faces, cameras)
    normals = mesh_normals(vertices, predictor.head.faces, fragments)[0, 0]
    # Lit from the camera's side: world normals look at it along +z.
    shade = (55 + 200 * normals[..., 2:].clamp(0, 1)).expand(-1, -1, 3).numpy()
    mesh = np.where(fragments.mask[0, 0, ..., None].numpy(), OVERLAY * shade + (1 - OVERLAY) * photo, photo)
    dotted = Image.fromarray(photo)
    if codes.look is not None:
        draw = ImageDraw.Draw(dotted)
        draw.point([tuple(place) for place in (codes.look.fine.places[0, :, :2] * size).tolist()], fill=(0, 255, 0))
    neutral = predictor.head.neutral(found.params.shape)[0]
    views = [take_portrait(predictor.head, neutral, orbit_camera(yaw, 0, size)).image for yaw in VIEWS_DEG]
    return np.concatenate([photo, mesh.astype(np.uint8), np.asarray(dotted), *views], axis=1)


if __name__ == "__main__":
    typer.run(main)
