"""How far a face may be rolled before a predictor's answer changes: what `ingest.filter.max_roll_deg` is chosen by.

    python -m experiments.roll_range PICTURES... [--model FOLDER]

The crop of each face is turned about its centre by ever more and predicted; no truth is needed, since a turned picture shows
the same head. Printed: mean distance of the identity's face vertices from those of the picture as it is, mm.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from sheap.evaluation.pictures import read_picture
from sheap.predictor import SheapPredictor
from sheap.video.crops import CropBox, crop_box, cut_crop

ROLLS_DEG = (-90, -60, -45, -35, -30, -25, -20, -15, -10, -5, 0, 5, 10, 15, 20, 25, 30, 35, 45, 60, 90)


def identity_changes(predictor: SheapPredictor, paths: list[Path]) -> dict[int, list[float]]:
    """By roll, one figure for each picture with a face, mm."""
    changes: dict[int, list[float]] = {roll: [] for roll in ROLLS_DEG}
    region = predictor.head.region_masks["face"]
    for path in paths:
        picture = read_picture(path)
        faces = predictor.face_finder.process(picture)
        if not faces:
            continue
        box = crop_box(faces[0].points)
        # a crop that is turned counter-clockwise shows the face rolled clockwise
        boxes = [CropBox(box.center_x, box.center_y, box.side, (box.turn_deg - roll) % 360) for roll in ROLLS_DEG]
        crops = np.stack([cut_crop(picture, turned, predictor.image_size) for turned in boxes])
        params = predictor.predict(torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255)
        neutral = predictor.neutral(params)[:, region]
        away = (neutral - neutral[ROLLS_DEG.index(0)]).norm(dim=-1).mean(-1)
        for roll, value in zip(ROLLS_DEG, away.tolist(), strict=True):
            changes[roll].append(1000 * value)
    return changes


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.roll_range", description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--model", type=Path, help="a model folder; without it the shipped predictor")
    given = parser.parse_args(arguments)
    changes = identity_changes(SheapPredictor.load(given.model), given.pictures)
    if not changes[0]:
        print("no face in these pictures", file=sys.stderr)
        return 2
    print(f"{'roll':>6} {'median':>8} {'90 %':>8}   of {len(changes[0])} faces, mm")
    for roll, values in changes.items():
        print(f"{roll:>6} {np.median(values):>8.2f} {np.quantile(values, 0.9):>8.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
