"""Photographs of a held-out person for the four challenges of NoW."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.geometry.cameras import Cameras, project
from sheap.head.params import HeadParams
from sheap.people.accessories import KINDS
from sheap.people.backgrounds import sample_background
from sheap.people.cast import CastMember
from sheap.people.filming import sample_shot
from sheap.people.lens import photograph, sample_lens
from sheap.people.lighting import sample_lighting
from sheap.people.makehuman import AssetLooks
from sheap.people.motion import action_weights, eyelid_follow, feeling_actions, params_from_actions
from sheap.people.now_layout import CHALLENGES
from sheap.people.person import Person
from sheap.people.skin import skin_tone
from sheap.people.studio import Studio

Array = NDArray[np.float32]

_YAW_DEG = {"multiview_neutral": 70.0, "multiview_expressions": 45.0, "multiview_occlusions": 40.0, "selfie": 15.0}
"""The views of a challenge spread evenly over plus and minus this."""


@dataclass(frozen=True)
class Photo:
    """challenge, name; picture [H, W, 3] uint8 RGB; box (left, top, right, bottom) px of the face; what is worn;
    params of the head (no leading dims)."""

    challenge: str
    name: str
    picture: NDArray[np.uint8]
    box: tuple[float, float, float, float]
    accessory: str
    params: HeadParams


def photograph_person(
    studio: Studio,
    member: CastMember,
    counts: dict[str, int],
    size: tuple[int, int],
    assets: AssetLooks | None = None,
    residual: Array | None = None,
) -> Iterator[Photo]:
    """All photos of one person, `counts` by challenge, height x width px, each in its own light and place.

    residual [N, 3]: what the member's shape lacks of their neutral face (see Person).
    """
    bare = Person(studio, member.shape, member.traits, member.looks_seed, assets=assets, residual=residual)
    number = 0
    for challenge in CHALLENGES:
        kinds = member.rng(500).permutation(list(KINDS))
        for view in range(counts[challenge]):
            rng = member.rng(1 + number)
            number += 1
            accessory = str(kinds[view % len(kinds)]) if challenge == "multiview_occlusions" else ""
            person = bare
            if accessory:
                person = Person(
                    studio, member.shape, member.traits, member.looks_seed, (accessory,), assets, residual=residual
                )
            yield _photo(studio, member, person, challenge, view, counts[challenge], accessory, size, rng)


def _photo(
    studio: Studio,
    member: CastMember,
    person: Person,
    challenge: str,
    view: int,
    views: int,
    accessory: str,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Photo:
    is_selfie = challenge == "selfie"
    shot = sample_shot(
        rng, np.zeros(1, np.float32), [size], distance=(0.32, 0.5) if is_selfie else (0.6, 1.6),
        fill=(0.55, 0.75) if is_selfie else (0.42, 0.68), elevation_deg=12.0 if is_selfie else 6.0, shake=0.0,
        off_centre=0.05,
    )  # fmt: skip
    params = _pose(studio, member, challenge, view, views, rng)
    lighting = sample_lighting(rng)
    background = sample_background(rng, shot.height, shot.width)
    lens = sample_lens(rng, float(np.hypot(*size)), skin_tone(member.traits))
    rendered = person.render(params, shot.world_to_cam[0], shot.K, shot.height, shot.width, lighting)
    picture = photograph(rendered.color + background * (1 - rendered.alpha[..., None]), lens, rng)
    with torch.inference_mode():
        vertices = torch.from_numpy(person.pose(params)[0])
        cameras = Cameras(
            torch.from_numpy(shot.world_to_cam[:1]), torch.from_numpy(shot.K)[None], shot.height, shot.width
        )
        pixels, _ = project(studio.head.landmarks(vertices), cameras)
    low, high = pixels[0].numpy().min(0), pixels[0].numpy().max(0)
    return Photo(challenge, f"IMG_{view:04d}", picture, (low[0], low[1], high[0], high[1]), accessory, params)


def _pose(
    studio: Studio, member: CastMember, challenge: str, view: int, views: int, rng: np.random.Generator
) -> HeadParams:
    head = studio.head
    reach = np.radians(_YAW_DEG[challenge])
    # Even steps over the range, a little off each; a single view is nearly frontal.
    step = 0.0 if views == 1 else -1 + 2 * view / (views - 1)
    yaw = reach * step + rng.normal(0, np.radians(5))
    neck_share = rng.uniform(0.2, 0.6)
    pitch, roll = rng.normal(0, 0.08), rng.normal(0, 0.05)
    root = np.array([[0.5 * pitch, (1 - neck_share) * yaw, 0.5 * roll]])
    neck = np.array([[0.5 * pitch, neck_share * yaw, 0.5 * roll]])
    gaze = np.array([[rng.normal(0, 0.08) - 0.3 * yaw * rng.random(), rng.normal(0, 0.05)]], np.float32).clip(
        -0.45, 0.45
    )
    actions = np.zeros(len(head.action_names), np.float32)
    if challenge == "multiview_expressions":
        actions = feeling_actions(rng, head, 1.0)
    elif challenge == "selfie":
        actions = action_weights(head, {"mouthSmile*": 0.5, "cheekSquint*": 0.2}, rng.random())
    lids = eyelid_follow(gaze) + rng.uniform(-0.05, 0.08)
    params = params_from_actions(
        head, member.shape, actions[None], np.stack([lids, lids], -1), root, neck, gaze, np.zeros((1, 3))
    )
    return params.index(0)
