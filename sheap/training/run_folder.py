"""What a run leaves on disk as it goes: history.jsonl, panels/ and its last checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sheap.data.frames import Pairs
from sheap.files import write_picture, write_text
from sheap.networks.sheap_network import SheapNetwork
from sheap.training.panels import draw_panel
from sheap.training.state import TrainingState
from sheap.training.step import Models

HISTORY_NAME = "history.jsonl"
CHECKPOINT_NAME = "state.pt"
PANELS_NAME = "panels"


class RunFolder:
    """A reporter (sheap.training.loop) that writes into a folder. start_step: where training goes on from."""

    def __init__(self, folder: Path, models: Models, panel_pairs: dict[str, Pairs], start_step: int = 0) -> None:
        self._history, self._panels = folder / HISTORY_NAME, folder / PANELS_NAME
        self._checkpoint = folder / CHECKPOINT_NAME
        self._models, self._panel_pairs = models, panel_pairs
        self._panels.mkdir(parents=True, exist_ok=True)
        cut_history(self._history, start_step)

    def logged(self, record: dict[str, Any]) -> None:
        """One line of history.jsonl."""
        with self._history.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def panels(self, step: int, network: SheapNetwork) -> None:
        """A PNG a split."""
        self.draw(step, network)

    def draw(self, step: int, network: SheapNetwork) -> dict[str, NDArray[np.uint8]]:
        """Draws, writes and gives the panels: uint8 RGB by split."""
        drawn = {}
        for split, pairs in self._panel_pairs.items():
            picture = draw_panel(self._models, network, pairs.to(self._models.cameras.K.device))
            write_picture(self._panels / f"{split}-{step:07d}.png", picture)
            drawn[split] = picture
        return drawn

    def checkpoint(self, state: TrainingState) -> None:
        """Replaces the last one."""
        state.save(self._checkpoint)


def cut_history(path: Path, step: int) -> None:
    """Drops what was logged after the checkpoint that training goes on from: those steps come again, at step 0 all of them."""
    if not path.exists():
        return
    if step == 0:
        path.unlink()
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break  # a line cut off by a kill is the last one
        if record["step"] <= step:
            kept.append(line + "\n")
    write_text(path, "".join(kept))
