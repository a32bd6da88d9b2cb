"""Rendered people's light against a path tracer's, by region of the face: `python -m experiments.people_light FOLDER`.

FOLDER holds scenes of this project and their pictures by Blender's Cycles, from a tool that exports the first people of
cast seed 77 (scene_N.pkl, traced_N.npy: linear RGBA). Both sides are compared in linear light before lens and background.
The tool lays a sky whose middle column comes from +x over Blender's, whose middle is -x there: `--turn` puts the scenes'
skies right, once, between its export and its render.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.people.cast import cast_member
from sheap.people.filming import sample_shot
from sheap.people.lighting import sample_lighting
from sheap.people.person import Person
from sheap.people.photo_session import _pose
from sheap.people.studio import Studio, shared_studio

SEED = 77
REGIONS = ("skin, lit", "skin, shaded", "eyes", "hair", "under brows", "under nose", "lips", "all")
_BROWS = [222, 223, 224, 221, 442, 443, 444, 441, 56, 286]
_NOSE = [2, 97, 326, 164, 167, 393, 165, 391]
_LIPS = [0, 17, 37, 267, 84, 314, 181, 405, 39, 269]


def own_picture(studio: Studio, number: int, size: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Linear light [S, S, 3], alpha and regions' masks of a scene as the tool sets it up."""
    member = cast_member(SEED, "train", number, studio.head)
    person = Person(studio, member.shape, member.traits, member.looks_seed)
    rng = member.rng(1)
    shot = sample_shot(
        rng, np.zeros(1, np.float32), [(size, size)], distance=(0.6, 1.4), fill=(0.55, 0.7), elevation_deg=8.0,
        shake=0.0, off_centre=0.03,
    )  # fmt: skip
    challenge = "multiview_neutral" if number % 2 else "multiview_expressions"
    params = _pose(studio, member, challenge, int(rng.integers(1, 4)), 5, rng)
    rendered = person.render(params, shot.world_to_cam[0], shot.K, size, size, sample_lighting(rng))
    names = np.array([piece.name for piece in person.scene.pieces] + ["none"])[rendered.piece_ids]
    points = studio.head.landmarks(torch.from_numpy(person.pose(params)[0])).numpy()
    in_cam = points @ shot.world_to_cam[0, :3, :3].T + shot.world_to_cam[0, :3, 3]
    pixels = (in_cam @ shot.K.T)[:, :2] / in_cam[:, 2:]
    return rendered.color, rendered.alpha, names, pixels


def region_masks(names: NDArray, pixels: NDArray, traced: NDArray) -> dict[str, NDArray[np.bool_]]:
    """Where each region is: [H, W] by name. Lit and shaded skin are the brighter and the darker half of the face."""
    size = len(names)
    y, x = np.mgrid[0:size, 0:size] + 0.5
    radius = 0.02 * np.ptp(pixels[:, 1])

    def near(landmarks: list[int]) -> NDArray[np.bool_]:
        away = np.hypot(x[..., None] - pixels[landmarks, 0], y[..., None] - pixels[landmarks, 1])
        return away.min(-1) < max(radius, 1.5)

    face = names == "skin face"
    bright = traced.mean(-1)
    middle = np.median(bright[face])
    skin = np.isin(names, ["skin face", "skin skull", "skin nape"])
    hair = np.isin(names, ["hair", "bun"])
    eyes = np.char.startswith(names.astype(str), "eye ")
    return {
        "skin, lit": face & (bright >= middle),
        "skin, shaded": face & (bright < middle),
        "eyes": eyes,
        "hair": hair,
        "under brows": face & near(_BROWS),
        "under nose": face & near(_NOSE),
        "lips": face & near(_LIPS),
        "all": skin | hair | eyes,
    }


def measure(folder: Path) -> list[dict[str, tuple[float, float]]]:
    """For each scene and region that it has: mean difference and mean absolute difference to the path tracer, in shares
    of the light that the path tracer found in all of the head."""
    studio, scenes = shared_studio(), []
    for path in sorted(folder.glob("traced_*.npy")):
        traced = np.load(path)
        color, alpha, names, pixels = own_picture(studio, int(path.stem.split("_")[1]), len(traced))
        solid = (alpha == 1) & (traced[..., 3] > 0.99)
        masks = region_masks(names, pixels, traced[..., :3])
        scale = traced[masks["all"] & solid, :3].mean()
        difference = (color - traced[..., :3]) / scale
        scenes.append(
            {
                name: (float(difference[mask & solid].mean()), float(np.abs(difference[mask & solid]).mean()))
                for name, mask in masks.items()
                if (mask & solid).sum() > 5
            }
        )
    return scenes


def turn_skies(folder: Path) -> None:
    """Half a turn about the vertical for the sky of every scene of a folder.

    The path tracer's scenes are pickles, which run what is in them: only for a folder that its own export wrote.
    """
    for path in sorted(folder.glob("scene_*.pkl")):
        scene = pickle.loads(path.read_bytes())
        scene["sky"] = np.ascontiguousarray(np.roll(scene["sky"], scene["sky"].shape[1] // 2, axis=1))
        path.write_bytes(pickle.dumps(scene))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the path tracer's scenes and pictures are")
    parser.add_argument("--turn", action="store_true", help="put the scenes' skies right and stop (once, before tracing)")
    args = parser.parse_args()
    if args.turn:
        turn_skies(args.folder)
        return
    scenes = measure(args.folder)
    if not scenes:
        sys.exit(f"{args.folder}: no traced_*.npy in it; render its scenes with the path tracer first")
    print(f"{len(scenes)} scenes; shares of the head's mean light\n")
    print("| region | scenes | mean difference | mean absolute difference |\n|---|---:|---:|---:|")
    for region in REGIONS:
        values = np.array([scene[region] for scene in scenes if region in scene]).reshape(-1, 2)
        signed, absolute = values.mean(0) if len(values) else (np.nan, np.nan)
        print(f"| {region} | {len(values)} | {signed:+.2f} | {absolute:.2f} |")


if __name__ == "__main__":
    main()
