"""The shape metric against its slow form: vertices, a least-squares similarity, distances along and across the skin."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sheap.head import HeadModel
from sheap.losses.shape_metric import (
    FACE_RADIUS_M,
    SIMILARITY_SHARE,
    TANGENT_SHARE,
    ShapeMetric,
    face_vertices,
    face_weights,
    outer_skin,
    similarity_motions,
)
from sheap.render.mesh import vertex_normals


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


def _slow(head: HeadModel, error: np.ndarray) -> float:
    moved = head.shape_basis.double().numpy() @ error
    weights = face_weights(head).double().numpy()
    motions = similarity_motions(head.template.double()).numpy()
    root = np.sqrt(np.repeat(weights, 3))
    design = motions.reshape(-1, 7)
    solution = np.linalg.lstsq(design * root[:, None], moved.ravel() * root, rcond=None)[0]
    similar = (design @ solution).reshape(-1, 3)
    rest = moved - similar
    normals = vertex_normals(head.template, head.faces).double().numpy()
    across = (rest * normals).sum(1)
    along = rest - across[:, None] * normals
    return float(
        (weights * across**2).sum()
        + TANGENT_SHARE * (weights[:, None] * along**2).sum()
        + SIMILARITY_SHARE * (weights[:, None] * similar**2).sum()
    )


def test_it_equals_the_slow_form_up_to_its_unit(head):
    metric = ShapeMetric(head)
    rng = np.random.default_rng(0)
    errors = rng.standard_normal((4, head.num_shape))
    slow = np.array([_slow(head, error) for error in errors])
    fast = metric(torch.zeros(4, head.num_shape), torch.from_numpy(errors).float()).numpy()
    ratios = fast / slow
    assert ratios == pytest.approx(ratios[0], rel=2e-4)  # measured 3e-5: float32 coefficients


def test_the_mean_head_scores_one_over_the_population(head):
    people = torch.randn(4000, head.num_shape, generator=torch.Generator().manual_seed(0))
    scores = ShapeMetric(head)(torch.zeros_like(people), people)
    assert float(scores.mean()) == pytest.approx(1.0, abs=0.05)


def test_turning_and_scaling_a_face_counts_little(head):
    """An error that is a similarity motion counts SIMILARITY_SHARE of its size, no more."""
    metric = ShapeMetric(head)
    weights = face_weights(head)[:, None]
    motion = 1e-3 * similarity_motions(head.template)[..., 6] / 0.1
    basis = (head.shape_basis * weights[..., None].sqrt()).flatten(0, 1).double()
    wanted = (motion * weights.sqrt()).flatten().double()
    coefficients = torch.linalg.lstsq(basis, wanted[:, None]).solution[:, 0]
    left = (basis @ coefficients - wanted).norm() / wanted.norm()
    grown = metric(coefficients[None].float(), torch.zeros(1, head.num_shape))
    stiff = metric(torch.zeros(1, head.num_shape), coefficients.norm() / head.num_shape**0.5 * torch.ones(1, head.num_shape))
    assert left < 0.5
    assert float(grown) < 0.5 * float(stiff)


def test_every_vertex_weighs_a_third_of_the_area_around_it(head):
    """Outer skin alone; what is off the face counts a twentieth."""
    template, faces = head.template.double().numpy(), head.faces.numpy()
    area = np.zeros(len(template))
    for a, b, c in faces:
        area[[a, b, c]] += np.linalg.norm(np.cross(template[b] - template[a], template[c] - template[a])) / 2 / 3
    outer = head.region_masks["skin"] & ~head.region_masks["mouth_interior"] & ~head.region_masks["eye_sockets"]
    right_eye, left_eye, nose_base = (head.now_landmarks(head.template)[k].numpy() for k in (1, 2, 4))
    middle = nose_base + 0.3 * ((right_eye + left_eye) / 2 - nose_base)
    near = np.linalg.norm(template - middle, axis=1) < FACE_RADIUS_M
    expected = area * outer.numpy() * np.where(near, 1.0, 0.05)
    assert outer_skin(head).equal(outer) and face_vertices(head).equal(outer & torch.from_numpy(near))
    assert face_weights(head).numpy() == pytest.approx(expected, rel=1e-7)  # 0.05 is held in float32
