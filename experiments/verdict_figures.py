"""Where the thresholds of sheap.evaluation.verdict lie: `python -m experiments.verdict_figures [--images DIR] [--videos DIR]`.

Prints presence, disagreement and yaw of predictions on real portraits, on frames of real videos, and on rendered people of a seed
that no corpus uses, whose true landmarks tell which detections are wrong; and what share of each the thresholds call doubtful.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.evaluation.pictures import read_picture
from sheap.evaluation.verdict import Verdict, judge_prediction, yaw_of
from sheap.people.cast import cast_member
from sheap.people.landmark_sight import VISIBLE
from sheap.people.photos import PhotoSettings, training_photos
from sheap.people.studio import shared_studio
from sheap.predictor import SheapPredictor
from sheap.video.crops import crop_box, cut_crop
from sheap.video.decoding import VideoReader
from sheap.video.face_landmarker import FaceRoi, roi_from_landmarks

SEED = 77_015
WRONG = 0.2
"""Detected landmarks whose mean distance from the true ones that are seen is more than this, in eye distances, are wrong."""


@dataclass(frozen=True)
class Judged:
    """group: the row; verdict: None where no face was found."""

    group: str
    name: str
    verdict: Verdict | None


def judged(predictor: SheapPredictor, group: str, name: str, picture: NDArray[np.uint8]) -> tuple[Judged, NDArray | None]:
    try:
        found = predictor.predict_image(picture)
    except ValueError:
        return Judged(group, name, None), None
    return Judged(group, name, found.verdict), found.landmarks


def real(predictor: SheapPredictor, images: Path | None, videos: Path | None) -> Iterator[Judged]:
    for path in sorted(images.iterdir()) if images else []:
        picture = read_picture(path)
        result, found = judged(predictor, "real portraits", path.name, picture)
        yield result
        if found is not None:
            yield from elsewhere(predictor, path.name, picture, found)
    for path in sorted(videos.glob("*.mp4")) if videos else []:
        with VideoReader(path) as video:
            for number, frame in enumerate(islice(video.frames(1.0), 6)):
                yield judged(predictor, "real videos", f"{path.name} {number} s", frame.image)[0]


def elsewhere(predictor: SheapPredictor, name: str, picture: NDArray[np.uint8], found: NDArray) -> Iterator[Judged]:
    """The landmark model shown another place than the face, or the face askew: what a wrong find leads to."""
    roi = roi_from_landmarks(found)
    for shift in ((0.35, 0.0), (0.0, 0.35), (-0.6, 0.0), (0.0, -0.6)):
        moved = replace(roi, center_x=roi.center_x + shift[0] * roi.side, center_y=roi.center_y + shift[1] * roi.side)
        yield by_region(predictor, f"region {max(map(abs, shift)):.0%} of its side beside the face", name, picture, moved)
    for turn in (60, 90, 180, 270):
        askew = replace(roi, rotation=roi.rotation + np.radians(turn))
        yield by_region(predictor, f"region askew by {min(turn, 360 - turn)} degrees", name, picture, askew)


def by_region(predictor: SheapPredictor, group: str, name: str, picture: NDArray[np.uint8], roi: FaceRoi) -> Judged:
    face = predictor.face_finder.landmarks(picture, roi)
    try:
        crop = crop_box(face.points)
    except ValueError:
        return Judged(group, name, None)
    pixels = torch.from_numpy(cut_crop(picture, crop, predictor.image_size)).permute(2, 0, 1)[None].float() / 255
    return Judged(group, name, judge_prediction(predictor.head, predictor.predict(pixels), crop, face))


def rendered(predictor: SheapPredictor, people: int, photos: int) -> Iterator[Judged]:
    studio = shared_studio()
    weights = predictor.head.landmark_weights.numpy()
    for index in range(people):
        member = cast_member(SEED, "validation", index, studio.head)
        settings = PhotoSettings(320, margin=0.3, occluded_share=0.3)
        for number, photo in enumerate(training_photos(studio, member, photos, settings)):
            result, found = judged(predictor, "", f"person {index}, photo {number}", photo.picture)
            yaw = true_yaw(photo.params)
            side = "to 30" if yaw < 30 else "30 to 60" if yaw < 60 else "60 and more"
            if found is None:
                yield Judged(f"rendered, yaw {side}", result.name, None)
                continue
            true = photo.landmarks_px
            eyes = np.linalg.norm(found[33] - found[263])
            seen = weights * (photo.landmark_state == VISIBLE)
            error = float(np.linalg.norm(found[:, :2] - true, axis=-1) @ seen / seen.sum() / eyes)
            right = "wrong" if error > WRONG else "right"
            yield Judged(f"rendered, yaw {side}, landmarks {right}", result.name, result.verdict)


def true_yaw(params) -> float:
    return abs(yaw_of(params.map(lambda value: torch.as_tensor(value)[None])))


def table(found: list[Judged]) -> str:
    titles = ("pictures", "number", "no face", "presence, lowest 5 %", "disagreement, median", "highest 5 %", "yaw, highest 5 %")
    lines = ["| " + " | ".join((*titles, "doubtful")) + " |", "|" + "---|" * (len(titles) + 1)]
    for group in dict.fromkeys(item.group for item in found):
        verdicts = [item.verdict for item in found if item.group == group]
        given = [verdict for verdict in verdicts if verdict is not None]
        cells = [group, str(len(verdicts)), str(len(verdicts) - len(given))]
        if given:
            apart = [verdict.disagreement for verdict in given if verdict.disagreement is not None]
            cells += [f"{np.percentile([v.presence for v in given], 5):.3f}", f"{np.median(apart):.3f}"]
            cells += [f"{np.percentile(apart, 95):.3f}", f"{np.percentile([abs(v.yaw_deg) for v in given], 95):.0f}"]
            cells.append(f"{sum(not v.is_sure for v in given)}")
        cells += ["-"] * (len(titles) + 1 - len(cells))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="portraits of real people")
    parser.add_argument("--videos", type=Path, help="videos of real people")
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--photos", type=int, default=4, help="of each")
    parser.add_argument("--each", action="store_true", help="print every picture's figures, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    predictor = SheapPredictor.load()
    found = list(real(predictor, arguments.images, arguments.videos))
    found += rendered(predictor, arguments.people, arguments.photos)
    found.sort(key=lambda item: item.group)
    if arguments.each:
        for item in found:
            print(f"{item.group}: {item.name}: {item.verdict.to_json() if item.verdict else 'no face'}")
    print(table(found))


if __name__ == "__main__":
    sys.exit(main())
