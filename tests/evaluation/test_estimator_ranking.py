"""The ranking experiment: distortions are what they are called, and estimators are compared by sound figures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import estimator_ranking
from experiments.distorted_heads import PREDICTORS, Subject, head_model, neutral_mm, noisy, scaled, slid, strayed
from experiments.estimator_ranking import agreement, as_markdown, mean_errors, measure_subject, predictors, rank
from sheap.evaluation.closest_point import TriangleTree
from sheap.evaluation.head_meshes import neutral_meshes
from sheap.evaluation.landmark_files import write_picked_points
from sheap.evaluation.mesh_files import write_obj
from sheap.networks.config import PRESETS
from sheap.networks.sheap_network import SheapNetwork


@pytest.fixture(scope="module")
def subject() -> Subject:
    shape = np.random.default_rng(3).standard_normal(head_model().num_shape).astype(np.float32)
    return Subject("ann", shape, neutral_mm(shape), 0)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory, subject: Subject) -> Path:
    """A benchmark whose only scan is the true head itself."""
    root = tmp_path_factory.mktemp("benchmark")
    for folder in ("scans", "scans_lmks_onlypp"):
        (root / folder / "ann").mkdir(parents=True)
    (mesh,), landmarks = neutral_meshes(head_model(), torch.from_numpy(subject.shape)[None])
    write_obj(root / "scans/ann/ann.obj", mesh)
    write_picked_points(root / "scans_lmks_onlypp/ann/ann.pp", landmarks[0], "ann.obj")
    (root / "imagepathsvalidation.txt").write_text("ann/selfie/a.jpg\n")
    (root / "benchmark.json").write_text(json.dumps({"subjects": [{"name": "ann", "shape": subject.shape.tolist()}]}))
    return root


def test_distortions_are_what_they_are_called(subject: Subject) -> None:
    np.testing.assert_allclose(scaled(1.0)(subject), subject.truth, atol=1e-4)
    np.testing.assert_allclose(scaled(0.0)(subject), PREDICTORS["mean head"](subject))
    np.testing.assert_allclose(strayed(0.0)(subject), subject.truth, atol=1e-4)
    assert (noisy(0.5)(subject) - subject.truth).std() == pytest.approx(0.5, rel=0.05)
    moved = slid(2.0)(subject)
    tree = TriangleTree(subject.truth, head_model().faces.numpy())
    assert tree.query(moved).distances.max() < 1e-9
    assert 0.8 < np.linalg.norm(moved - subject.truth, axis=1).mean() < 2.0
    for make in PREDICTORS.values():
        vertices = make(subject)
        assert vertices.shape == subject.truth.shape and np.isfinite(vertices).all()
        np.testing.assert_array_equal(vertices, make(subject))


def test_now_is_blind_to_sliding_and_the_true_error_is_not(subject: Subject, rendered: Path) -> None:
    predictions = {"half": scaled(0.5)(subject), "slid": slid(4.0)(subject), "truth": subject.truth}
    found = measure_subject(rendered, subject, predictions)
    for estimator in ("true", "NoW", "landmarks + closest", "non-rigid, 7"):
        assert found["truth"][estimator] < 0.01, estimator
    assert found["slid"]["true"] > 1.5 * found["half"]["true"]
    assert found["slid"]["NoW"] < 0.7 * found["half"]["NoW"]
    assert found["slid"]["non-rigid, 51"] > 2 * found["slid"]["NoW"]


def test_agreement_of_a_perfect_a_reversed_and_a_half_right_estimator() -> None:
    table = {
        name: {"true": value, "same": 2 * value + 1, "reversed": -value, "half": half}
        for name, value, half in (("a", 1.0, 1.0), ("b", 2.0, 3.0), ("c", 3.0, 2.0))
    }
    found = agreement(table)
    assert found["same"]["pearson"] == pytest.approx(1) and found["same"]["pairs_ranked_wrongly"] == 0
    assert found["reversed"]["kendall"] == pytest.approx(-1) and found["reversed"]["pairs_ranked_wrongly"] == 3
    assert found["half"]["spearman"] == pytest.approx(0.5) and found["half"]["pairs_ranked_wrongly"] == 1
    text = as_markdown(table, found)
    assert "| b | 2.00 (2) | 5.00 (2) | -2.00 (2) | 3.00 (3) |" in text
    assert "| half | 0.50 | 0.50 | 0.33 | 1 of 3 |" in text


def test_means_over_subjects_are_in_the_order_of_the_truth() -> None:
    first = {"x": {"true": 3.0, "NoW": 1.0}, "y": {"true": 1.0, "NoW": 2.0}}
    second = {"x": {"true": 5.0, "NoW": 3.0}, "y": {"true": 1.0, "NoW": 4.0}}
    assert mean_errors([first, second]) == {"y": {"true": 1.0, "NoW": 3.0}, "x": {"true": 4.0, "NoW": 2.0}}


def test_the_program_ranks_a_folder(rendered: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {name: PREDICTORS[name] for name in ("mean head", "coefficients x 0.5", "noisy, 1 mm")}
    monkeypatch.setattr(estimator_ranking, "PREDICTORS", chosen)
    arguments = argparse.Namespace(
        benchmark=rendered, subjects=1, model=[], checkpoints=None, preset="tiny", photos=1, workers=1,
        out=tmp_path / "ranking.json",
    )  # fmt: skip
    assert rank(arguments) == 0
    assert "1 subjects" in capsys.readouterr().out
    assert set(json.loads((tmp_path / "ranking.json").read_text())["errors_mm"]) == set(chosen)
    (rendered / "benchmark.json").rename(tmp_path / "kept.json")
    try:
        with pytest.raises(ValueError, match="not a rendered benchmark"):
            rank(arguments)
    finally:
        (tmp_path / "kept.json").rename(rendered / "benchmark.json")
    arguments.checkpoints = tmp_path
    with pytest.raises(ValueError, match=r"no checkpoint_\*/state\.pt"):
        rank(arguments)


def test_checkpoints_of_a_training_run_are_predictors(tmp_path: Path) -> None:
    network = SheapNetwork(PRESETS["tiny"], head_model(), image_feature_size=None)
    for step in (20, 40):
        folder = tmp_path / f"checkpoint_{step}"
        folder.mkdir()
        torch.save({"step": step, "average": network.state_dict()}, folder / "state.pt")
    arguments = argparse.Namespace(model=[], checkpoints=tmp_path, preset="tiny")
    found = list(predictors(arguments))
    assert [label for label, _ in found] == ["trained, step 20", "trained, step 40"]
    size = found[0][1].image_size
    pictures = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected = network.eval().encode(pictures).params.shape
    torch.testing.assert_close(found[0][1].predict(pictures).shape, expected, rtol=1e-4, atol=1e-5)
    arguments.preset = "huge"
    with pytest.raises(ValueError, match="--preset: 'huge' is unknown"):
        list(predictors(arguments))
    torch.save({"step": 1, "average": {"a": torch.zeros(1)}}, tmp_path / "checkpoint_20/state.pt")
    arguments.preset = "tiny"
    with pytest.raises(ValueError, match="do not fit the preset 'tiny'"):
        list(predictors(arguments))
