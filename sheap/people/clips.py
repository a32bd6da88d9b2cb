"""Films one person: frames of a clip with everything known about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sheap.geometry.cameras import Cameras, project
from sheap.head.door import head_sha256
from sheap.head.params import HeadParams
from sheap.people.backgrounds import sample_background
from sheap.people.cast import CastMember
from sheap.people.filming import Shot, sample_shot
from sheap.people.landmark_sight import VISIBLE, landmark_state
from sheap.people.lens import Lens, photograph, sample_lens
from sheap.people.lighting import Lighting, sample_lighting
from sheap.people.motion import sample_motion
from sheap.people.person import Person
from sheap.people.scene import Rendered
from sheap.people.skin import skin_tone
from sheap.people.studio import Studio

Array = NDArray[np.float32]

LABELS = {"background": 0, "skin": 1, "hair": 2, "clothes": 3}
"""What a pixel of a label map shows; eyes and mouth count as skin."""


@dataclass(frozen=True)
class ClipSettings:
    """frames at fps; sizes: (height, width) to choose from; yaw_range_deg: spread of facing directions; liveliness
    scales all movement."""

    frames: int
    fps: float
    sizes: list[tuple[int, int]]
    yaw_range_deg: float
    liveliness: float


@dataclass(frozen=True)
class Clip:
    """One planned clip. params has leading dim [T]; background [H', W', 3] is larger than the frame by margin px a
    side."""

    member: CastMember
    params: HeadParams
    fps: float
    shot: Shot
    lighting: Lighting
    lens: Lens
    background: Array
    margin: int
    noise_seed: int


def plan_clip(studio: Studio, member: CastMember, number: int, settings: ClipSettings) -> Clip:
    """Clip `number` of a person: its own light, place, camera and motion."""
    rng = member.rng(1 + number)
    times = (np.arange(settings.frames) / settings.fps).astype(np.float32)
    shot = sample_shot(
        rng, times, settings.sizes, distance=(0.5, 1.8), fill=(0.45, 0.72), elevation_deg=7.0,
        shake=float(rng.choice([0.0, 0.004])), off_centre=0.06,
    )  # fmt: skip
    lighting = sample_lighting(rng)
    margin = int(np.ceil(np.abs(shot.shake_px).max())) + 2
    background = sample_background(rng, shot.height + 2 * margin, shot.width + 2 * margin)
    lens = sample_lens(rng, float(np.hypot(shot.height, shot.width)), skin_tone(member.traits))
    params = sample_motion(
        rng, studio.head, member.shape, settings.frames, settings.fps, yaw_range_deg=settings.yaw_range_deg,
        liveliness=settings.liveliness,
    )  # fmt: skip
    return Clip(member, params, settings.fps, shot, lighting, lens, background, margin, int(rng.integers(2**31)))


@dataclass(frozen=True)
class FilmedFrame:
    """picture [H, W, 3] uint8 sRGB; labels [H, W] uint8 as in LABELS; seen [478]: the landmarks that nothing hides."""

    picture: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    seen: NDArray[np.bool_]


def film(person: Person, clip: Clip) -> Iterator[FilmedFrame]:
    """Frames in order."""
    shot = clip.shot
    rng = np.random.default_rng(clip.noise_seed)
    for frame, world_to_cam in enumerate(shot.world_to_cam):
        vertices, attachments = person.pose(clip.params.index(frame))
        posed = person.pose_blocks(vertices, attachments, clip.lighting)
        rendered = person.scene.render(posed, world_to_cam, shot.K, shot.height, shot.width, clip.lighting)
        behind = _moved(clip.background, shot.shake_px[frame], clip.margin, shot.height, shot.width)
        light = rendered.color + behind * (1 - rendered.alpha[..., None])
        points = person.studio.head.landmarks(torch.from_numpy(vertices)).numpy()
        state = landmark_state(person, rendered, posed["head"], points, world_to_cam, shot.K)
        yield FilmedFrame(photograph(light, clip.lens, rng), label_map(person, rendered), state == VISIBLE)


def label_map(person: Person, rendered: Rendered) -> NDArray[np.uint8]:
    """What each pixel shows [H, W] (see LABELS), by the sample nearest to its centre."""
    kinds = np.array([_label(piece.name) for piece in person.scene.pieces] + [LABELS["background"]], np.uint8)
    return kinds[rendered.piece_ids]


def clip_truth(studio: Studio, clip: Clip, labels: NDArray[np.uint8], seen: NDArray[np.bool_]) -> dict[str, NDArray]:
    """What is known about a clip, as arrays for an .npz.

    head_sha256: the file of the head model that the coefficients are of; fps; picture_size [2]: height and width, px.
    HeadParams by field [T, ...] (shape once, [S]); K [3, 3]; world_to_cam [T, 4, 4]; landmarks_px [T, 478, 2],
    landmark_depths [T, 478] (m) and seen [T, 478]; light_sh [9, 3]; labels [T, H, W].
    """
    params, shot = clip.params, clip.shot
    with torch.inference_mode():
        points = studio.head.landmarks(studio.head(params).vertices)
        cameras = Cameras(
            torch.from_numpy(shot.world_to_cam)[:, None],
            torch.from_numpy(shot.K).expand(len(points), 1, 3, 3),
            shot.height,
            shot.width,
        )
        pixels, depths = project(points, cameras)
    truth = {field.name: getattr(params, field.name).numpy() for field in fields(HeadParams)}
    truth["shape"] = truth["shape"][0]
    return truth | {
        "head_sha256": np.array(head_sha256(None)),
        "fps": np.array(clip.fps, np.float64),
        "picture_size": np.array([shot.height, shot.width]),
        "K": shot.K,
        "world_to_cam": shot.world_to_cam,
        "landmarks_px": pixels[:, 0].numpy(),
        "landmark_depths": depths[:, 0].numpy(),
        "seen": seen,
        "light_sh": clip.lighting.sh_coefficients(),
        "labels": labels,
    }


def _label(piece: str) -> int:
    if piece in ("hair", "bun", "beard"):
        return LABELS["hair"]
    return LABELS["clothes"] if piece == "torso" or piece.startswith("collar") else LABELS["skin"]


def _moved(background: Array, shift_px: Array, margin: int, height: int, width: int) -> Array:
    matrix = np.array([[1, 0, margin - shift_px[0]], [0, 1, margin - shift_px[1]]], np.float32)
    return cv2.warpAffine(
        background,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
