"""What jitters is smoothed, what happens is kept, and nothing comes late."""

from __future__ import annotations

import numpy as np
import pytest

from sheap.evaluation.video_metrics import jitter
from sheap.prediction.smoothing import WIDTHS, apply_window, noise_of, smoothed, window_weights
from sheap.prediction.steadied import FACE_AGREEMENT, LID_AGREEMENT, POSE_AGREEMENT

FRAMES = 200
TIMES = np.arange(FRAMES) / 25


@pytest.fixture
def noise() -> np.ndarray:
    return 0.01 * np.random.default_rng(0).standard_normal((FRAMES, 3))


def test_noise_is_measured_and_taken_away(noise: np.ndarray) -> None:
    np.testing.assert_allclose(noise_of(noise), 0.01, rtol=0.2)
    found = smoothed(TIMES, noise, 4.0, together=True)
    assert jitter(found[:, None]) < jitter(noise[:, None]) / 20
    assert np.abs(found).max() < 0.012


def test_a_blink_keeps_its_depth_and_its_moment(noise: np.ndarray) -> None:
    blink = np.zeros((FRAMES, 3))
    blink[100:105, 0] = [0.5, 0.95, 1.0, 0.9, 0.4]
    found = smoothed(TIMES, blink + noise, LID_AGREEMENT, together=False)
    assert found[:, 0].max() > 0.95 and np.abs(found[98:107, 0] - blink[98:107, 0]).max() < 0.06
    assert int(found[:, 0].argmax()) == 102
    assert np.abs(found[98:107, 1:]).max() < 0.02, "columns in which nothing happens are smoothed on"
    assert jitter(found[20:90, None]) < jitter(noise[20:90, None]) / 10


def test_a_plosive_of_two_frames_stays(noise: np.ndarray) -> None:
    """Lips that close for 80 ms in open speech."""
    lips = np.ones((FRAMES, 1))
    lips[60:62] = 0.0
    found = smoothed(TIMES, lips + noise[:, :1], FACE_AGREEMENT, together=False)
    assert found[60:62].max() < 0.15 and found[[57, 64]].min() > 0.9


def test_motion_is_not_late(noise: np.ndarray) -> None:
    motion = np.sin(2 * np.pi * TIMES / 2)[:, None] * [0.3, 0.2, 0.1]
    found = smoothed(TIMES, motion + noise, POSE_AGREEMENT, together=True)
    lags = range(-5, 6)
    inner = slice(20, -20)
    at = [float(((np.roll(found, -lag, 0) - motion)[inner] ** 2).mean()) for lag in lags]
    assert lags[int(np.argmin(at))] == 0
    assert np.abs(found - motion)[inner].max() < 0.03


def test_unrest_above_the_limit_is_motion(noise: np.ndarray) -> None:
    free, bounded = (smoothed(TIMES, noise, 4.0, together=True, most_noise=most) for most in (np.inf, 0.0005))
    assert jitter(bounded[:, None]) > 0.5 * jitter(noise[:, None]) > 5 * jitter(free[:, None])


def test_windows_are_parabolas_at_uneven_times() -> None:
    places = np.cumsum(np.random.default_rng(1).uniform(0.3, 2.5, 60))
    parabola = np.stack([1 + 0.3 * places - 0.02 * places**2, places], 1)
    for width in WIDTHS:
        np.testing.assert_allclose(apply_window(window_weights(places, width), parabola), parabola, atol=1e-6)


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_short_series_are_as_they_were(frames: int, noise: np.ndarray) -> None:
    np.testing.assert_array_equal(smoothed(TIMES[:frames], noise[:frames], 4.0, together=True), noise[:frames])
