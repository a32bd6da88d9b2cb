"""One predictor in many threads, after a fork, pickled and copied: the same answers, and never a wait for ever."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from sheap.predictor import SheapPredictor
from sheap.video.face_landmarker import FaceLandmarker
from tests.video.made_videos import carphone_frames

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    frames = carphone_frames(4, step=20)
    return [frames[0], np.ascontiguousarray(frames[1][:, ::-1]), np.ascontiguousarray(np.rot90(frames[2])), frames[3]]


@pytest.fixture(scope="module")
def predictor() -> SheapPredictor:
    return SheapPredictor.load()


def test_threads_get_the_answers_to_their_own_pictures(predictor, pictures):
    alone = [predictor.predict_image(picture) for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: predictor.predict_image(pictures[number % 4]), range(16)))
    for number, one in enumerate(found):
        np.testing.assert_array_equal(one.landmarks, alone[number % 4].landmarks)
        torch.testing.assert_close(one.params.translation, alone[number % 4].params.translation, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy])
def test_a_used_predictor_is_pickled_and_copied(predictor, pictures, copied):
    expected = predictor.predict_image(pictures[0])
    found = copied(predictor).predict_image(pictures[0])
    np.testing.assert_array_equal(found.landmarks, expected.landmarks)
    torch.testing.assert_close(found.params.shape, expected.params.shape)


def test_a_used_landmarker_goes_to_another_process(pictures):
    landmarker = FaceLandmarker()
    (expected,) = landmarker.process(pictures[0])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (found,) = pool.apply(landmarker.process, (pictures[0],))
    np.testing.assert_array_equal(found.points, expected.points)


FORKING = """
import os, sys, numpy as np, torch
sys.path.insert(0, {repository!r})
from sheap.predictor import SheapPredictor
from tests.video.made_videos import carphone_frames
torch.set_num_threads(4)
torch.rand(3_000_000).exp(), torch.rand(600, 600) @ torch.rand(600, 600)  # OpenMP's threads are there now
predictor = SheapPredictor.load()
picture = carphone_frames(1)[0]
here = predictor.predict_image(picture)
child = os.fork()
if child == 0:
    torch.rand(3_000_000).exp()
    there = predictor.predict_image(picture)
    predictor.mesh(there.params)
    same = np.array_equal(there.landmarks, here.landmarks) and torch.allclose(there.params.shape, here.params.shape, atol=1e-3)
    os._exit(0 if same else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_predicts_and_does_not_hang():
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    program = FORKING.format(repository=str(REPOSITORY))
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
