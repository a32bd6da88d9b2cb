"""Predictions that are no surface are told; sound meshes of every kind at hand are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sheap.evaluation.mesh_files import TriangleMesh
from sheap.evaluation.mesh_surface import LARGEST_AREA, LONGEST_EDGE, MOST_FOLDED, surface_figures, surface_problems
from sheap.evaluation.now.dataset import NowDataset
from sheap.evaluation.now.metric import evaluate_pair
from sheap.evaluation.now.submission import NowPrediction, check_submission, prediction_problems, write_prediction
from sheap.head import HeadModel
from sheap.head.ict import read_ict

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


@pytest.fixture(scope="module")
def mesh(head: HeadModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean head's vertices and faces, and landmarks, mm."""
    return made(head, torch.zeros(1, head.num_shape))


def made(head: HeadModel, shape: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    vertices = head.neutral(shape)
    landmarks = 1000 * head.now_landmarks(vertices)[0].double().numpy()
    return 1000 * vertices[0].double().numpy(), head.faces.numpy(), landmarks


def test_sound_meshes_are_not_warned_of(head: HeadModel, mesh) -> None:
    rng = torch.Generator().manual_seed(0)
    for sigma in (1, 2, 3, 3, 4):
        assert surface_problems(*made(head, sigma * torch.randn(1, head.num_shape, generator=rng))) == (), sigma
    vertices, faces, landmarks = mesh
    corners = vertices[faces.ravel()]  # every face with vertices of its own, as converters write
    split = np.arange(len(corners)).reshape(-1, 3)
    assert surface_figures(corners, split, landmarks) == pytest.approx(surface_figures(*mesh))
    flipped = faces.copy()
    flipped[::2] = flipped[::2, ::-1]
    assert surface_problems(vertices, flipped, landmarks) == ()
    assert surface_problems(vertices / 1000, faces, landmarks / 1000) == ()


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is absent")
def test_real_scans_other_models_and_decimated_meshes_are_far_from_the_limits() -> None:
    found = []
    for path in sorted((SHARED / "reference/now").glob("*.npz")):
        with np.load(path) as pair:
            for kind in ("scan", "pred"):
                found.append(surface_figures(pair[f"{kind}_v"], pair[f"{kind}_f"].astype(np.int64), pair[f"{kind}_lmks7"]))
    ict = read_ict(SHARED / "reference/ict/ict_light.npz")
    rng = np.random.default_rng(0)
    for sigma in (0, 1, 3):
        people = 1000 * ict.people(sigma * rng.normal(size=len(ict.modes)))
        found.append(surface_figures(people, ict.faces, people[ict.now_vertices]))
    for edge, area, folded, *_ in found:
        assert edge < 0.5 * LONGEST_EDGE and area < 0.5 * LARGEST_AREA and folded < 0.5 * MOST_FOLDED


def broken_meshes(vertices: np.ndarray, faces: np.ndarray):
    rng = np.random.default_rng(0)
    count = len(vertices)
    yield "rolled by a corner", vertices, np.roll(faces.ravel(), 1).reshape(-1, 3)
    yield "one column rolled", vertices, np.stack([faces[:, 0], np.roll(faces[:, 1], 1), faces[:, 2]], 1)
    yield "shifted by one", vertices, (faces + 1) % count
    yield "one vertex lost", np.delete(vertices, count // 2, 0), np.minimum(faces, count - 2)
    yield "counted from the end", vertices[::-1], faces
    yield "another mesh's faces", vertices, rng.permutation(count)[faces]
    some = faces.copy()
    some[::100] = rng.integers(0, count, some[::100].shape)
    yield "a hundredth at random", vertices, some
    for size_mm in (2, 10, 30):
        yield f"noise of {size_mm} mm", vertices + rng.normal(size=vertices.shape) * size_mm, faces


def test_faces_that_skip_over_the_head_and_noise_are_told(mesh) -> None:
    vertices, faces, landmarks = mesh
    for name, broken, topology in broken_meshes(vertices, faces):
        assert surface_problems(broken, topology, landmarks), name
        problems = prediction_problems(NowPrediction(TriangleMesh(broken, topology), landmarks))
        assert any("near the face" in problem for problem in problems), name


def test_check_and_metric_both_tell(scan, prediction, benchmark, predictions) -> None:
    """The median of a rolled prediction is no worse, and its warning says why."""
    rolled = np.roll(prediction.faces.ravel(), 7).reshape(-1, 3)
    with pytest.warns(UserWarning, match="near the face"):
        result = evaluate_pair(
            scan.vertices, scan.faces, scan.landmarks, prediction.vertices, rolled, prediction.landmarks
        )
    assert any("near the face" in remark for remark in result.warnings)
    dataset = NowDataset.open(benchmark)
    image = dataset.images[0]
    scale = 1000 / 1.1
    write_prediction(predictions, image, TriangleMesh(scale * prediction.vertices, rolled), scale * prediction.landmarks)
    check = check_submission(predictions, dataset)
    assert list(check.problems) == [str(image)] and "near the face" in " ".join(check.problems[str(image)])
