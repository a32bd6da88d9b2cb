"""Renders a stand-in for AffectNet, in its layout: `python -m experiments.emotion_stand_in --out data/emotions`.

Rendered people show the prototypes of the Facial Action Coding System (Ekman and Friesen; EMFACS) with random intensity
and some asymmetry. Valence and arousal are the prototype's place on Russell's circumplex times the intensity. Nobody
felt anything: it exercises the protocol and says nothing about real emotions. See docs/evaluation/emotions.md.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import cpu_count, get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sheap.evaluation.affectnet import EMOTIONS, FOLDERS
from sheap.head import HeadModel
from sheap.people.backgrounds import sample_background
from sheap.people.cast import CastMember, cast_member
from sheap.people.filming import sample_shot
from sheap.people.lens import photograph, sample_lens
from sheap.people.lighting import sample_lighting
from sheap.people.motion import action_weights, eyelid_follow, params_from_actions
from sheap.people.person import Person
from sheap.people.skin import skin_tone
from sheap.people.studio import Studio, shared_studio

SIZE = (256, 256)


@dataclass(frozen=True)
class Prototype:
    """actions: weights of the head's actions at full intensity (action units beside them); affect: valence, arousal."""

    actions: dict[str, float]
    affect: tuple[float, float]


PROTOTYPES: dict[str, Prototype] = {
    "neutral": Prototype({}, (0.0, 0.0)),
    # 6 + 12 + 25
    "happy": Prototype({"cheekSquint*": 0.7, "mouthSmile*": 0.9, "mouthUpperUp*": 0.3, "jawOpen": 0.1}, (0.85, 0.45)),
    # 1 + 4 + 15 + 17
    "sad": Prototype({"browInnerUp": 0.8, "browDown*": 0.3, "mouthFrown*": 0.8, "mouthShrugLower": 0.4}, (-0.75, -0.35)),
    # 1 + 2 + 5 + 26
    "surprise": Prototype({"browInnerUp": 0.8, "browOuterUp*": 0.9, "eyeWide*": 0.8, "jawOpen": 0.6}, (0.15, 0.8)),
    # 1 + 2 + 4 + 5 + 20 + 25
    "fear": Prototype(
        {"browInnerUp": 0.9, "browOuterUp*": 0.3, "eyeWide*": 0.9, "mouthStretch*": 0.8, "jawOpen": 0.2}, (-0.6, 0.75)
    ),
    # 9 + 10 + 15 + 17
    "disgust": Prototype({"noseSneer*": 0.9, "mouthUpperUp*": 0.6, "mouthFrown*": 0.3, "mouthShrugLower": 0.3}, (-0.7, 0.35)),
    # 4 + 7 + 23 + 24
    "anger": Prototype({"browDown*": 1.0, "eyeSquint*": 0.6, "mouthPress*": 0.6, "mouthRollLower": 0.4}, (-0.55, 0.7)),
    # 12 + 14 on one side
    "contempt": Prototype({"mouthSmileLeft": 0.6, "mouthDimpleLeft": 0.8, "mouthLeft": 0.3}, (-0.5, 0.2)),
}


def emotion_actions(head: HeadModel, emotion: str, intensity: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Weights [A] of the head's actions; no two faces show a prototype quite alike."""
    weights = action_weights(head, PROTOTYPES[emotion].actions, intensity)
    return np.clip(weights * rng.uniform(0.75, 1.25, len(weights)), 0, 1).astype(np.float32)


def render_person(root: Path, split: str, number: int, photos: int, seed: int) -> int:
    """Photos of one person, `photos` of each emotion; returns how many. Runs in a worker process."""
    studio = shared_studio()
    # Roles never share a person, so the probe is tested on people it has not seen.
    member = cast_member(seed, "train" if split == "train" else "validation", number, studio.head)
    person = Person(studio, member.shape, member.traits, member.looks_seed)
    folder = root / FOLDERS[split]
    for index in range(photos * len(EMOTIONS)):
        rng = member.rng(2000 + index)
        emotion = index % len(EMOTIONS)
        intensity = float(rng.uniform(0.35, 1.0))
        name = f"{number:04d}_{index:04d}"
        picture = photograph_emotion(studio, person, member, EMOTIONS[emotion], intensity, rng)
        cv2.imwrite(str(folder / "images" / f"{name}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        valence, arousal = (intensity * value for value in PROTOTYPES[EMOTIONS[emotion]].affect)
        for part, value in (("exp", emotion), ("val", valence), ("aro", arousal)):
            np.save(folder / "annotations" / f"{name}_{part}.npy", np.array(value))
    return photos * len(EMOTIONS)


def photograph_emotion(
    studio: Studio, person: Person, member: CastMember, emotion: str, intensity: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One picture uint8 RGB, from nearly in front, in a light and place of its own."""
    shot = sample_shot(
        rng, np.zeros(1, np.float32), [SIZE], distance=(0.6, 1.4), fill=(0.6, 0.8), elevation_deg=6.0, shake=0.0,
        off_centre=0.03,
    )  # fmt: skip
    actions = emotion_actions(studio.head, emotion, intensity, rng)
    gaze = rng.normal(0, 0.06, (1, 2)).astype(np.float32)
    lids = eyelid_follow(gaze) + rng.uniform(-0.05, 0.08)
    root, neck = rng.normal(0, (0.08, 0.2, 0.05), (1, 3)), rng.normal(0, (0.05, 0.1, 0.04), (1, 3))
    params = params_from_actions(
        studio.head, member.shape, actions[None], np.stack([lids, lids], -1), root, neck, gaze, np.zeros((1, 3))
    ).index(0)
    background = sample_background(rng, shot.height, shot.width)
    lens = sample_lens(rng, float(np.hypot(*SIZE)), skin_tone(member.traits))
    rendered = person.render(params, shot.world_to_cam[0], shot.K, shot.height, shot.width, sample_lighting(rng))
    return photograph(rendered.color + background * (1 - rendered.alpha[..., None]), lens, rng)


def main() -> int:
    """Renders both splits; exit code 2 when the folder is taken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/emotions"))
    parser.add_argument("--train-people", type=int, default=24)
    parser.add_argument("--val-people", type=int, default=8)
    parser.add_argument("--photos", type=int, default=2, help="of each emotion and person")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=cpu_count())
    arguments = parser.parse_args()
    if arguments.out.exists():
        print(f"emotion_stand_in: error: {arguments.out} exists; remove it or name another folder", file=sys.stderr)
        return 2
    for folder in FOLDERS.values():
        for part in ("images", "annotations"):
            (arguments.out / folder / part).mkdir(parents=True)
    people = [("train", k) for k in range(arguments.train_people)] + [("val", k) for k in range(arguments.val_people)]
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        futures = [
            pool.submit(render_person, arguments.out, split, number, arguments.photos, arguments.seed) for split, number in people
        ]
        count = sum(future.result() for future in futures)
    print(f"{arguments.out}: {count} photos of {len(people)} rendered people")
    return 0


if __name__ == "__main__":
    sys.exit(main())
