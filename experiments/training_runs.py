"""Short training runs in one process: the stage `train`'s own models, data and loop, without Ray and without files.

Settings are those of params.yaml's section `train`, changed by dotted keys (`training.weights.depth: 0`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor
from yaml import safe_load

from pipeline.run.settings import load_params
from pipeline.run.stage import STATE_DIR, cpu_count
from pipeline.train import TrainParams, identify_run
from sheap.data.manifest import Manifest
from sheap.networks.sheap_network import SheapNetwork
from sheap.training.config import RunConfig
from sheap.training.run import RunData, TrainingRun
from sheap.training.state import TrainingState
from sheap.training.step import Models

CONFIGS = Path(__file__).parent / "configs"

Changes = Mapping[str, Any]
At = Callable[[int, SheapNetwork], None]


class ExperimentSettings(BaseModel):
    """What every experiment's small YAML file says. changes: dotted keys below `train`, for all of its runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: tuple[int, ...]
    changes: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises ValueError naming the file and the field."""
        try:
            return cls.model_validate(safe_load(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def train_params(*changes: Changes, path: Path = Path("params.yaml")) -> TrainParams:
    """The section `train` of a params file with dotted keys changed, later ones last.

    Raises ValueError for a key that the section does not have, or a value that it does not allow.
    """
    return load_params("train", TrainParams, path).changed({k: v for change in changes for k, v in change.items()})


def many_runs_parser(description: str, name: str) -> argparse.ArgumentParser:
    """The command line of an experiment of many runs, whose settings are configs/NAME.yaml."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIGS / f"{name}.yaml")
    parser.add_argument("--data", type=Path, default=Path("data"), help="has shards/ and a rendered benchmark/")
    parser.add_argument("--work", type=Path, default=STATE_DIR / "experiments" / name, help="where finished runs are kept")
    parser.add_argument("--workers", type=int, default=cpu_count(), help="runs at a time, a thread each")
    parser.add_argument("--out", type=Path, help=f"a folder for {name}.json and the page")
    return parser


def fingerprint(params: TrainParams, shards: Path, *more: str) -> str:
    """Short hash of all that decides a run (settings, data, code, weight files, and `more`), to know finished runs by."""
    run_hash, _ = identify_run(params, Manifest.read(shards))
    return sha256(" ".join([run_hash, *more]).encode()).hexdigest()[:16]


def _nothing(step: int, network: SheapNetwork) -> None:
    pass


@dataclass
class Trained:
    """models: with the averaged network. validation: the last record of the mean terms on held-out pairs."""

    models: Models
    validation: dict[str, float]


class _Listener:
    """Hears the loop's reports: validation is kept, pictures' turns are the caller's."""

    def __init__(self, at: At) -> None:
        self._at = at
        self.validation: dict[str, float] = {}

    def logged(self, record: dict[str, Any]) -> None:
        if record["kind"] == "validation":
            self.validation = {k: v for k, v in record.items() if isinstance(v, float)}

    def checkpoint(self, state: TrainingState) -> None:
        """Nothing is kept of an experiment's run but its figures."""

    def panels(self, step: int, network: SheapNetwork) -> None:
        self._at(step, network)


def train(
    params: RunConfig, data: RunData, *, start: Mapping[str, Tensor] | None = None, at: At = _nothing
) -> Trained:
    """Trains and validates as the stage does, in this process.

    start: weights to begin with (sheap.training.run.load_start). at: called with the step and the averaged network every
    `training.panels_every` steps and after the last.
    """
    run, listener = TrainingRun.start(params, weights=start), _Listener(at)
    run.train(data, listener)
    return Trained(run.averaged_models(), listener.validation)
