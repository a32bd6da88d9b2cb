"""The bound on what landmarks tell of identity: its leave-one-out formula, and its alignment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from experiments.identity_in_landmarks import forms, left_out_shapes, main


def test_leaving_one_out_equals_fitting_without_it() -> None:
    rng = np.random.default_rng(0)
    features, shapes = rng.normal(size=(12, 5)), rng.normal(size=(12, 3))
    ridge = 2.0
    found = left_out_shapes(features, shapes, ridge)
    scaled = (features - features.mean(0)) / features.std(0).mean()
    for k in range(12):
        kept = np.arange(12) != k
        a, b = scaled[kept], shapes[kept]
        weights = np.linalg.solve(a.T @ a + ridge * np.eye(5), a.T @ b)
        np.testing.assert_allclose(found[k], scaled[k] @ weights, atol=1e-9)


def test_forms_forget_pose_and_keep_differences() -> None:
    rng = np.random.default_rng(1)
    faces = rng.normal(size=(3, 478, 3))
    clips = []
    for face in faces:
        turns = Rotation.random(4, random_state=2).as_matrix()
        clips.append(np.stack([5 * face @ turn.T + rng.normal(size=3) for turn in turns]))
    one, every = forms(clips, 1), forms(clips, None)
    np.testing.assert_allclose(one, every, atol=1e-6)
    # Three random clouds stay far more apart than the turns of one.
    assert np.abs(one[0] - one[1]).mean() > 1e-3


def test_a_folder_without_shards_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["identity_in_landmarks", "--shards", str(tmp_path / "none")])
    assert main() == 1
    assert str(tmp_path) in capsys.readouterr().err
