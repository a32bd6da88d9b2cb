"""How different are rendered people to a face recogniser? `python -m experiments.recogniser_distance`.

Three photographs of 256 px each of many rendered people (one frontal, two a little turned and smiling, each in its own place
and light), and frames of real videos and pictures where a folder of them is named, go through dlib's face descriptor. Printed:
the distances between photographs of one person and between the frontal photographs of two, the share of such pairs which the
recogniser takes for one person (below 0.6), the same share of any photographs of two people, and how far the mean descriptors of
rendered and real faces lie apart. The same for crops of 112 px that the face fills, as a predictor is trained on. With several
--seeds each draws its own people; figures are their means, and one table shows each. Needs the extra `recogniser`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from experiments.pages import Page
from sheap.evaluation.pictures import read_picture
from sheap.networks.face_descriptor import SAME_PERSON, FaceDescriptor
from sheap.people.cast import cast_member
from sheap.people.photo_session import photograph_person
from sheap.people.studio import shared_studio
from sheap.video.face_landmarker import FaceLandmarker

PHOTO_SIZE, CROP_SIZE = 256, 112
COUNTS = {"multiview_neutral": 1, "selfie": 2, "multiview_expressions": 0, "multiview_occlusions": 0}
"""Photographs of a rendered person, the frontal one first."""
FRAMES_PER_VIDEO = 3
CROP_MARGIN = 1.6
"""Side of a crop over the longer side of the face's landmarks."""
LARGEST_REAL = 480
"""Real pictures are made this large at most (px), so that the face fills about as much as in the rendered ones."""

Pictures = list[NDArray[np.uint8]]
Descriptors = list[NDArray[np.float32]]


def rendered_people(count: int, seed: int) -> Iterator[Pictures]:
    """Each person's photographs."""
    studio = shared_studio()
    for index in range(count):
        member = cast_member(seed, "benchmark", index, studio.head)
        yield [photo.picture for photo in photograph_person(studio, member, COUNTS, (PHOTO_SIZE, PHOTO_SIZE))]


def real_people(folder: Path) -> Iterator[Pictures]:
    """Pictures of each file of a folder: some frames of a video, or one picture."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in (".jpg", ".png"):
            try:
                yield [_smaller(read_picture(path)[..., ::-1])]
            except ValueError:
                yield []
        elif path.suffix.lower() == ".mp4":
            video = cv2.VideoCapture(str(path))
            total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
            frames = []
            for at in np.linspace(0, total - 1, FRAMES_PER_VIDEO + 2)[1:-1].astype(int):
                video.set(cv2.CAP_PROP_POS_FRAMES, int(at))
                read, image = video.read()
                if read:
                    frames.append(_smaller(image))
            yield frames


def _smaller(bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = min(1.0, LARGEST_REAL / max(bgr.shape[:2]))
    small = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)


class Describer:
    """Descriptors of pictures whose face is found."""

    def __init__(self) -> None:
        self._landmarker, self._descriptor = FaceLandmarker(), FaceDescriptor()

    def __call__(self, people: Iterator[Pictures]) -> tuple[Descriptors, Descriptors]:
        """Descriptors [P, 128] by person, of whole pictures and of small crops.

        People whose first picture shows no face are left out.
        """
        whole, small = [], []
        for pictures in people:
            faces = [self._landmarker.process(picture) for picture in pictures]
            if not faces or not faces[0]:
                continue
            pairs = [(picture, seen[0].points[:, :2]) for picture, seen in zip(pictures, faces) if seen]
            whole.append(np.stack([self._describe(*pair) for pair in pairs]))
            small.append(np.stack([self._describe(*crop(*pair)) for pair in pairs]))
        return whole, small

    def _describe(self, picture: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._descriptor.describe(self._descriptor.chip(picture, points))


def crop(picture: NDArray[np.uint8], points: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The face as a training crop shows it, and its landmarks there."""
    low, high = points.min(0), points.max(0)
    scale = CROP_SIZE / (CROP_MARGIN * float((high - low).max()))
    shift = CROP_SIZE / 2 - scale * (low + high) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
    # Averaged first where it shrinks, as a resize by area would.
    soft = cv2.GaussianBlur(picture, None, 0.4 / scale) if scale < 1 else picture
    return cv2.warpAffine(soft, matrix, (CROP_SIZE, CROP_SIZE)), points * scale + shift.astype(np.float32)


def distances(people: list[NDArray[np.float32]]) -> dict[str, float]:
    """Mean distance of one person's pictures, of the first pictures of two people, and the share of those below the limit;
    the same share of all pictures of two people."""
    first = np.stack([rows[0] for rows in people])
    others = np.array([np.linalg.norm(a - b) for a, b in itertools.combinations(first, 2)])
    same = [np.linalg.norm(a - b) for rows in people for a, b in itertools.combinations(rows, 2)]
    every = [np.linalg.norm(one[:, None] - two[None], axis=-1).ravel() for one, two in itertools.combinations(people, 2)]
    return {
        "people": len(people),
        "same_person": float(np.mean(same)) if same else float("nan"),
        "others": float(others.mean()),
        "others_taken_for_one": float((others < SAME_PERSON).mean()),
        "any_taken_for_one": float((np.concatenate(every) < SAME_PERSON).mean()),
    }


def mean_figures(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure; people are counted together."""
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return mean | {"people": sum(row["people"] for row in rows)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.recogniser_distance", description=__doc__)
    parser.add_argument("--people", type=int, default=120, help="rendered people of each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the rendered people, --people of each")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of real pictures and videos, one person a file")
    parser.add_argument("--out", type=Path, help="folder for recogniser_distance.md and .json")
    arguments = parser.parse_args(argv)
    try:
        describe = Describer()
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    photographs, crops = f"rendered, photographs of {PHOTO_SIZE} px", f"rendered, crops of {CROP_SIZE} px"
    described: dict[str, list[Descriptors]] = {photographs: [], crops: []}
    for seed in arguments.seeds:
        for name, people in zip(described, describe(rendered_people(arguments.people, seed)), strict=True):
            described[name].append(people)
    if arguments.real:
        described["real"] = [describe(itertools.chain.from_iterable(real_people(folder) for folder in arguments.real))[0]]
    by_seed = {name: [distances(people) for people in draws] for name, draws in described.items()}
    record = {name: mean_figures(rows) for name, rows in by_seed.items()}
    means = {name: np.concatenate([row for people in draws for row in people]).mean(0) for name, draws in described.items()}
    seeds = " ".join(map(str, arguments.seeds))
    command = f"python -m experiments.recogniser_distance --people {arguments.people} --seeds {seeds} --out docs/results"
    page = Page("Rendered people as a face recogniser sees them", command)
    page.table(
        (
            "pictures", "people", "same person", "others", f"others below {SAME_PERSON}", "in any two pictures",
            "mean to the real ones' mean",
        ),
        [
            (
                name,
                str(row["people"]),
                f"{row['same_person']:.3f}",
                f"{row['others']:.3f}",
                f"{row['others_taken_for_one']:.1%}",
                f"{row['any_taken_for_one']:.1%}",
                f"{np.linalg.norm(means[name] - means['real']):.3f}" if "real" in means else "-",
            )
            for name, row in record.items()
        ],
    )  # fmt: skip
    if len(arguments.seeds) > 1:
        page.table(
            (f"others below {SAME_PERSON}", *(f"seed {seed}" for seed in arguments.seeds), "mean"),
            [
                (name, *(f"{row['others_taken_for_one']:.1%}" for row in rows), f"{record[name]['others_taken_for_one']:.1%}")
                for name, rows in by_seed.items()
                if name != "real"
            ],
        )
    page.finish("recogniser_distance", {"figures": record, "by_seed": by_seed, "seeds": arguments.seeds}, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
