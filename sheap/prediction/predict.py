"""Pictures and videos to people: every face found, one shape a person, what jitters in a video smoothed."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.evaluation.verdict import Verdict, judge_prediction
from sheap.head import HeadModel, HeadParams
from sheap.head.turning import turned_back
from sheap.prediction.chosen_faces import EVERYBODY, FaceChoice
from sheap.prediction.identities import TrackShape, faces_apart_mm, same_people
from sheap.prediction.one_shape import ShapeEvidence, with_shape
from sheap.prediction.rows import FaceRows, Person, Prediction
from sheap.prediction.steadied import steadied
from sheap.predictor import SheapPredictor
from sheap.video.crops import CropBox, crop_box, cut_crop
from sheap.video.decoding import VideoProblem, VideoReader
from sheap.video.face_region import FaceLandmarks, face_box
from sheap.video.following import FollowedFrame, followed_frames

EVERY_FRAME = 1000.0
"""A rate that no video has."""

WHOLE_SIDE = 1 << 20
"""Longest side of the pictures: they are not shrunk, so that places are in px of the file."""

CROPS_A_PASS = 16

Progress = Callable[[int, int | None], None]
"""Frames done, and of how many, where the file says it."""


def predict_picture(predictor: SheapPredictor, picture: NDArray[np.uint8], face: FaceChoice = EVERYBODY) -> Prediction:
    """The faces of a picture, uint8 RGB [H, W, 3], each a person. Raises ValueError when there is none, or none that is meant."""
    height, width = picture.shape[:2]
    people = []
    for number, found in enumerate(predictor.predict_faces(picture)):
        seen = _Seen(0, 0.0, number, 0, found.crop, FaceLandmarks(found.landmarks, found.verdict.presence))
        turned = torch.tensor([found.turned_deg])
        people.append(Person(number, _rows(found.params.to("cpu"), [seen], [found.verdict], turned), (number,)))
    return Prediction("picture", face.of(people, height, width), width, height)


def predict_video(
    predictor: SheapPredictor,
    path: Path | str,
    *,
    face: FaceChoice = EVERYBODY,
    smooth: bool = True,
    fps: float | None = None,
    progress: Progress = lambda done, total: None,
) -> Prediction:
    """The people of a video file, each followed through its shots.

    fps: frames taken a second, at most; None: all. Memory grows by about 2 KB a face and frame. Raises ValueError when it shows
    no face, VideoProblem when it cannot be decoded; one that breaks off is predicted as far as it goes (`damage`).
    """
    gathered = GatheredFaces.start(predictor)
    with VideoReader(Path(path)) as video:
        for followed in followed_frames(video, predictor.face_finder, fps=fps or EVERY_FRAME, max_side=WHOLE_SIDE):
            gathered.add(followed)
            progress(gathered.num_frames, video.promised_frames if fps is None else None)
        gathered.flush()
        rate, damage = video.rate if fps is None else min(fps, video.rate), video.damage
    if not gathered.rows:
        raise ValueError(
            f"no face found in {gathered.num_frames} frames, by looking at the whole picture and at squares of it; "
            "faces that are lit and seen from the front are found"
        )
    people = [person_of(predictor, gathered, tracks, smooth=smooth) for tracks in _grouped(predictor, gathered)]
    ordered = sorted(people, key=lambda person: -person.area)
    numbered = [Person(number, person.rows, person.tracks) for number, person in enumerate(ordered)]
    height, width = gathered.size
    return Prediction(
        "video",
        face.of(numbered, height, width),
        width,
        height,
        gathered.num_frames,
        gathered.with_face,
        gathered.shots,
        rate,
        damage,
    )


@dataclass(frozen=True)
class _Seen:
    frame: int
    time_s: float
    track: int
    shot: int
    crop: CropBox
    face: FaceLandmarks


@dataclass
class GatheredFaces:
    """What a video has shown so far: rows and evidence of the shape by track, and crops that wait for the network."""

    predictor: SheapPredictor
    head: HeadModel
    """The network's own, on the CPU."""
    rows: dict[int, list[FaceRows]] = field(default_factory=lambda: defaultdict(list))
    evidence: dict[int, ShapeEvidence] = field(default_factory=dict)
    num_frames: int = 0
    with_face: int = 0
    shots: int = 0
    size: tuple[int, int] = (0, 0)
    _waiting: list[_Seen] = field(default_factory=list)
    _crops: list[NDArray[np.uint8]] = field(default_factory=list)

    @classmethod
    def start(cls, predictor: SheapPredictor) -> GatheredFaces:
        """Nothing seen yet."""
        return cls(predictor, on_cpu(predictor.network.head))

    def add(self, followed: FollowedFrame) -> None:
        """The next frame. Raises VideoProblem when it is of another size."""
        image = followed.frame.image
        if self.num_frames and image.shape[:2] != self.size:
            change = f"from {_size(self.size)} to {_size(image.shape)} px"
            raise VideoProblem("size_changes", f"its pictures change {change}; cut it there")
        self.size = image.shape[0], image.shape[1]
        self.num_frames += 1
        self.shots = followed.shot + 1
        self.with_face += bool(followed.faces)
        for track, face in followed.faces.items():
            try:
                crop = crop_box(face.points)
            except ValueError:
                continue  # landmarks that span no face
            self._waiting.append(_Seen(followed.frame.number, followed.frame.time_s, track, followed.shot, crop, face))
            self._crops.append(cut_crop(image, crop, self.predictor.image_size))
            if len(self._crops) == CROPS_A_PASS:
                self.flush()

    def flush(self) -> None:
        """Predicts what waits."""
        if not self._crops:
            return
        head = self.head
        pixels = torch.from_numpy(np.stack(self._crops)).permute(0, 3, 1, 2).float() / 255
        params, values, log_weights = self.predictor.sight(pixels)
        params, values, log_weights = params.to("cpu"), values.cpu(), log_weights.cpu()
        turned = torch.tensor([seen.crop.turn_deg for seen in self._waiting])
        params = turned_back(head, params, turned)
        verdicts = [
            judge_prediction(head, params.index(slice(k, k + 1)), seen.crop.level(), seen.face)
            for k, seen in enumerate(self._waiting)
        ]
        rows = _rows(params, self._waiting, verdicts, turned)
        for track in dict.fromkeys(seen.track for seen in self._waiting):
            where = (rows.tracks == track).nonzero()[:, 0]
            self.rows[track].append(rows.index(where))
            evidence = ShapeEvidence.of(values[where], log_weights[where])
            self.evidence[track] = self.evidence[track].joined(evidence) if track in self.evidence else evidence
        self._waiting, self._crops = [], []


def _rows(params: HeadParams, seen: Sequence[_Seen], verdicts: Sequence[Verdict], turned: Tensor) -> FaceRows:
    return FaceRows(
        params=params,
        crops=torch.tensor([tuple(one.crop) for one in seen], dtype=torch.float64),
        boxes=torch.from_numpy(np.stack([face_box(one.face.points) for one in seen])),
        turned_deg=turned,
        frames=torch.tensor([one.frame for one in seen]),
        times_s=torch.tensor([one.time_s for one in seen], dtype=torch.float64),
        tracks=torch.tensor([one.track for one in seen]),
        shots=torch.tensor([one.shot for one in seen]),
        presence=torch.tensor([verdict.presence for verdict in verdicts]),
        disagreement=torch.tensor([torch.nan if v.disagreement is None else v.disagreement for v in verdicts]),
        yaw_deg=torch.tensor([verdict.yaw_deg for verdict in verdicts]),
    )


def _grouped(predictor: SheapPredictor, gathered: GatheredFaces) -> list[tuple[int, ...]]:
    def apart_mm(one: Tensor, other: Tensor) -> float:
        return faces_apart_mm(gathered.head, _shape(predictor, one), _shape(predictor, other))

    tracks = {
        number: TrackShape(
            int(rows[0].frames[0]), int(rows[-1].frames[-1]), sum(len(part) for part in rows), gathered.evidence[number]
        )
        for number, rows in gathered.rows.items()
    }
    return same_people(tracks, apart_mm)


@torch.inference_mode()
def person_of(predictor: SheapPredictor, gathered: GatheredFaces, tracks: tuple[int, ...], *, smooth: bool) -> Person:
    """The person of these tracks, with one shape, in the head model that is answered in."""
    head = gathered.head
    evidence = gathered.evidence[tracks[0]]
    for track in tracks[1:]:
        evidence = evidence.joined(gathered.evidence[track])
    rows = FaceRows.concatenate([part for track in tracks for part in gathered.rows[track]])
    rows = rows.replace(params=with_shape(head, rows.params, _shape(predictor, evidence.values)))
    if smooth:
        rows = steadied(head, rows)
    answered = predictor.answer(rows.params.to(predictor.network.head.template.device)).to("cpu")
    return Person(0, rows.replace(params=answered), tracks)


@torch.inference_mode()
def _shape(predictor: SheapPredictor, values: Tensor) -> Tensor:
    return predictor.shape_from(values[None].to(predictor.network.head.template.device))[0].cpu()


def on_cpu(head: HeadModel) -> HeadModel:
    """The head model itself, or a copy of it where it lies on another device."""
    return head if head.template.device.type == "cpu" else copy.deepcopy(head).cpu()


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]} x {shape[0]}"
