"""How a person moves in a clip: head, gaze, blinks, speech and feelings as smooth curves over time."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from sheap.head.model import HeadModel
from sheap.head.params import HeadParams
from sheap.people.noise import smooth_curve, smoothstep

Array = NDArray[np.float32]
Floats = NDArray[np.floating]

# Feelings as weights of the head model's named actions. "*" stands for Left and Right.
_FEELINGS: dict[str, dict[str, float]] = {
    "smile": {"mouthSmile*": 0.8, "cheekSquint*": 0.5, "eyeSquint*": 0.35, "mouthDimple*": 0.2},
    "grin": {"mouthSmile*": 0.9, "mouthUpperUp*": 0.35, "mouthLowerDown*": 0.3, "cheekSquint*": 0.6, "jawOpen": 0.12},
    "surprise": {"browInnerUp": 0.8, "browOuterUp*": 0.8, "eyeWide*": 0.8, "jawOpen": 0.45},
    "anger": {"browDown*": 0.9, "noseSneer*": 0.4, "mouthPress*": 0.5, "eyeSquint*": 0.4},
    "sadness": {"browInnerUp": 0.8, "mouthFrown*": 0.7, "mouthShrugLower": 0.4},
    "disgust": {"noseSneer*": 0.9, "mouthUpperUp*": 0.6, "browDown*": 0.5, "mouthFrown*": 0.3},
    "doubt": {"browOuterUpLeft": 0.8, "browDownRight": 0.6, "mouthLeft": 0.4, "mouthPress*": 0.3},
    "fear": {"browInnerUp": 0.9, "eyeWide*": 0.7, "mouthStretch*": 0.6, "jawOpen": 0.2},
    "kiss": {"mouthPucker": 0.9},
    "puff": {"cheekPuff": 0.9, "mouthPress*": 0.3},
    "shout": {"jawOpen": 0.9, "mouthFunnel": 0.3, "browDown*": 0.3, "mouthUpperUp*": 0.3, "mouthLowerDown*": 0.4},
    "sneer": {"mouthSmileLeft": 0.6, "mouthUpperUpLeft": 0.4, "browDownRight": 0.3},
    "pressed": {"mouthRollLower": 0.5, "mouthRollUpper": 0.4, "mouthPress*": 0.4},
    "tight": {"mouthStretch*": 0.5, "mouthFrown*": 0.3},
}

# Mouth shapes of speech, mixed by fast curves.
_VISEMES: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.55, "mouthLowerDown*": 0.3},
    {"jawOpen": 0.25, "mouthStretch*": 0.35, "mouthSmile*": 0.15, "mouthUpperUp*": 0.15},
    {"mouthFunnel": 0.7, "jawOpen": 0.25},
    {"mouthPucker": 0.7, "jawOpen": 0.08},
    {"mouthRollLower": 0.45, "mouthPress*": 0.25},
    {"mouthShrugUpper": 0.3, "mouthLowerDown*": 0.4, "jawOpen": 0.12},
)


def action_weights(head: HeadModel, recipe: dict[str, float], strength: float = 1.0) -> Array:
    """Weights [A] of the head's named actions for a recipe like {"mouthSmile*": 0.8}.

    Raises ValueError when the head model does not have an action of that name.
    """
    weights = np.zeros(len(head.action_names), np.float32)
    for name, value in recipe.items():
        for full in (name.replace("*", "Left"), name.replace("*", "Right")) if "*" in name else (name,):
            if full not in head.action_names:
                raise ValueError(f"head: has no facial action '{full}'; rendered people need the open head's actions")
            weights[head.action_names.index(full)] += value * strength
    return weights


def params_from_actions(
    head: HeadModel,
    shape: Array,
    actions: Floats,
    eyelids: Floats,
    root: Floats,
    neck: Floats,
    gaze: Floats,
    translation: Floats,
) -> HeadParams:
    """Head parameters of T frames: shape [S], actions [T, A], eyelids [T, 2], root and neck rotation vectors [T, 3],
    gaze [T, 2] (radians: to the person's left, up), translation [T, 3]."""
    assert head.action_matrix is not None and head.gaze_axes is not None, "people are rendered with the open head"
    frames = len(actions)
    weights = torch.from_numpy(np.asarray(actions, np.float32))
    expression = weights @ head.action_matrix
    turns = torch.einsum("ta,ajk->tjk", weights, head.action_rotvecs)
    # Eyes at rest do not look exactly ahead: what is missing to the wanted direction is turned.
    left, right = (
        torch.from_numpy(
            np.stack([np.arcsin(axis[1]) - gaze[:, 1], gaze[:, 0] - np.arcsin(axis[0]), np.zeros(frames)], -1)
        ).float()
        for axis in head.gaze_axes.numpy()
    )
    return HeadParams(
        shape=torch.from_numpy(np.broadcast_to(np.asarray(shape, np.float32), (frames, len(shape))).copy()),
        expression=expression,
        eyelids=torch.from_numpy(np.asarray(eyelids, np.float32)),
        root_rotvec=torch.from_numpy(np.asarray(root, np.float32)),
        neck_rotvec=torch.from_numpy(np.asarray(neck, np.float32)),
        jaw_rotvec=turns[:, 2],
        eye_left_rotvec=left + turns[:, 3],
        eye_right_rotvec=right + turns[:, 4],
        translation=torch.from_numpy(np.asarray(translation, np.float32)),
    )


def feeling_actions(rng: np.random.Generator, head: HeadModel, strength: float) -> Array:
    """One random feeling [A], sometimes two mixed, never quite symmetric."""
    names = rng.choice(list(_FEELINGS), 2, replace=False)
    share = rng.choice([1.0, rng.uniform(0.5, 1.0)])
    weights = action_weights(head, _FEELINGS[names[0]], strength * share)
    weights += action_weights(head, _FEELINGS[names[1]], strength * (1 - share))
    return np.clip(weights * rng.uniform(0.8, 1.2, len(weights)), 0, 1).astype(np.float32)


def speech_actions(rng: np.random.Generator, head: HeadModel) -> Array:
    """The mouth in one moment of speech [A]: one or two shapes mixed."""
    first, second = rng.choice(len(_VISEMES), 2, replace=False)
    share = rng.uniform(0.3, 1.0)
    weights = action_weights(head, _VISEMES[first], share * rng.uniform(0.6, 1.3))
    return weights + action_weights(head, _VISEMES[second], (1 - share) * rng.uniform(0.6, 1.3))


def eyelid_follow(gaze: Array) -> Array:
    """How far lids sink when the eyes look down (and rise when up): [T] for gaze [T, 2]."""
    return np.clip(-gaze[:, 1] * 0.9, -0.12, 0.45).astype(np.float32)


def sample_motion(
    rng: np.random.Generator,
    head: HeadModel,
    shape: Array,
    frames: int,
    fps: float,
    *,
    yaw_range_deg: float,
    liveliness: float,
) -> HeadParams:
    """A person's motion over `frames` at `fps`, at the origin: parameters with leading dim [T].

    yaw_range_deg: spread of where the body faces; liveliness around 1 scales speed and size of every movement.
    """
    times = (np.arange(frames) / fps).astype(np.float32)
    facing = np.radians(yaw_range_deg) * rng.normal(0, 0.55)

    def curve(period_s: float) -> Array:
        return smooth_curve(rng, times, period_s / liveliness)

    root = np.stack([0.05 * curve(2.5) + rng.normal(0, 0.04), facing + 0.14 * curve(2.0), 0.04 * curve(2.5)], -1)
    neck = np.stack([0.11 * curve(1.4) + rng.normal(0, 0.05), 0.20 * curve(1.3) - 0.35 * facing, 0.07 * curve(1.8)], -1)
    translation = np.stack([0.012 * curve(2.0), 0.008 * curve(1.6), 0.015 * curve(2.4)], -1)

    gaze = _gaze(rng, times, -0.5 * (root[:, 1] + neck[:, 1]))
    lids = _blinks(rng, times) + eyelid_follow(gaze) + rng.uniform(-0.05, 0.12)
    eyelids = np.clip(np.stack([lids, lids], -1), -0.15, 1.0)
    actions = _feelings(rng, head, times, liveliness) + _speech(rng, head, times, liveliness)
    # Faces have mass: nothing in them changes faster than within about a tenth of a second.
    actions = gaussian_filter1d(actions, 0.04 * fps, axis=0, mode="nearest")
    actions[:, head.action_names.index("jawOpen")] = np.minimum(actions[:, head.action_names.index("jawOpen")], 0.95)
    return params_from_actions(head, shape, np.clip(actions, 0, 1.1), eyelids, root, neck, gaze, translation)


def _gaze(rng: np.random.Generator, times: Array, towards_camera: Floats) -> Array:
    """Fixations of 0.3 to 1.5 s joined by fast saccades; often at the camera."""
    gaze = np.zeros((len(times), 2), np.float32)
    start = 0.0
    while start <= times[-1]:
        stay = rng.uniform(0.3, 1.5)
        at_camera = rng.random() < 0.6
        target = rng.normal(0, (0.22, 0.10))
        inside = times >= start
        if at_camera:
            gaze[inside, 0] = towards_camera[inside]
            gaze[inside, 1] = rng.normal(0, 0.02)
        else:
            gaze[inside] = target
        start += stay
    # A saccade takes about 40 ms.
    kernel = np.array([0.25, 0.5, 0.25], np.float32)
    padded = np.pad(gaze, ((1, 1), (0, 0)), mode="edge")
    smooth = np.stack([np.convolve(padded[:, k], kernel, "valid") for k in range(2)], -1)
    return np.clip(smooth, (-0.5, -0.35), (0.5, 0.3)).astype(np.float32)


def _blinks(rng: np.random.Generator, times: Array) -> Array:
    """Blinks every few seconds: lids shut within 100 ms and open within 200 ms."""
    closed = np.zeros(len(times), np.float32)
    at = rng.uniform(-1.0, 2.5)
    while at < times[-1] + 0.3:
        since = times - at
        closed = np.maximum(closed, smoothstep(-0.1, 0.0, since) * smoothstep(0.24, 0.05, since))
        at += rng.uniform(1.2, 4.0)
    return closed


def _feelings(rng: np.random.Generator, head: HeadModel, times: Array, liveliness: float) -> Array:
    """One or two feelings that come and go."""
    total = np.zeros((len(times), len(head.action_names)), np.float32)
    for _ in range(2):
        if rng.random() < 0.75:
            strength = np.clip(0.45 * smooth_curve(rng, times, 1.3 / liveliness) + 0.35, 0, 1)
            total += strength[:, None] * feeling_actions(rng, head, rng.uniform(0.5, 1.0))
    # Little movements of everything that moves.
    for name in (
        "browInnerUp",
        "browOuterUpLeft",
        "browOuterUpRight",
        "eyeSquintLeft",
        "eyeSquintRight",
        "mouthLeft",
        "mouthRight",
    ):
        amount = np.clip(0.12 * smooth_curve(rng, times, 1.0), 0, 1)
        total[:, head.action_names.index(name)] += amount
    return total


def _speech(rng: np.random.Generator, head: HeadModel, times: Array, liveliness: float) -> Array:
    """Four to five syllables a second while talking, silence between."""
    total = np.zeros((len(times), len(head.action_names)), np.float32)
    if rng.random() < 0.3:
        return total
    talking = smoothstep(-0.5, 0.3, smooth_curve(rng, times, 1.8) + 0.4)
    for viseme in _VISEMES:
        amount = np.clip(smooth_curve(rng, times, 0.32 / liveliness) - 0.1, 0, 1.4)
        total += (talking * amount)[:, None] * action_weights(head, viseme, rng.uniform(0.5, 1.0))
    return total
