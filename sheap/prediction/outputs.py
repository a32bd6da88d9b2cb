"""The files that are made of a prediction: which there are, and how each is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.avatars.animated_glb import write_animated_glb
from sheap.evaluation.mesh_files import TriangleMesh, write_obj, write_ply
from sheap.files import write_arrays, write_picture
from sheap.geometry.cameras import published_camera
from sheap.head import HeadModel
from sheap.prediction.cameras import picture_cameras
from sheap.prediction.overlay import HeadDrawer, side_by_side, write_timed_mp4
from sheap.prediction.predict import EVERY_FRAME, WHOLE_SIDE
from sheap.prediction.rows import Person, Prediction
from sheap.prediction.table import Arkit, table_of, write_npz, write_parquet
from sheap.video.decoding import VideoReader

POSED_NOTE = (
    "The head as it was seen: posed, with its expression, metres, in the camera's space (x right, y up, z towards the viewer; "
    "the camera is at z = 1, looking down -z; cameras.npz has its K)."
)
NEUTRAL_NOTE = "The person at rest: neutral face, no pose, metres, head axes (x the person's left, y up, z out of the face)."

CROP_SIZE = 512
"""Side of the crop, px, of which cameras.npz tells the K."""


@dataclass(frozen=True)
class Source:
    """What was predicted: path of a video, or the picture itself, [H, W, 3] uint8 RGB."""

    path: Path
    picture: NDArray[np.uint8] | None = None
    fps: float | None = None


@dataclass(frozen=True)
class _Job:
    folder: Path
    head: HeadModel
    arkit: Arkit
    prediction: Prediction
    source: Source
    written: list[str] = field(default_factory=list)

    def file(self, name: str, write: Callable[[Path], object]) -> None:
        """Writes one file."""
        write(self.folder / name)
        self.written.append(name)

    def each(self, name: str, write: Callable[[Path, Person], None]) -> None:
        """One file a person: NAME with the person's number for {}."""
        for person in self.prediction.people:
            self.file(name.format(person.number), lambda path, person=person: write(path, person))


def write_outputs(
    folder: Path, kinds: Sequence[str], head: HeadModel, arkit: Arkit, prediction: Prediction, source: Source
) -> list[str]:
    """Writes these kinds (KINDS) of files into a folder; gives their names. head: on the CPU.

    Raises NotWritten; what was written before that is taken away again.
    """
    job = _Job(folder, head, arkit, prediction, source)
    try:
        for kind in kinds:
            KINDS[kind](job)
    except BaseException:
        for name in job.written:
            (folder / name).unlink(missing_ok=True)
        raise
    return job.written


def parse_kinds(text: str) -> tuple[str, ...]:
    """Kinds with commas between. Raises ValueError naming one that there is not."""
    kinds = tuple(dict.fromkeys(word for word in text.replace(",", " ").split()))
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"--write: there is no '{kind}' (known: {', '.join(KINDS)})")
    if not kinds:
        raise ValueError(f"--write: names nothing (known: {', '.join(KINDS)})")
    return kinds


def _params(job: _Job) -> None:
    table = table_of(job.prediction, job.arkit)
    job.file("params.npz", partial(write_npz, table=table))
    job.file("params.parquet", partial(write_parquet, table=table))


def _cameras(job: _Job) -> None:
    """K of every crop of CROP_SIZE px, K of the whole picture, by row; world_to_cam of both."""
    people, prediction = job.prediction.people, job.prediction
    crops = torch.cat([person.rows.crops for person in people])
    whole = picture_cameras(crops, prediction.height, prediction.width)
    crop = published_camera(CROP_SIZE, dtype=torch.float64)
    arrays = {
        "person": np.concatenate([np.full(len(person.rows), person.number) for person in people]),
        "frame": np.concatenate([person.rows.frames.numpy() for person in people]),
        "world_to_cam": crop.world_to_cam[0].numpy(),
        "K_crop": crop.K[0].numpy(),
        "crop_size": np.array([CROP_SIZE, CROP_SIZE]),
        "crop": crops.numpy(),
        "K_picture": whole.K[:, 0].numpy(),
        "picture_size": np.array([prediction.width, prediction.height]),
    }
    job.file("cameras.npz", partial(write_arrays, arrays=arrays))


def _meshes(job: _Job, ending: str, write: Callable[..., None]) -> None:
    """Each person at rest, and of a picture each head as it was seen."""
    faces = job.head.faces.numpy()

    def neutral(path: Path, person: Person) -> None:
        vertices = job.head.neutral(person.rows.params.shape[:1])
        write(path, TriangleMesh(vertices[0].double().numpy(), faces), note=NEUTRAL_NOTE)

    def posed(path: Path, person: Person) -> None:
        vertices = job.head(person.rows.params.first(1)).vertices
        write(path, TriangleMesh(vertices[0].double().numpy(), faces), note=POSED_NOTE)

    with torch.inference_mode():
        if job.prediction.kind == "picture":
            job.each(f"person{{}}{ending}", posed)
        job.each(f"person{{}}_neutral{ending}", neutral)


def _glb(job: _Job) -> None:
    def write(path: Path, person: Person) -> None:
        write_animated_glb(path, job.head, person.rows.params, person.rows.times_s.tolist())

    job.each("person{}.glb", write)


def _drawn(job: _Job, name: str, *, beside: bool) -> None:
    drawer = HeadDrawer(job.head, job.prediction)

    def shown(image: NDArray[np.uint8], frame: int) -> NDArray[np.uint8]:
        drawn = drawer.draw(image, frame)
        return side_by_side(image, drawn) if beside else drawn.overlay

    if job.source.picture is not None:
        job.file(f"{name}.png", partial(write_picture, picture=shown(job.source.picture, 0)))
        return
    with VideoReader(job.source.path) as video:
        frames = video.frames(job.source.fps or EVERY_FRAME, WHOLE_SIDE)
        pictures = ((frame.time_s, shown(frame.image, frame.number)) for frame in frames)
        job.file(f"{name}.mp4", partial(write_timed_mp4, frames=pictures, rate=job.prediction.rate or 25.0))


KINDS: dict[str, Callable[[_Job], None]] = {
    "params": _params,
    "cameras": _cameras,
    "obj": lambda job: _meshes(job, ".obj", write_obj),
    "ply": lambda job: _meshes(job, ".ply", write_ply),
    "glb": _glb,
    "overlay": lambda job: _drawn(job, "overlay", beside=False),
    "side-by-side": lambda job: _drawn(job, "side_by_side", beside=True),
}
"""Kinds of output by their name."""

DEFAULT_KINDS = ("params", "cameras", "obj", "glb", "overlay")
