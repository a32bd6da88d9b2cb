"""The shipped predictor's training, which goes on for as long as it is let: `python -m experiments.predictor COMMAND`.

train: goes on from STATE/state.pt (or starts) with the photos of `experiments.rendered_photos`, saving its state every few
minutes; stopped or killed, it loses no more than that. anneal: a copy of the state is trained on while its rate falls, and is
written as a model folder (STATE/annealed/model). measure: how well a model knows people that it never saw. ship: that model
becomes the package's own (sheap/shipped_model) if it knows them better than the one there by LEAST_GAIN. Settings:
experiments/configs/predictor.yaml.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.landmark_habits import learn_habits
from experiments.rendered_photos import CAMPAIGN_DIR, assemble
from experiments.training_runs import CONFIGS, ExperimentSettings, train_params
from experiments.unseen_people import measure_people
from sheap.bundle import CONFIG_NAME, SHIPPED_MODEL, WEIGHTS_NAME
from sheap.data.reader import ShardReader
from sheap.networks.sheap_network import SheapNetwork
from sheap.predictor import SheapPredictor
from sheap.training.config import RunConfig
from sheap.training.optimizer import build_scheduler
from sheap.training.run import RunData, TrainingRun
from sheap.training.state import TrainingState
from sheap.video.face_landmarker import FaceLandmarker

STATE_NAME = "state.pt"
LEAST_GAIN = 0.02
"""Share by which the error from one photo must fall for a new model to be shipped: each is 12 MB more in every clone."""


class TimeIsUp(Exception):
    """Training was asked to stop about now; its state is saved."""


class Keeper:
    """Hears the loop: appends to history.jsonl, keeps the state, and ends the run when its time is up."""

    def __init__(self, folder: Path, minutes: float) -> None:
        self._folder, self._end = folder, time.monotonic() + 60 * minutes

    def logged(self, record: dict[str, Any]) -> None:
        with (self._folder / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in record.items() if not k.endswith("prior")}
        print(shown, flush=True)

    def checkpoint(self, state: TrainingState) -> None:
        state.save(self._folder / STATE_NAME)
        if time.monotonic() > self._end:
            raise TimeIsUp

    def panels(self, step: int, network: SheapNetwork) -> None:
        """Nothing is drawn: `measure` draws."""


def campaign_config(path: Path, changes: dict[str, Any] | None = None) -> RunConfig:
    """params.yaml's section `train` with the campaign's changes, and further ones."""
    settings = ExperimentSettings.read(path)
    return train_params(settings.changes, {"training.seed": settings.seeds[0]}, changes or {})


def train(state: Path, config: RunConfig, minutes: float, start: Path | None = None) -> TrainingRun:
    """Trains from `state`/state.pt, or from start (another state) where there is none, or from random weights."""
    state.mkdir(parents=True, exist_ok=True)
    run = TrainingRun.start(config)
    known = state / STATE_NAME
    if known.exists():
        run.state.restore(known)
    elif start is not None:
        run.state.restore(start)
        run.state.step = run.state.cursor = 0
        run.state.scheduler = build_scheduler(run.state.optimizer, config.training)
    data = RunData.open(config, shards_of(state))
    with contextlib.suppress(TimeIsUp):
        run.train(data, Keeper(state, minutes))
    return run


def shards_of(state: Path) -> Path:
    """The campaign's photos, for itself and for the copy in a folder below it."""
    return (state if (state / "photos").is_dir() else state.parent) / "shards"


def ship(model: Path, people: Path, most: int) -> None:
    """Replaces the package's predictor. Raises SystemExit with both errors where the gain is too small."""
    found = measure_people(SheapPredictor.load(model).network, people, most)
    if (SHIPPED_MODEL / CONFIG_NAME).exists():
        try:
            before = measure_people(SheapPredictor.load().network, people, most)["identity_one"]
        except ValueError as error:  # it was trained with an earlier open head
            print(f"the shipped model cannot be measured ({error})")
        else:
            if found["identity_one"] > (1 - LEAST_GAIN) * before:
                sys.exit(f"{model}: {found['identity_one']:.3f} where the shipped one has {before:.3f}: too small a gain to ship")
    SHIPPED_MODEL.mkdir(exist_ok=True)
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        shutil.copyfile(model / name, SHIPPED_MODEL / name)
    print(json.dumps({name: round(value, 4) for name, value in found.items()}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("train", "anneal", "measure", "ship"))
    parser.add_argument("--state", type=Path, default=CAMPAIGN_DIR)
    parser.add_argument("--config", type=Path, default=CONFIGS / "predictor.yaml")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="train for about so long")
    parser.add_argument("--steps", type=int, default=1500, help="of anneal")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--people", type=int, default=600, help="measure: held-out people at most")
    parser.add_argument("--model", type=Path, help="a folder (default of measure: the running average; of ship: annealed/model)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.command == "train":
        manifest = assemble(arguments.state)
        print({split: (info.num_clips, info.num_frames) for split, info in manifest.splits.items()}, flush=True)
        train(arguments.state, campaign_config(arguments.config), arguments.minutes)
    elif arguments.command == "anneal":
        changes = {
            "training.landmark_phase": {"steps": arguments.steps, "batch_size": 24, "rendered_pairs": 0},
            "training.optimizer.final_fraction": 0.01,
            "training.optimizer.warmup_steps": 1,
            # Short enough to have forgotten the level rate's noise at the end.
            "training.optimizer.ema_decay": 0.98,
        }
        config = campaign_config(arguments.config, changes)
        folder = arguments.state / "annealed"
        run = train(folder, config, arguments.minutes, arguments.state / STATE_NAME)
        before, after = learn_habits(
            run.state.average.network, ShardReader(shards_of(arguments.state) / "train", verify_hashes=False), FaceLandmarker()
        )
        print(f"detected landmarks lie {before:.4f} image sides from the true heads', {after:.4f} once the detector is known")
        (folder / "model").mkdir(exist_ok=True)
        run.save_model(folder / "model", half=True)
    elif arguments.command == "ship":
        ship(arguments.model or arguments.state / "annealed" / "model", arguments.state / "shards" / "val", arguments.people)
    else:
        if arguments.model is not None:
            network = SheapPredictor.load(arguments.model).network
        else:
            run = TrainingRun.start(campaign_config(arguments.config))
            run.state.restore(arguments.state / STATE_NAME)
            network = run.state.average.network.eval()
            print("step", run.state.step)
        found = measure_people(network, arguments.state / "shards" / "val", arguments.people)
        print(json.dumps({name: round(value, 4) for name, value in found.items()}, indent=1))


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    sys.exit(main())
