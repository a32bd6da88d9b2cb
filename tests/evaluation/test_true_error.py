"""The true vertex error, and the rendered benchmark's record of the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from sheap.evaluation.head_meshes import neutral
from sheap.evaluation.now.dataset import NowImage
from sheap.evaluation.predictions import Predictions, mean_heads
from sheap.evaluation.rendered_truth import read_true_shapes, true_errors
from sheap.evaluation.similarity import rodrigues
from sheap.evaluation.true_error import true_vertex_errors
from sheap.head import HeadModel, HeadParams


def test_scale_and_place_do_not_count_shape_does(scan) -> None:
    region = scan.vertices[:, 2] > 30
    moved = 0.4 * scan.vertices @ rodrigues(np.array([1.0, 2.0, 3.0])).T + 7
    np.testing.assert_allclose(true_vertex_errors(moved, scan.vertices, region), 0, atol=1e-9)
    bent = moved + 0.4 * np.sin(scan.vertices / 20)
    errors = true_vertex_errors(bent, scan.vertices, region)
    assert len(errors) == region.sum()
    assert errors.mean() > 0.1
    outside = moved.copy()
    outside[~region] += 100
    np.testing.assert_allclose(true_vertex_errors(outside, scan.vertices, region), 0, atol=1e-9)


def test_sliding_along_the_surface_counts(scan) -> None:
    """What a scan-to-mesh distance cannot see."""
    turned = scan.vertices @ rodrigues(np.array([0.0, 0.0, 0.2])).T
    region = scan.vertices[:, 2] > 30
    mixed = np.where((scan.vertices[:, :1] > 0), turned, scan.vertices)
    assert true_vertex_errors(mixed, scan.vertices, region).mean() > 1


def test_a_mirrored_head_is_not_forgiven(scan) -> None:
    region = scan.vertices[:, 2] > 30
    assert true_vertex_errors(scan.vertices * [-1, 1, 1], scan.vertices, region).mean() > 10


def test_other_shapes_are_refused(scan) -> None:
    region = np.ones(len(scan.vertices), bool)
    with pytest.raises(ValueError, match="predicted: expected the truth's shape"):
        true_vertex_errors(scan.vertices[:-1], scan.vertices, region)
    with pytest.raises(ValueError, match="region: expected a mask"):
        true_vertex_errors(scan.vertices, scan.vertices, region[:-1])
    with pytest.raises(ValueError, match="region: expected a mask"):
        true_vertex_errors(scan.vertices, scan.vertices, ~region)


def test_rendered_truth(tmp_path: Path) -> None:
    head = HeadModel.load()
    shape = np.zeros(head.num_shape, np.float32)
    shape[:4] = [1.5, -2.0, 1.0, 2.0]
    assert read_true_shapes(tmp_path) is None
    record = {"subjects": [{"name": "ann", "shape": shape.tolist()}]}
    (tmp_path / "benchmark.json").write_text(json.dumps(record))
    shapes = read_true_shapes(tmp_path)
    images = [NowImage("ann", "selfie", "a.jpg"), NowImage("ann", "multiview_neutral", "b.jpg")]
    exactly = Predictions(head, HeadParams.zeros(head, 1).replace(shape=torch.from_numpy(shape)[None]), dict.fromkeys(images, 0))
    methods = {"exact": neutral(exactly), "mean": neutral(mean_heads(head, images))}
    errors = true_errors(head, shapes, methods, images)
    exact, mean = errors["exact"], errors["mean"]
    assert list(exact) == ["overall", "multiview_neutral", "selfie"]
    assert exact["overall"]["images"] == 2
    assert exact["overall"]["mean_mm"] < 1e-5
    assert mean["overall"]["mean_mm"] > 0.5
    with pytest.raises(ValueError, match="no truth for subject 'bob'"):
        true_errors(head, shapes, methods, [NowImage("bob", "selfie", "a.jpg")])
    (tmp_path / "benchmark.json").write_text("{}")
    with pytest.raises(ValueError, match=r"benchmark\.json: not a rendered"):
        read_true_shapes(tmp_path)
