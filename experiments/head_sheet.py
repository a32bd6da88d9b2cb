"""Sheets of the head model's people to look at: random ones, its strongest components, and their faces in motion.

    python -m experiments.head_sheet OUT [--head FILE] [--size 200]

writes random.png (24 people), components.png (12 components at minus and plus three standard deviations), traits.png
(each trait at minus and plus two) and motion.png (six people at rest, with closed lids, open jaw and a smile); front
above, side below.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sheap.completion.portraits import orbit_camera, take_portrait
from sheap.head import HeadModel, HeadParams

COLUMNS = 12
VIEWS_DEG = (0.0, 75.0)
JAW_OPEN_RAD = 0.3


def main(
    out: Annotated[Path, typer.Argument(help="folder for the pictures")],
    head: Annotated[Path | None, typer.Option(help="a head model file (default: the shipped one)")] = None,
    size: Annotated[int, typer.Option(help="pixels a head")] = 200,
    seed: Annotated[int, typer.Option(help="of the random people")] = 0,
) -> None:
    """Draws the sheets."""
    model = HeadModel.load(head)
    out.mkdir(parents=True, exist_ok=True)
    people = torch.randn(24, model.num_shape, generator=torch.Generator().manual_seed(seed))
    save(out / "random.png", model, [_rest(model, shape) for shape in people], size)
    units = torch.eye(model.num_shape)[:COLUMNS]
    ends = [sign * 3.0 * unit for unit in units for sign in (-1, 1)]
    save(out / "components.png", model, [_rest(model, shape) for shape in ends], size)
    if model.trait_names and model.trait_directions is not None:
        ends = [sign * 2.0 * direction for direction in model.trait_directions for sign in (-1, 1)]
        save(out / "traits.png", model, [_rest(model, shape) for shape in ends], size)
    if model.action_matrix is None:
        raise typer.BadParameter("the head model has no named actions, so no smile can be drawn")
    moved = []
    for shape in people[:6]:
        rest = _rest(model, shape)
        smile = [model.action_names.index(f"mouthSmile{side}") for side in ("Left", "Right")]
        moved += [
            rest,
            rest.replace(eyelids=torch.ones(2)),
            rest.replace(jaw_rotvec=torch.tensor([JAW_OPEN_RAD, 0.0, 0.0])),
            rest.replace(expression=model.action_matrix[smile].sum(0)),
        ]
    save(out / "motion.png", model, moved, size)


def save(path: Path, model: HeadModel, people: list[HeadParams], size: int) -> None:
    """A picture of the people in rows of COLUMNS, each from all of VIEWS_DEG."""
    rows = [people[start : start + COLUMNS] for start in range(0, len(people), COLUMNS)]
    tiles = [[_portrait(model, model(person).vertices, size) for person in row] for row in rows]
    width = max(sum(tile.shape[1] for tile in row) for row in tiles)
    strips = [np.concatenate(row, axis=1) for row in tiles]
    strips = [np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0))) for strip in strips]
    Image.fromarray(np.concatenate(strips)).save(path)


def _rest(model: HeadModel, shape: Tensor) -> HeadParams:
    return HeadParams.zeros(model).replace(shape=shape)


def _portrait(model: HeadModel, vertices: Tensor, size: int) -> NDArray[np.uint8]:
    return np.concatenate([take_portrait(model, vertices, orbit_camera(yaw, 0, size)).image for yaw in VIEWS_DEG])


if __name__ == "__main__":
    typer.run(main)
