"""What smoothing takes from videos, and what it leaves: jitter, lag, agreement with the detected landmarks, lids and jaw.

    python -m experiments.video_smoothing VIDEO ... [--frames 160]

Of each video the person that is seen longest, every frame, up to so many. `raw`: each frame predicted for itself. `one shape`:
the person's shape in every frame, refitted (sheap.prediction.one_shape). `smoothed`: as `sheap predict` gives it. jitter: second
differences of the projected landmarks over the root of six, in eye distances; calm: its median over the frames (the noise where
little happens); all: its root mean square (fast motion and blinks count). disagreement: mean distance from the detected
landmarks. lag: where the landmarks' velocities and the raw ones agree best, in frames. lids, jaw: range of the left lid, and
of the jaw's turn.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.evaluation.footage import project_landmarks
from sheap.evaluation.video_metrics import eye_distances, jitter, reprojection_errors
from sheap.prediction.one_shape import with_shape
from sheap.prediction.predict import EVERY_FRAME, WHOLE_SIDE, GatheredFaces
from sheap.prediction.rows import FaceRows
from sheap.prediction.steadied import steadied
from sheap.predictor import SheapPredictor
from sheap.video.crops import CropBox
from sheap.video.decoding import VideoReader
from sheap.video.following import followed_frames

Floats = NDArray[np.float64]
MOST_LAG = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=160)
    arguments = parser.parse_args()
    predictor = SheapPredictor.load()
    print("| video | frames | way | jitter, calm | jitter, all | disagreement | lag | lids | jaw, rad |")
    print("|---|---|---|---|---|---|---|---|---|")
    for path in arguments.videos:
        for line in measured(predictor, path, arguments.frames):
            print(line, flush=True)


@torch.inference_mode()
def measured(predictor: SheapPredictor, path: Path, most_frames: int) -> list[str]:
    """Rows of the table for a video."""
    gathered = GatheredFaces.start(predictor)
    landmarks: dict[tuple[int, int], NDArray[np.float32]] = {}
    with VideoReader(path) as video:
        frames = followed_frames(video, predictor.face_finder, fps=EVERY_FRAME, max_side=WHOLE_SIDE)
        for followed in islice(frames, most_frames):
            gathered.add(followed)
            landmarks |= {(followed.frame.number, track): face.points for track, face in followed.faces.items()}
    gathered.flush()
    track = max(gathered.rows, key=lambda number: sum(map(len, gathered.rows[number])))
    raw = FaceRows.concatenate(gathered.rows[track])
    detected = np.stack([landmarks[frame, track][:, :2] for frame in raw.frames.tolist()]).astype(np.float64)
    shape = predictor.shape_from(gathered.evidence[track].values[None])[0]
    one_shape = raw.replace(params=with_shape(gathered.head, raw.params, shape))
    ways = {"raw": raw, "one shape": one_shape, "smoothed": steadied(gathered.head, one_shape)}
    seen = {way: _projected(predictor, rows) for way, rows in ways.items()}
    eyes = float(eye_distances(detected).mean())
    lines = []
    for way, rows in ways.items():
        apart = reprojection_errors(seen[way], detected, predictor.head.landmark_weights.double().numpy()).mean()
        lids, jaw = rows.params.eyelids, rows.params.jaw_rotvec
        assert lids is not None and jaw is not None, "the shipped predictor's head has both"
        turns = jaw.norm(dim=1)
        lines.append(
            f"| {path.name} | {len(rows)} | {way} | {_calm(seen[way]) / eyes:.5f} | {jitter(seen[way]) / eyes:.5f} | {apart:.5f} "
            f"| {_lag(seen['raw'], seen[way]):+.2f} | {float(lids[:, 0].min()):.2f} to {float(lids[:, 0].max()):.2f} "
            f"| {float(turns.min()):.3f} to {float(turns.max()):.3f} |"
        )
    return lines


def _projected(predictor: SheapPredictor, rows: FaceRows) -> Floats:
    return project_landmarks(predictor, rows.params, [CropBox(*crop) for crop in rows.crops.tolist()])


def _calm(points: Floats) -> float:
    bends = points[2:] - 2 * points[1:-1] + points[:-2]
    return float(np.median(np.sqrt((bends**2).mean((1, 2)) / 6)))


def _lag(raw: Floats, found: Floats) -> float:
    """By how many frames `found` comes late: the peak of the velocities' cross-correlation, between frames by a parabola."""
    before, after = np.diff(raw, axis=0), np.diff(found, axis=0)
    inner = slice(MOST_LAG, len(before) - MOST_LAG)
    lags = np.arange(-MOST_LAG, MOST_LAG + 1)
    match = np.array([(before[inner] * np.roll(after, -lag, 0)[inner]).sum() for lag in lags])
    best = int(match[1:-1].argmax()) + 1
    low, mid, high = match[best - 1 : best + 2]
    return float(lags[best] + 0.5 * (low - high) / (low - 2 * mid + high))


if __name__ == "__main__":
    main()
