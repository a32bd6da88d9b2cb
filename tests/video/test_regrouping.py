from __future__ import annotations

import numpy as np
import pytest

from sheap.video.regrouping import MAX_DIFFERENCE, Look, TrackLooks, difference, group_tracks, look_of

HEAD = np.zeros((64, 64), np.uint8)
HEAD[8:60, 12:52] = 255


def look(colour: int, mask: np.ndarray = HEAD, background: int = 0) -> Look:
    crop = np.full((64, 64, 3), background, np.uint8)
    crop[HEAD > 0] = colour
    return look_of(crop, mask)


def track(first_s: float, *colours: int) -> TrackLooks:
    return TrackLooks(first_s, first_s + 0.9, [look(colour) for colour in colours])


def test_only_the_head_is_compared():
    assert difference(look(100), look(100, background=250)) == 0
    assert difference(look(100), look(130)) == pytest.approx(30)
    other_outline = np.zeros_like(HEAD)
    other_outline[30:, 30:] = 255
    assert difference(look(100), look(100, other_outline)) == float("inf")


def test_a_shot_that_is_taken_up_again_is_the_same_person():
    assert group_tracks({3: track(0, 100), 5: track(1, 200), 8: track(2, 103, 180)}) == {3: 0, 5: 1, 8: 0}


def test_nobody_is_merged_in_doubt():
    assert group_tracks({0: track(0, 100), 1: track(1, 100 + int(MAX_DIFFERENCE) + 2)}) == {0: 0, 1: 1}
    # two people are about equally near
    assert group_tracks({0: track(0, 100), 1: track(1, 112), 2: track(2, 106)}) == {0: 0, 1: 1, 2: 2}
    # seen at the same time: twins are two
    assert group_tracks({0: track(0, 100), 1: track(0.5, 100)}) == {0: 0, 1: 1}
    assert group_tracks({}) == {}


def test_the_ends_of_a_track_are_remembered():
    seen = TrackLooks(0.0, 1.0)
    for number in range(4):
        seen.extend(1.0 + number, look(10 * number), look(10 * number + 5))
    assert seen.last_s == 4.0 and len(seen.looks) == 2
    assert difference(seen.looks[0], look(0)) == 0 and difference(seen.looks[1], look(35)) == 0
