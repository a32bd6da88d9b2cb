"""Photos of one person to learn from: head crops in any pose, expression, light and distance, with their full truth.

Each crop is rendered at its own size: the crop rule (sheap.video.crops) is applied to the true landmarks before any
pixel exists, and the camera's K is that of the crop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.head.params import HeadParams
from sheap.people.accessories import KINDS
from sheap.people.backgrounds import sample_background
from sheap.people.cast import CastMember
from sheap.people.clips import LABELS as CLIP_LABELS
from sheap.people.clips import label_map
from sheap.people.filming import look_at
from sheap.people.landmark_sight import landmark_state
from sheap.people.lens import photograph, sample_lens
from sheap.people.lighting import sample_lighting
from sheap.people.makehuman import AssetLooks
from sheap.people.motion import eyelid_follow, feeling_actions, params_from_actions, speech_actions
from sheap.people.person import Person
from sheap.people.studio import Studio
from sheap.video.crops import crop_box_of_pose, with_depth
from sheap.video.head_pose import fit_head_pose

Array = NDArray[np.float32]

LABELS = CLIP_LABELS | {"things": 4}
"""What a pixel of a label map shows; things are worn or held."""


@dataclass(frozen=True)
class PhotoSettings:
    """size: side of the picture, px. margin: what it shows beyond each side of the rule's crop, in shares of that
    crop's side (0: the crop itself; a trainer that jitters crops wants 0.15 or more). distance_m: range from camera to
    head, spread evenly in its logarithm. occluded_share: share of people who wear or hold something in their photos."""

    size: int
    margin: float = 0.0
    distance_m: tuple[float, float] = (0.35, 2.0)
    occluded_share: float = 0.2

    @property
    def crop_side_px(self) -> float:
        """Side of the rule's crop in the picture, whose middle is the picture's."""
        return self.size / (1 + 2 * self.margin)


@dataclass(frozen=True)
class TrainingPhoto:
    """One photo and what is known about it.

    picture [S, S, 3] uint8 sRGB. params: HeadParams without leading dims. K [3, 3]: of this picture, px, pixel centres
    at +0.5; world_to_cam [4, 4] (OpenCV axes, m). landmarks_px [478, 2], landmark_depths [478] (m along the view) and
    landmark_state [478] uint8 (see sheap.people.landmark_sight). labels [S, S] uint8 as in LABELS. light_sh [9, 3]: the
    light's coefficients (sheap.render.shading). accessories: what is worn or held.
    """

    picture: NDArray[np.uint8]
    params: HeadParams
    K: Array
    world_to_cam: Array
    landmarks_px: Array
    landmark_depths: Array
    landmark_state: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    light_sh: Array
    accessories: tuple[str, ...]


def training_photos(
    studio: Studio,
    member: CastMember,
    count: int,
    settings: PhotoSettings,
    assets: AssetLooks | None = None,
    residual: Array | None = None,
) -> Iterator[TrainingPhoto]:
    """`count` photos of one person, each in its own pose, light and place; photo k is the same whatever `count` is.

    residual [N, 3]: see Person.
    """
    rng = member.rng(800)
    worn: tuple[str, ...] = ()
    if rng.random() < settings.occluded_share:
        kinds = list(KINDS)
        weights = np.array([3.0 if kind == "glasses" else 1.0 for kind in kinds])
        worn = (str(rng.choice(kinds, p=weights / weights.sum())),)
    scale = 0.5 if settings.crop_side_px <= 240 else 1.0
    person = Person(
        studio, member.shape, member.traits, member.looks_seed, worn, assets, residual=residual, texture_scale=scale
    )
    for number in range(count):
        yield _photo(studio, member, person, settings, worn, member.rng(801 + number))


def _photo(
    studio: Studio,
    member: CastMember,
    person: Person,
    settings: PhotoSettings,
    worn: tuple[str, ...],
    rng: np.random.Generator,
) -> TrainingPhoto:
    size = settings.size
    params = sample_pose(studio, member.shape, rng)
    metres = float(np.exp(rng.uniform(*np.log(settings.distance_m))))
    world_to_cam = _sample_camera(metres, rng)
    vertices, attachments = person.pose(params)
    points = studio.head.landmarks(torch.from_numpy(vertices)).numpy()
    in_cam = points @ world_to_cam[:3, :3].T + world_to_cam[:3, 3]
    K = crop_camera(in_cam, settings)
    lighting = sample_lighting(rng)
    posed = person.pose_blocks(vertices, attachments, lighting)
    rendered = person.scene.render(posed, world_to_cam, K, size, size, lighting)
    light = rendered.color + sample_background(rng, size, size) * (1 - rendered.alpha[..., None])
    # A lens is as soft as its picture is large: that of a whole frame around this crop, or a crop enlarged from less.
    lens = sample_lens(rng, settings.crop_side_px * float(rng.uniform(1.2, 3.0)), person.skin, photo=True)
    pixels = in_cam[:, :2] / in_cam[:, 2:] * K[[0, 1], [0, 1]] + K[:2, 2]
    labels = label_map(person, rendered)
    things = np.array([piece.block in {thing.name for thing in person.accessories} for piece in person.scene.pieces])
    labels[(rendered.piece_ids >= 0) & things[rendered.piece_ids]] = LABELS["things"]
    return TrainingPhoto(
        picture=photograph(light, lens, rng),
        params=params,
        K=K,
        world_to_cam=world_to_cam,
        landmarks_px=pixels.astype(np.float32),
        landmark_depths=in_cam[:, 2].astype(np.float32),
        landmark_state=landmark_state(person, rendered, posed["head"], points, world_to_cam, K),
        labels=labels,
        light_sh=lighting.sh_coefficients(),
        accessories=worn,
    )


def crop_camera(in_cam: Array, settings: PhotoSettings) -> Array:
    """K [3, 3] of the picture whose middle is the rule's crop of a face with landmarks in_cam [478, 3] (m)."""
    box = crop_box_of_pose(fit_head_pose(with_depth(in_cam[:, :2] / in_cam[:, 2:], in_cam[:, 2], 1.0)))
    focal = settings.crop_side_px / box.side
    return np.array(
        [
            [focal, 0, settings.size / 2 - focal * box.center_x],
            [0, focal, settings.size / 2 - focal * box.center_y],
            [0, 0, 1],
        ],
        np.float32,
    )


def sample_pose(studio: Studio, shape: Array, rng: np.random.Generator) -> HeadParams:
    """Head parameters (no leading dims) as in photographs: mostly towards the camera, up to 75 degrees to a side, from
    still to grimacing, some with lids shut or half shut."""
    head = studio.head
    wide = rng.random() < 0.4
    yaw = np.radians(np.clip(rng.uniform(-70, 70) if wide else rng.normal(0, 22), -75, 75))
    pitch, roll = np.radians(np.clip(rng.normal(0, (13, 9)), -35, 35))
    share = rng.uniform(0.15, 0.6)
    root, neck = (part * np.array([[pitch, yaw, roll]]) for part in (1 - share, share))
    gaze = rng.normal(0, (0.20, 0.11))
    if rng.random() < 0.45:
        # Into the camera, as far as eyes turn.
        gaze = np.array([-yaw, -0.8 * pitch]) + rng.normal(0, 0.05, 2)
    gaze = np.clip(gaze, (-0.5, -0.35), (0.5, 0.3)).astype(np.float32)[None]
    kind = rng.choice(["still", "feeling", "speech", "strong"], p=[0.2, 0.42, 0.2, 0.18])
    actions = np.zeros(len(head.action_names), np.float32)
    if kind == "still":
        actions += rng.uniform(0, 0.1, len(actions)).astype(np.float32) * (rng.random(len(actions)) < 0.3)
    elif kind == "feeling":
        actions += feeling_actions(rng, head, float(rng.uniform(0.3, 1.0)))
    elif kind == "speech":
        actions += speech_actions(rng, head) + feeling_actions(rng, head, float(rng.uniform(0, 0.4)))
    else:
        few = rng.random(len(actions)) < rng.uniform(0.06, 0.2)
        actions += (rng.uniform(0.3, 1.0, len(actions)) * few).astype(np.float32)
        actions += feeling_actions(rng, head, float(rng.uniform(0, 0.9)))
    # What looking does is the gaze's part, and lids have coefficients of their own.
    for at, name in enumerate(head.action_names):
        if name.startswith(("eyeLook", "eyeBlink")):
            actions[at] = 0
    lids = np.repeat(eyelid_follow(gaze) + rng.uniform(-0.08, 0.15), 2)
    chance = rng.random()
    if chance < 0.07:
        lids[:] = rng.uniform(0.75, 1.0)
    elif chance < 0.15:
        lids += rng.uniform(0.15, 0.6)
    elif chance < 0.17:
        lids[rng.integers(2)] = rng.uniform(0.7, 1.0)
    params = params_from_actions(
        head, shape, np.clip(actions, 0, 1)[None], np.clip(lids, -0.15, 1.0)[None], root, neck, gaze, np.zeros((1, 3))
    )
    return params.index(0)


def _sample_camera(metres: float, rng: np.random.Generator) -> Array:
    """world_to_cam [4, 4] of a camera around the front, level or a little above or below, with the head anywhere in
    its frame."""
    elevation = np.radians(np.clip(rng.normal(0, 8), -25, 25))
    eye = metres * np.array([0.0, np.sin(elevation), np.cos(elevation)], np.float32)
    aside = metres * np.tan(np.radians(np.clip(rng.normal(0, 7, 2), -18, 18)))
    target = np.array([aside[0], aside[1], 0.0], np.float32)
    return look_at(eye, target, float(np.radians(rng.normal(0, 4))))
