"""What would each further input tell of a person beside the shipped predictor? `python -m experiments.inputs --state FOLDER`.

Held-out rendered people (rendered for this into FOLDER where they are not there), three photos each. A ridge regression learns
what the predictor leaves of the true shape from the predictor's own answer and further inputs: detected landmarks, a face
recogniser's descriptor (extra `recogniser`), and, as a bound, true landmarks. Five folds over people; each fold's strength is
chosen on its own people. What an input takes off the error is what a network that had it could win at least.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.identity_in_landmarks import forms
from experiments.pages import Page
from experiments.rendered_photos import assemble, render_chunk
from experiments.unlabelled_photos import detected
from experiments.unseen_people import face_error
from pipeline.run.stage import STATE_DIR
from sheap.data.reader import ShardReader
from sheap.head import HeadModel
from sheap.losses.shape_metric import face_vertices
from sheap.networks.both_sides import BothSides
from sheap.networks.face_descriptor import FaceDescriptor
from sheap.predictor import SheapPredictor
from sheap.video.face_landmarker import FaceLandmarker

Floats = NDArray[np.float64]

HELD_OUT_FROM = 100
"""The first chunk of validation people that is rendered here: those before are the campaign's own."""
FOLDS = 5
RIDGES = tuple(10.0**k for k in range(1, 7))
OWN = "the predictor's own answer"
LANDMARKS, DESCRIPTOR, TRUE = "detected landmarks", "a recogniser's descriptor", "true landmarks (a bound)"
SETS = ((), (LANDMARKS,), (DESCRIPTOR,), (LANDMARKS, DESCRIPTOR), (TRUE,))
"""Inputs beside the predictor's own answer."""


@dataclass(frozen=True)
class People:
    """P people, V photos each: shapes [P, S] are the true ones; inputs [P, V, ...] by name."""

    shapes: Floats
    predicted: Floats
    inputs: Mapping[str, Floats]


@torch.inference_mode()
def look_at(reader: ShardReader, most: int, network_sides: BothSides) -> People:
    """What every input says of the people in whose photos a face is found."""
    landmarker, descriptor = FaceLandmarker(), FaceDescriptor()
    shapes, predicted = [], []
    clips: dict[str, list[Floats]] = {LANDMARKS: [], TRUE: []}
    described: list[Floats] = []
    for clip in range(min(most, len(reader))):
        images = [reader.image(clip, k) for k in range(reader.num_frames(clip))]
        true = reader.landmarks(clip)
        found = [detected(landmarker, image, points) for image, points in zip(images, true, strict=True)]
        seen = [points for points in found if points is not None]
        truth = reader.frame_truth(clip, 0)
        if len(seen) < len(images) or truth is None:
            continue
        crops = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        predicted.append(network_sides.params(crops).shape.double().numpy())
        shapes.append(truth.shape.double().numpy())
        clips[LANDMARKS].append(np.stack(seen).astype(np.float64))
        clips[TRUE].append(true.astype(np.float64))
        chips = [descriptor.describe(descriptor.chip(image, points)) for image, points in zip(images, seen, strict=True)]
        described.append(np.stack(chips).astype(np.float64))
    views = len(predicted[0])
    inputs = {
        name: forms([photo[None] for photos in of_kind for photo in photos], None).reshape(len(shapes), views, -1)
        for name, of_kind in clips.items()
    }
    return People(np.stack(shapes), np.stack(predicted), inputs | {DESCRIPTOR: np.stack(described)})


def corrected(people: People, names: tuple[str, ...], views: int) -> Floats:
    """Shapes [P, S] as the predictor and these inputs say them, from the first `views` photos, by people who are not measured."""
    parts = [people.predicted, *(people.inputs[name] for name in names)]
    features = np.concatenate([scaled(part[:, :views].mean(1)) for part in parts], 1)
    given = people.predicted[:, :views].mean(1)
    left = people.shapes - given
    out, fold_of = given.copy(), np.arange(len(features)) % FOLDS
    for fold in range(FOLDS):
        mine, theirs = fold_of == fold, fold_of != fold
        kernel = features[theirs] @ features[theirs].T
        # The strength is judged by leaving one out among those who teach.
        best = min(RIDGES, key=lambda ridge: left_out_error(kernel, left[theirs], ridge))
        weights = np.linalg.solve(kernel + best * np.eye(len(kernel)), left[theirs])
        out[mine] += features[mine] @ features[theirs].T @ weights
    return out


def scaled(values: Floats) -> Floats:
    """Columns about their means, with a mean square of one over all: every input counts alike, however many numbers it is."""
    values = values - values.mean(0)
    return values / np.sqrt((values**2).sum(1).mean()) * np.sqrt(100)


def left_out_error(kernel: Floats, wanted: Floats, ridge: float) -> float:
    hat = kernel @ np.linalg.inv(kernel + ridge * np.eye(len(kernel)))
    own = np.diag(hat)[:, None]
    return float((((wanted - hat @ wanted) / (1 - own)) ** 2).mean())


def error(head: HeadModel, found: Floats, true: Floats) -> float:
    """Mean distance of the neutral faces after a similarity, over the mean head's."""
    face = face_vertices(head).numpy()
    ours, theirs = (head.neutral(torch.from_numpy(shapes).float()).numpy()[:, face] for shapes in (found, true))
    mean = head.template.numpy()[face]
    errors = [face_error(a, b) for a, b in zip(ours, theirs, strict=True)]
    return float(np.mean(errors) / np.mean([face_error(mean, b) for b in theirs]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, default=STATE_DIR / "inputs", help="where the people's photos are kept")
    parser.add_argument("--chunks", type=int, default=8, help="of a hundred people")
    parser.add_argument("--model", type=Path, help="a model folder (default: the shipped predictor)")
    parser.add_argument("--out", type=Path, help="a folder for inputs.json and the page")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        FaceDescriptor()
    except ImportError as problem:
        print(f"inputs: error: {problem}", file=sys.stderr)
        return 2
    for role, first, count in (("train", 0, 1), ("validation", HELD_OUT_FROM, arguments.chunks)):
        folder = arguments.state / "photos" / role
        folder.mkdir(parents=True, exist_ok=True)
        for chunk in range(first, first + count):
            if not (folder / f"shard-{chunk:05d}.tar.json").exists():
                render_chunk(folder, role, chunk)
    assemble(arguments.state)
    sides = BothSides.of(SheapPredictor.load(arguments.model).network)
    people = look_at(ShardReader(arguments.state / "shards" / "val"), 100 * arguments.chunks, sides)
    head = sides.network.head
    views = people.predicted.shape[1]
    as_it_is = [error(head, people.predicted[:, :count].mean(1), people.shapes) for count in (1, views)]
    rows = [[OWN, *(f"{value:.3f}" for value in as_it_is)]]
    figures: dict[str, list[float]] = {OWN: as_it_is}
    for names in SETS:
        name = "the same, corrected" if not names else "with " + " and ".join(names)
        figures[name] = [error(head, corrected(people, names, count), people.shapes) for count in (1, views)]
        rows.append([name, *(f"{value:.3f}" for value in figures[name])])
    page = Page("What further inputs would tell", "python -m experiments.inputs --out docs/results")
    page.line(f"{len(people.shapes)} held-out rendered people; mean distance of the neutral face's vertices from the truth")
    page.line("after a similarity, over the mean head's. Corrected: by a ridge regression that was taught by other people.")
    page.table(["", "one photo", f"{views} photos"], rows)
    page.finish("inputs", {"people": len(people.shapes), "errors": figures}, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
