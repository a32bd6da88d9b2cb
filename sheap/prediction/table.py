"""Predicted parameters as a table: a row a face and frame, as named columns (.parquet) and as named arrays (.npz)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sheap.evaluation.verdict import MOST_DISAGREEMENT, Verdict
from sheap.files import whole_file, write_arrays
from sheap.head import HeadParams
from sheap.prediction.rows import Prediction
from sheap.transfer.arkit import ARKIT_NAMES

Arkit = Callable[[HeadParams], Tensor]
"""Heads [F] to weights [F, 52]: SheapPredictor.arkit."""

Columns = dict[str, NDArray[np.generic]]


def table_of(prediction: Prediction, arkit: Arkit) -> Columns:
    """Arrays by name, each with a row a face and frame: by person, then by time.

    person, track, shot, frame [F] int64; time_s; verdict ("sure", "doubtful"), confidence, presence, disagreement, yaw_deg of the
    single frame; crop [F, 3]; box [F, 4]; turned_deg; every parameter that the head model has (sheap.head.HeadParams) as
    [F, ...]; arkit [F, 52] (NaN: the head has nothing like it).
    """
    tables = []
    for person in prediction.people:
        rows = person.rows
        verdicts = rows.verdicts()
        tables.append(
            {
                "person": np.full(len(rows), person.number),
                "track": rows.tracks.numpy(),
                "shot": rows.shots.numpy(),
                "frame": rows.frames.numpy(),
                "time_s": rows.times_s.numpy(),
                "verdict": np.array([verdict.word for verdict in verdicts]),
                "confidence": np.array([confidence(verdict) for verdict in verdicts], np.float32),
                "presence": rows.presence.float().numpy(),
                "disagreement": rows.disagreement.float().numpy(),
                "yaw_deg": rows.yaw_deg.float().numpy(),
                "crop": rows.crops.numpy(),
                "box": rows.boxes.numpy(),
                "turned_deg": rows.turned_deg.float().numpy(),
                **{name: value.numpy() for name, value in rows.params.present().items()},
                "arkit": arkit(rows.params).numpy(),
            }
        )
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def confidence(verdict: Verdict) -> float:
    """0 to 1: presence, less by half at the disagreement from which on a prediction is doubtful, nothing at twice as much."""
    if verdict.disagreement is None:
        return verdict.presence
    return verdict.presence * min(1.0, max(0.0, 1 - verdict.disagreement / (2 * MOST_DISAGREEMENT)))


def write_npz(path: Path, table: Columns) -> None:
    """The arrays, and arkit_names [52]. Raises NotWritten."""
    write_arrays(path, {**table, "arkit_names": np.array(ARKIT_NAMES)})


def write_parquet(path: Path, table: Columns) -> None:
    """One column a number (`flat`). Raises NotWritten."""
    import pyarrow
    import pyarrow.parquet

    with whole_file(path) as file:
        pyarrow.parquet.write_table(pyarrow.table(flat(table)), file)


def flat(table: Columns) -> Columns:
    """Arrays [F, N] as N columns: jaw_rotvec_x, expression_07, arkit_jawOpen, crop_center_x, box_left, ..."""
    columns: Columns = {}
    for name, values in table.items():
        if values.ndim == 1:
            columns[name] = values
        else:
            columns |= dict(zip(_names(name, values.shape[1]), np.ascontiguousarray(values.T), strict=True))
    return columns


def _names(name: str, count: int) -> list[str]:
    if name == "arkit":
        return [f"arkit_{shape}" for shape in ARKIT_NAMES]
    if name == "crop":
        return ["crop_center_x", "crop_center_y", "crop_side"]
    if name == "box":
        return [f"box_{side}" for side in ("left", "top", "right", "bottom")]
    if name == "translation" or name.endswith("_rotvec"):
        return [f"{name}_{axis}" for axis in "xyz"]
    if name == "eyelids" and count == 2:
        return ["eyelid_left", "eyelid_right"]
    digits = max(2, len(str(count - 1)))
    return [f"{name}_{number:0{digits}d}" for number in range(count)]
