"""How far are rendered people from photographs? `python -m experiments.photo_gap render FOLDER`, then `... measure`.

`render` writes photographs of rendered people, a subfolder a person. `measure` cuts head crops of one size from real pictures
and videos and from such folders, describes them by what the frozen landmark network computes inside, and teaches a logistic
regression to tell real from rendered, tried on people it has not seen. Half right is chance: the nearer, the smaller the gap.
Beside it stand the distance between the mean descriptors of a face recogniser (with the extra `recogniser`), and what the
classifier goes by: simple measures of the crops' regions, how far they lie apart between real and rendered, and how its score
follows them among the real and among the rendered crops alone.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from experiments.pages import Page
from experiments.recogniser_distance import Pictures, crop, real_people, rendered_people
from sheap.networks.face_descriptor import FaceDescriptor
from sheap.networks.face_mesh import BLOCKS_PER_STAGE, INPUT_SIZE, STAGES, FaceMesh
from sheap.networks.face_mesh_weights import load_face_mesh_weights
from sheap.video.face_landmarker import FaceLandmarker
from sheap.video.face_models import LANDMARKS_MEMBER, find_bundle, read_bundle_member

JPEG_QUALITY = 94
"""As the rendered benchmark's photographs."""
FOLDS = 8
RIDGE = 30.0
"""Weight of the squared coefficients (of standardised features) beside the summed loss of all crops."""
CUES_SHOWN = 12

EYES = ((33, 133, 159, 145), (263, 362, 386, 374))
MOUTH = (61, 291, 0, 17)
"""Landmarks whose boxes, a little larger, are the regions of eyes and mouth."""
BOX_GROWTH = 0.35
EDGE = 0.08
"""Change of luma from one pixel to the next from which on it counts as an edge."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Crops:
    """people [C]: whose crop; features: by name [C, F]; cues: by name [C]; descriptors [C, 128], None without the extra."""

    people: NDArray[np.int64]
    features: dict[str, Array]
    cues: dict[str, Array]
    descriptors: Array | None


def render(folder: Path, people: int, seed: int) -> None:
    """Three photographs of each person."""
    for number, pictures in enumerate(rendered_people(people, seed)):
        place = folder / f"{number:03d}"
        place.mkdir(parents=True, exist_ok=True)
        for view, picture in enumerate(pictures):
            if not cv2.imwrite(str(place / f"{view}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
                raise OSError(f"{place / f'{view}.jpg'}: cannot be written")


def rendered_folder(folder: Path) -> Iterator[Pictures]:
    """What `render` wrote: each person's photographs."""
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield [picture for pictures in real_people(place) for picture in pictures]


class Measurer:
    """Crops of people and everything that is measured of them."""

    def __init__(self) -> None:
        self._landmarker = FaceLandmarker()
        self._mesh = FaceMesh()
        load_face_mesh_weights(self._mesh, read_bundle_member(find_bundle(), LANDMARKS_MEMBER))
        try:
            self._descriptor = FaceDescriptor()
        except ImportError:
            self._descriptor = None

    def __call__(self, people: Iterator[Pictures]) -> Crops:
        """Raises ValueError when no picture shows a face."""
        owners, features, cues, descriptors = [], [], [], []
        for person, pictures in enumerate(people):
            for picture in pictures:
                faces = self._landmarker.process(picture)
                if not faces:
                    continue
                small, points = crop(picture, faces[0].points[:, :2])
                owners.append(person)
                features.append(self._inside(small))
                cues.append(measures(small, points))
                if self._descriptor is not None:
                    descriptors.append(self._descriptor.describe(self._descriptor.chip(small, points)))
        if not owners:
            raise ValueError("no picture shows a face")
        return Crops(
            np.array(owners),
            {name: np.stack([row[name] for row in features]) for name in features[0]},
            {name: np.array([row[name] for row in cues]) for name in cues[0]},
            np.stack(descriptors).astype(np.float64) if descriptors else None,
        )

    @torch.no_grad()
    def _inside(self, small: NDArray[np.uint8]) -> dict[str, Array]:
        """What the network computes of a crop: its last cells [512], and means and spreads of each stage's channels."""
        large = cv2.resize(small, (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_LINEAR)
        cells = torch.from_numpy(large).permute(2, 0, 1)[None].float() / 255
        mesh = self._mesh
        cells = mesh.first_slope(mesh.first(torch.nn.functional.pad(cells, (0, 1, 0, 1))))
        pooled = []
        ends = np.cumsum([BLOCKS_PER_STAGE + (number > 0) for number in range(len(STAGES))]) - 1
        for at, block in enumerate(mesh.blocks):
            cells = block(cells)
            if at in ends:
                pooled += [cells.mean((0, 2, 3)), cells.std((0, 2, 3))]
        return {"form (last cells)": cells.flatten().double().numpy(), "looks (all stages)": torch.cat(pooled).double().numpy()}


def measures(small: NDArray[np.uint8], points: NDArray[np.float32]) -> dict[str, float]:
    """Simple measures of a crop's regions, and how far the mouth is open and the face turned."""
    pixels = small.astype(np.float32) / 255
    luma = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    saturation = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[..., 1]
    laplacian = cv2.Laplacian(luma, cv2.CV_32F)
    # Immerkaer's mask: blind to edges and slopes, so that noise is left.
    grain = cv2.filter2D(luma, -1, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)) / 6
    steps = np.hypot(cv2.Sobel(luma, -1, 1, 0), cv2.Sobel(luma, -1, 0, 1)) / 4
    found = {}
    for name, mask in regions(luma.shape, points).items():
        inside = luma[mask]
        found[f"{name}: brightness"] = float(inside.mean())
        found[f"{name}: contrast"] = float(inside.std())
        found[f"{name}: saturation"] = float(saturation[mask].mean())
        found[f"{name}: sharpness"] = float(laplacian[mask].std() / (inside.std() + 0.02))
        found[f"{name}: noise"] = float(np.median(np.abs(grain[mask])))
        found[f"{name}: edges"] = float((steps[mask] > EDGE).mean())
    width = float(np.linalg.norm(points[61] - points[291])) + 1e-6
    found["mouth open"] = float(np.linalg.norm(points[13] - points[14])) / width
    sides = np.linalg.norm(points[[234, 454]] - points[4], axis=1)
    found["face turned"] = float(abs(np.log((sides[0] + 1e-6) / (sides[1] + 1e-6))))
    return found


def regions(shape: tuple[int, ...], points: NDArray[np.float32]) -> dict[str, NDArray[np.bool_]]:
    """Masks [H, W] of the skin (the landmarks' hull without eyes and mouth), eyes, mouth, and of hair and background around."""
    hull = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.round(points).astype(np.int32)), 1)
    boxes = {"eyes": EYES, "mouth": (MOUTH,)}
    masks = {}
    for name, groups in boxes.items():
        mask = np.zeros(shape, np.uint8)
        for group in groups:
            low, high = points[list(group)].min(0), points[list(group)].max(0)
            margin = BOX_GROWTH * (high - low).max()
            corners = np.round([low - margin, high + margin]).astype(int)
            cv2.rectangle(mask, corners[0].tolist(), corners[1].tolist(), 1, -1)
        masks[name] = mask > 0
    face = hull > 0
    return {"skin": face & ~masks["eyes"] & ~masks["mouth"], **masks, "around": ~face}


def weights_by_person(people: NDArray) -> Array:
    """Weights [C] that sum to one, every person's crops together as much as another's."""
    _, inverse, counts = np.unique(people, return_inverse=True, return_counts=True)
    return 1 / (counts[inverse] * len(counts))


def held_out_scores(features: Array, is_real: NDArray[np.bool_], people: NDArray) -> Array:
    """Score [C] of every crop (above zero: taken for real) from a classifier that saw none of its person's.

    people: numbers that real and rendered crops do not share. Both kinds weigh the same, and so do the people of a kind.
    """
    fold = np.zeros(people.max() + 1, int)
    rng = np.random.default_rng(0)
    for kind in (is_real, ~is_real):
        ids = rng.permutation(np.unique(people[kind]))
        fold[ids] = np.arange(len(ids)) % FOLDS
    scores = np.zeros(len(people))
    for number in range(FOLDS):
        out = fold[people] == number
        if not out.any():
            continue
        weight = np.zeros(len(people))
        for kind in (is_real, ~is_real):
            taught = kind & ~out
            weight[taught] = weights_by_person(people[taught]) / 2 * (~out).sum()
        mean, spread = features[~out].mean(0), features[~out].std(0) + 1e-6
        standard = (features - mean) / spread
        scores[out] = _logistic(standard[~out], np.where(is_real, 1.0, -1.0)[~out], weight[~out], standard[out])
    return scores


def _logistic(taught: Array, signs: Array, weight: Array, tried: Array) -> Array:
    """Logits of `tried` by a ridge logistic regression of `taught` [C, F] on signs [C]."""

    def loss(solution: Array) -> tuple[float, Array]:
        logits = taught @ solution[:-1] + solution[-1]
        wrong = 1 / (1 + np.exp(np.clip(signs * logits, -50, 50)))
        value = (weight * np.logaddexp(0, -signs * logits)).sum() + 0.5 * RIDGE * (solution[:-1] ** 2).sum()
        slope = -weight * signs * wrong
        return float(value), np.append(taught.T @ slope + RIDGE * solution[:-1], slope.sum())

    found = minimize(loss, np.zeros(taught.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return tried @ found.x[:-1] + found.x[-1]


def accuracy(scores: Array, is_real: NDArray[np.bool_], people: NDArray) -> float:
    """Share told rightly: the mean of both kinds', every person counting the same."""
    right = (scores > 0) == is_real
    return float(np.mean([(weights_by_person(people[kind]) * right[kind]).sum() for kind in (is_real, ~is_real)]))


def compare(real: Crops, rendered: Crops) -> dict[str, Any]:
    """Accuracy by features, the recogniser's distance of means, and the cues in the order of what they explain."""
    people = np.concatenate([real.people, rendered.people + real.people.max() + 1])
    is_real = np.arange(len(people)) < len(real.people)
    found: dict[str, Any] = {
        "crops": [len(real.people), len(rendered.people)],
        "people": [len(np.unique(real.people)), len(np.unique(rendered.people))],
        "accuracy": {},
        "cues": {},
    }
    scores: dict[str, Array] = {}
    for name in real.features:
        scores[name] = held_out_scores(np.concatenate([real.features[name], rendered.features[name]]), is_real, people)
        found["accuracy"][name] = accuracy(scores[name], is_real, people)
    # The last features' scores, those of looks, are what the cues are held against.
    own = _within(scores[next(reversed(scores))], is_real)
    for name in real.cues:
        values = np.concatenate([real.cues[name], rendered.cues[name]])
        inner = _within(values, is_real)
        apart = (real.cues[name].mean() - rendered.cues[name].mean()) / (inner.std() + 1e-9)
        follows = float((inner * own).mean() / (inner.std() * own.std() + 1e-12))
        found["cues"][name] = {"apart": float(apart), "follows": follows}
    if real.descriptors is not None and rendered.descriptors is not None:
        found["descriptor_means"] = float(np.linalg.norm(real.descriptors.mean(0) - rendered.descriptors.mean(0)))
    return found


def _within(values: Array, is_real: NDArray[np.bool_]) -> Array:
    """Values less their kind's mean."""
    return values - np.where(is_real, values[is_real].mean(), values[~is_real].mean())


def explains(cue: dict[str, float]) -> float:
    """How much of the classifier's answer a cue may carry: it lies apart, and the score follows it the same way."""
    return cue["apart"] * cue["follows"]


def write_page(record: dict[str, dict[str, Any]], folder: Path | None) -> None:
    """record: what `compare` found, by the name of a folder of renders."""
    page = Page("Rendered people beside photographs", "python -m experiments.photo_gap measure --out docs/results")
    first = next(iter(record.values()))
    page.line(f"Crops told rightly by a classifier that saw none of their people (chance: 50 %); {FOLDS} folds by person.")
    page.table(
        ("renders", "crops (people), real", "rendered", *first["accuracy"], "descriptors' means apart"),
        [
            (
                name,
                *(f"{crops} ({people})" for crops, people in zip(found["crops"], found["people"], strict=True)),
                *(f"{share:.1%}" for share in found["accuracy"].values()),
                f"{found['descriptor_means']:.3f}" if "descriptor_means" in found else "-",
            )
            for name, found in record.items()
        ],
    )
    for name, found in record.items():
        page.line(
            f"What `{name}` is told by. Apart: real less rendered, in spreads. Follows: correlation of the score (looks; high "
            "means real) with it among crops of one kind."
        )
        ordered = sorted(found["cues"].items(), key=lambda item: -explains(item[1]))[:CUES_SHOWN]
        page.table(
            ("cue", "apart", "follows"),
            [(cue, f"{values['apart']:+.2f}", f"{values['follows']:+.2f}") for cue, values in ordered],
        )
    page.finish("photo_gap", record, folder)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.photo_gap", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    rendering = commands.add_parser("render", help="write photographs of rendered people")
    rendering.add_argument("folder", type=Path)
    rendering.add_argument("--people", type=int, default=60)
    rendering.add_argument("--seed", type=int, default=0)
    measuring = commands.add_parser("measure", help="tell real from rendered")
    measuring.add_argument("--real", type=Path, nargs="+", required=True, help="folders of pictures, videos; one person a file")
    measuring.add_argument("--rendered", type=Path, nargs="+", required=True, help="folders that `render` wrote")
    measuring.add_argument("--out", type=Path, help="folder for photo_gap.md and .json")
    arguments = parser.parse_args(argv)
    if arguments.command == "render":
        render(arguments.folder, arguments.people, arguments.seed)
        return 0
    if missing := [str(path) for path in (*arguments.real, *arguments.rendered) if not path.is_dir()]:
        print(f"error: {', '.join(missing)}: no such folder", file=sys.stderr)
        return 1
    measurer = Measurer()
    try:
        real = measurer(itertools.chain.from_iterable(real_people(folder) for folder in arguments.real))
        record = {folder.name: compare(real, measurer(rendered_folder(folder))) for folder in arguments.rendered}
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_page(record, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
