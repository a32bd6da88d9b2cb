"""One clip to a faithful head: `python -m experiments.overfit_clip`.

Trains on a part of one clip's frames and draws the others: identity from a frame it trained on, expression and pose from the
held-out frame. Printed and written to a page: PSNR and SSIM of the held-out frames, beside those of the frames it trained on,
and the picture. Settings: experiments/configs/overfit_clip.yaml.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from experiments.pages import Page
from experiments.training_runs import CONFIGS, ExperimentSettings, train, train_params
from sheap.data.augment import PairAugmenter
from sheap.data.batches import indexed_batches
from sheap.data.frames import Frames, Pairs
from sheap.data.reader import ShardReader
from sheap.losses.ssim import ssim_loss
from sheap.training.panels import COLUMNS, draw_panel
from sheap.training.run import RunData
from sheap.training.step import Models

SHOWN_ROWS = 4


class OverfitSettings(ExperimentSettings):
    """clip: part of the video's name. hold_out_every: of so many frames the last is held out."""

    clip: str
    hold_out_every: int


@dataclass(frozen=True)
class Likeness:
    """Means over frames. psnr_db: of the whole picture over a plain background; head_psnr_db: of the masked head alone."""

    psnr_db: float
    head_psnr_db: float
    ssim: float


class FramePairs(Dataset[Pairs]):
    """Pairs of two different frames of a list, sample by sample from (seed, number)."""

    def __init__(self, frames: Sequence[Frames], num_samples: int, seed: int) -> None:
        self._frames, self._num_samples, self._seed = frames, num_samples, seed

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, index: int) -> Pairs:
        if not 0 <= index < self._num_samples:
            raise IndexError(index)
        source, target = np.random.default_rng([self._seed, index]).choice(len(self._frames), 2, replace=False)
        return Pairs(self._frames[source], self._frames[target])


def clip_frames(reader: ShardReader, name: str, size: int) -> list[Frames]:
    """Frames, resized, of the longest clip of a video whose name contains `name`. Raises ValueError when there is none."""
    numbers = [number for number in range(len(reader)) if name in reader.record(number).video]
    if not numbers:
        raise ValueError(f"{reader.folder}: no clip of a video named like '{name}'")
    clip = reader.clip(max(numbers, key=reader.num_frames))
    resize, rng = PairAugmenter(size, None), np.random.default_rng(0)
    frames = [Frames.from_arrays(*parts) for parts in zip(clip.images, clip.masks, clip.landmarks, strict=True)]
    return [resize(Pairs(frame, frame), rng).source for frame in frames]


def held_out_places(num_frames: int, every: int) -> list[int]:
    """The last of every `every` frames."""
    return list(range(every - 1, num_frames, every))


@torch.no_grad()
def reenacted(models: Models, source: Frames, targets: Sequence[Frames]) -> tuple[Tensor, Tensor, Tensor]:
    """Renders, what they should be (both [B, H, W, 3] over grey) and the masks [B, H, W, 1]."""
    pairs = Pairs.stack([Pairs(source, target) for target in targets])
    grey = torch.full((len(pairs), 3), 0.5)
    drawn = models.reenactor(pairs.source.colors(), pairs.target.colors(), grey).head
    return drawn.color, pairs.target.over(grey), pairs.target.coverage()


def likeness(rendered: Tensor, wanted: Tensor, masks: Tensor) -> Likeness:
    """Of renders [B, H, W, 3] and what they should be, with masks [B, H, W, 1]."""
    squared = (rendered.clamp(0, 1) - wanted).square()
    whole = squared.mean((1, 2, 3))
    head = (squared * masks).sum((1, 2, 3)) / (3 * masks.sum((1, 2, 3)))
    return Likeness(
        psnr_db=float((-10 * whole.log10()).mean()),
        head_psnr_db=float((-10 * head.log10()).mean()),
        ssim=1 - float(ssim_loss(rendered.clamp(0, 1), wanted)),
    )


def overfit(settings: OverfitSettings, seed: int, data: Path) -> tuple[dict[str, Likeness], NDArray[np.uint8], str]:
    """Likeness of held-out and training frames, the picture (uint8 RGB), and a line about the clip."""
    params = train_params(settings.changes, {"training.seed": seed})
    size = params.network().encoder.image_size
    frames = clip_frames(ShardReader(data / "shards" / "train"), settings.clip, size)
    places = held_out_places(len(frames), settings.hold_out_every)
    held_out, known = [frames[k] for k in places], [f for k, f in enumerate(frames) if k not in places]
    if not held_out or len(known) < 2:
        raise ValueError(f"hold_out_every: {settings.hold_out_every} leaves no frames of {len(frames)}")
    make_batches = indexed_batches(lambda num_samples, seed: FramePairs(known, num_samples, seed))
    trained = train(params, RunData(make_batches, [], {}))
    models = trained.models
    source = known[0]
    found = {
        "held-out frames": likeness(*reenacted(models, source, held_out)),
        "training frames": likeness(*reenacted(models, source, known)),
    }
    shown = held_out[:: max(1, len(held_out) // SHOWN_ROWS)][:SHOWN_ROWS]
    rows = Pairs.stack([Pairs(source, target) for target in shown])
    about = f"{len(frames)} frames of {size} px, {len(known)} trained on, {len(held_out)} held out; preset {params.preset}, "
    return found, draw_panel(models, models.network, rows), about + f"{params.training.total_steps} steps"


def main() -> int:
    """Trains, prints and writes the page; exit code 2 for a user's mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIGS / "overfit_clip.yaml")
    parser.add_argument("--data", type=Path, default=Path("data"), help="has shards/train")
    parser.add_argument("--clip", help="another clip than the settings': part of its video's name")
    parser.add_argument("--out", type=Path, help="a folder for overfit_clip.json, .md and .png")
    arguments = parser.parse_args()
    page = Page("One clip, overfitted", "python -m experiments.overfit_clip --out docs/results")
    try:
        settings = OverfitSettings.read(arguments.config)
        if arguments.clip is not None:
            settings = settings.model_copy(update={"clip": arguments.clip})
        runs = [overfit(settings, seed, arguments.data) for seed in settings.seeds]
    except (ValueError, OSError) as error:
        print(f"overfit_clip: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    page.line(f"Clip '{settings.clip}': {runs[0][2]}. Each frame is drawn from the identity of one training frame and its own")
    page.line("expression and pose, over grey, beside the frame's masked head.")
    rows = []
    for seed, (found, _, _) in zip(settings.seeds, runs, strict=True):
        rows += [[str(seed), name, f"{v.psnr_db:.2f}", f"{v.head_psnr_db:.2f}", f"{v.ssim:.4f}"] for name, v in found.items()]
    page.table(["seed", "frames", "PSNR, dB", "PSNR of the head, dB", "SSIM"], rows)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(arguments.out / "overfit_clip.png"), cv2.cvtColor(runs[0][1], cv2.COLOR_RGB2BGR))
        page.line(f"Held-out frames, a row each: {', '.join(COLUMNS)}:")
        page.line("\n![Held-out frames](overfit_clip.png)")
    record = {"settings": settings.model_dump(mode="json"), "runs": [{k: vars(v) for k, v in f.items()} for f, _, _ in runs]}
    page.finish("overfit_clip", record, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
