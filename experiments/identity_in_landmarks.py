"""What do detected landmarks tell of a rendered person's identity? `python -m experiments.identity_in_landmarks`.

Reads data/shards and data/people of a default run. From every clip's landmarks, turned and scaled to their mean, a ridge
regression predicts the true shape coefficients of the person it was not shown (leave one out). Printed is the true vertex
error beside the mean head's: a bound on what supervision by these landmarks can teach, since here the truth itself supervises.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.data.reader import ShardReader
from sheap.evaluation.similarity import procrustes
from sheap.evaluation.true_error import true_vertex_errors
from sheap.head import HeadModel

Floats = NDArray[np.float64]

RIDGES = (100.0, 300.0, 1000.0, 3000.0, 10_000.0)
"""Strengths tried; the best one's error is printed, which flatters the landmarks a little."""
ALIGNMENT_ROUNDS = 5


def landmarks_and_shapes(shards: Path, people: Path) -> tuple[list[Floats], Floats]:
    """Landmarks [T, 478, 3] px and true shape coefficients of every rendered training clip.

    Raises FileNotFoundError when no clip has a truth.
    """
    reader = ShardReader(shards)
    landmarks, shapes = [], []
    for number in range(len(reader)):
        truth = people / "truth" / f"{Path(reader.record(number).video).stem}.npz"
        if truth.is_file():
            landmarks.append(reader.landmarks(number).astype(np.float64))
            shapes.append(np.load(truth)["shape"].reshape(-1).astype(np.float64))
    if not shapes:
        raise FileNotFoundError(f"{people}/truth: no truth of any clip in {shards}; run the default corpus first")
    return landmarks, np.stack(shapes)


def forms(clips: list[Floats], frames: int | None) -> Floats:
    """Mean landmarks [C, 478 * 3] of each clip's first `frames`, every frame brought onto the mean of all by a similarity."""
    mean = clips[0][0]
    for _ in range(ALIGNMENT_ROUNDS):
        mean = np.mean([_onto(mean, clip[0]) for clip in clips], axis=0)
    return np.stack([np.mean([_onto(mean, frame) for frame in clip[:frames]], axis=0).ravel() for clip in clips])


def left_out_shapes(features: Floats, shapes: Floats, ridge: float) -> Floats:
    """Shapes [C, S] of each clip as predicted by a ridge regression on all the others."""
    features = (features - features.mean(0)) / features.std(0).mean()
    kernel = features @ features.T
    hat = kernel @ np.linalg.inv(kernel + ridge * np.eye(len(kernel)))
    own = np.diag(hat)[:, None]
    return (hat @ shapes - own * shapes) / (1 - own)


def mean_true_error_mm(head: HeadModel, predicted: Floats, truth: Floats) -> float:
    """Mean over people and face vertices, after a similarity."""
    region = head.region_masks["face"].numpy()
    ours, theirs = (1000 * head.neutral(torch.from_numpy(s).float()).double().numpy() for s in (predicted, truth))
    return float(np.mean([true_vertex_errors(a, b, region).mean() for a, b in zip(ours, theirs, strict=True)]))


def measure(shards: Path, people: Path) -> list[dict[str, float]]:
    """One row for each number of people and of frames."""
    head = HeadModel.load()
    clips, shapes = landmarks_and_shapes(shards, people)
    counts = sorted({count for count in (32, 64, 128) if count < len(clips)} | {len(clips)})
    rows = []
    for count in counts:
        truth = shapes[:count]
        mean_head = mean_true_error_mm(head, np.zeros_like(truth), truth)
        for frames in (1, None):
            features = forms(clips[:count], frames)
            errors = [mean_true_error_mm(head, left_out_shapes(features, truth, ridge), truth) for ridge in RIDGES]
            rows.append(
                {"people": count, "frames": frames or max(map(len, clips)), "error_mm": min(errors), "mean_head_mm": mean_head}
            )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, default=Path("data/shards/train"))
    parser.add_argument("--people", type=Path, default=Path("data/people"))
    parser.add_argument("--json", type=Path, help="also written here")
    arguments = parser.parse_args()
    try:
        rows = measure(arguments.shards, arguments.people)
    except (OSError, ValueError) as error:
        print(f"identity_in_landmarks: error: {error}", file=sys.stderr)
        return 1
    print("| people | frames | error, mm | mean head, mm | ratio |\n|---|---|---|---|---|")
    for row in rows:
        ratio = row["error_mm"] / row["mean_head_mm"]
        print(f"| {row['people']} | {row['frames']} | {row['error_mm']:.3f} | {row['mean_head_mm']:.3f} | {ratio:.3f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def _onto(target: Floats, source: Floats) -> Floats:
    return procrustes(target, source, allow_reflection=False).apply(source)


if __name__ == "__main__":
    sys.exit(main())
