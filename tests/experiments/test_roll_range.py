"""The measurement behind `ingest.filter.max_roll_deg`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments.roll_range import ROLLS_DEG, identity_changes, main
from sheap.predictor import SheapPredictor
from tests.stage_settings import frame_filter
from tests.video.made_videos import carphone_frames


def test_an_identity_changes_with_the_roll_and_the_setting_lies_where_it_still_holds(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), carphone_frames(1)[0][..., ::-1])
    changes = identity_changes(SheapPredictor.load(), [tmp_path / "a.png"])
    assert list(changes) == list(ROLLS_DEG) and changes[0] == [0.0]
    within = [value for roll, (value,) in changes.items() if 0 < abs(roll) <= frame_filter().max_roll_deg]
    beyond = [value for roll, (value,) in changes.items() if abs(roll) >= 60]
    assert max(within) < min(beyond) and min(beyond) > 1.5


def test_pictures_without_a_face_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 80, 3), np.uint8))
    assert main([str(tmp_path / "a.png")]) == 2
    assert "no face" in capsys.readouterr().err
