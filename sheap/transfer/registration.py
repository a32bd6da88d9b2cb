"""Which points of two head models correspond: one neutral skin bent onto the other, step by step softer.

Non-rigid ICP (Amberg et al. 2007) with a displacement per vertex that is smooth over the mesh. MediaPipe's landmarks lead at the
start; then nearest points do, and only their distance along the normal counts, so that skin may slide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.linalg import splu

from sheap.evaluation.closest_point import TriangleTree
from sheap.evaluation.similarity import procrustes
from sheap.geometry.triangles import barycentrics
from sheap.head import HeadModel
from sheap.head.regions import is_near_face
from sheap.transfer.skin import Skin

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEAST_LANDMARK_WEIGHT = 0.35
"""Landmarks that are trusted less (the face's outline) lead nowhere."""


@dataclass(frozen=True)
class RegistrationSettings:
    """Stiffness of the skin and pull of the landmarks from first to last step; what counts as the same place at last."""

    steps: int = 14
    stiffness: tuple[float, float] = (3000.0, 0.3)
    landmark_pull: tuple[float, float] = (30.0, 0.01)
    slide: float = 0.05
    reach_mm: float = 15.0
    min_cosine: float = 0.4
    sure_mm: float = 3.0


@dataclass(frozen=True)
class Correspondence:
    """Points of head B [P] (vertex ids) and of head A (its triangles and barycentrics [P, 3]) that are the same place.

    sure [P]: 1 where they lie on each other, falling to 0. residual_mm: median and 95th percentile of what is between the
    bent B and A, on the `face` and on all `skin`; turn [3, 3] and shift [3]: A's axes into B's, p_B = turn p_A + shift.
    """

    vertex_ids: IntArray
    face_ids: IntArray
    barycentrics: Array
    sure: Array
    turn: Array
    shift: Array
    residual_mm: dict[str, tuple[float, float]]


def register(a: HeadModel, b: HeadModel, settings: RegistrationSettings = RegistrationSettings()) -> Correspondence:
    """Bends B's mean skin onto A's. Raises ValueError naming what a head lacks for it."""
    for name, head in (("first", a), ("second", b)):
        if head.landmark_faces is None or head.now_faces is None:
            raise ValueError(f"{name} head: has no landmarks to lay it on another by; 'sheap head convert' finds them")
    skin_a, skin_b = Skin.of(a), Skin.of(b)
    rows, trust, wanted = _landmarks(a, b, skin_b)
    turn, shift = _rigid(wanted, rows @ skin_b.points, trust)
    target = skin_a.points @ turn.T + shift
    wanted = wanted @ turn.T + shift
    tree, edge = TriangleTree(1e3 * target, skin_a.faces), skin_a.border()
    smooth = _bilaplacian(skin_b.faces, len(skin_b.points))
    placed = skin_b.points
    for level in np.linspace(0, 1, settings.steps):
        stiffness = settings.stiffness[0] ** (1 - level) * settings.stiffness[1] ** level
        pull = settings.landmark_pull[0] ** (1 - level) * settings.landmark_pull[1] ** level
        found = _correspond(placed, skin_b, skin_a, target, tree, edge, settings)
        placed = _bend(placed, skin_b, found, smooth, rows, wanted, pull * trust, stiffness, settings)
    found = _correspond(placed, skin_b, skin_a, target, tree, edge, settings)
    sure = found.weights * np.exp(-0.5 * (found.distances_mm / settings.sure_mm) ** 2)
    face = is_near_face(b.template, b.now_landmarks(b.template)).numpy()[skin_b.ids]
    return Correspondence(
        skin_b.ids, skin_a.face_ids[found.faces], found.barycentrics, sure, turn, shift,
        {"face": _spread(found.distances_mm[face & (found.weights > 0)]), "skin": _spread(found.distances_mm[found.weights > 0])},
    )  # fmt: skip


def _spread(distances_mm: Array) -> tuple[float, float]:
    return float(np.median(distances_mm)), float(np.quantile(distances_mm, 0.95))


def _landmarks(a: HeadModel, b: HeadModel, skin_b: Skin) -> tuple[csr_matrix, Array, Array]:
    """Rows [L, P] that make the landmarks from B's skin, how far each is trusted [L], and their places on A [L, 3]."""
    trust = np.minimum(a.landmark_weights.double().numpy(), b.landmark_weights.double().numpy())
    local = np.full(b.num_vertices, -1)
    local[skin_b.ids] = np.arange(len(skin_b.ids))
    corners = local[b.faces.numpy()[b.landmark_faces.numpy()]]
    # Irises lie on the eyeballs, which are no skin.
    known = np.flatnonzero((trust > LEAST_LANDMARK_WEIGHT) & (corners >= 0).all(axis=1))
    if len(known) < 20:
        raise ValueError(f"heads: only {len(known)} landmarks that both have; 'sheap head convert' finds them all")
    shares = b.landmark_barycentrics.double().numpy()[known]
    places = np.repeat(np.arange(len(known)), 3), corners[known].reshape(-1)
    rows = csr_matrix((shares.reshape(-1), places), shape=(len(known), len(skin_b.ids)))
    return rows, trust[known], a.landmarks(a.template).double().numpy()[known]


def _rigid(moving: Array, fixed: Array, trust: Array) -> tuple[Array, Array]:
    """Turn and shift that bring `moving` [L, 3] onto `fixed` [L, 3]."""
    share = (trust / trust.sum())[:, None]
    middle_moving, middle_fixed = (share * moving).sum(0), (share * fixed).sum(0)
    turn = procrustes((fixed - middle_fixed) * share**0.5, (moving - middle_moving) * share**0.5).rotation
    return turn, middle_fixed - turn @ middle_moving


@dataclass(frozen=True)
class _Found:
    """Each point's nearest place on the other skin: points and normals [P, 3], triangles [P] with barycentrics [P, 3],
    weights [P] (0: no counterpart)."""

    points: Array
    normals: Array
    faces: IntArray
    barycentrics: Array
    distances_mm: Array
    weights: Array


def _correspond(
    placed: Array, skin: Skin, other: Skin, target: Array, tree: TriangleTree, edge: NDArray[np.bool_],
    settings: RegistrationSettings,
) -> _Found:  # fmt: skip
    nearest = tree.query(1e3 * placed)
    corners = target[other.faces[nearest.faces]]
    points = nearest.points / 1e3
    shares = barycentrics(corners, points).clip(0, 1)
    shares /= shares.sum(axis=1, keepdims=True)
    normals = np.einsum("pk,pkc->pc", shares, other.normals(target)[other.faces[nearest.faces]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-15
    agrees = (normals * skin.normals(placed)).sum(axis=1) > settings.min_cosine
    # What lies beyond the other skin's end finds its edge, wherever that is.
    off_the_end = (shares * edge[other.faces[nearest.faces]]).sum(axis=1) > 0.99
    weights = agrees * ~off_the_end / (1 + (nearest.distances / settings.reach_mm) ** 2)
    return _Found(points, normals, nearest.faces, shares, nearest.distances, weights)


def _bend(
    placed: Array, skin: Skin, found: _Found, smooth: csr_matrix, rows: csr_matrix, wanted: Array, pull: Array, stiffness: float,
    settings: RegistrationSettings,
) -> Array:  # fmt: skip
    """New places [P, 3]: on the other skin along its normals, the whole displacement from the mean head smooth."""
    offset = found.points - placed
    along = (offset * found.normals).sum(axis=1, keepdims=True) * found.normals
    goal = placed + along + settings.slide * (offset - along) - skin.points
    weight = diags(found.weights)
    matrix = weight + stiffness * smooth + rows.T @ diags(pull) @ rows + 1e-6 * diags(np.ones(len(placed)))
    right = weight @ goal + rows.T @ (pull[:, None] * (wanted - rows @ skin.points))
    factor = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    return skin.points + factor.solve(right)


def _bilaplacian(faces: IntArray, count: int) -> csr_matrix:
    """Squared umbrella operator [P, P]: no cost for a displacement that each vertex shares with its neighbours' mean."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.concatenate([edges, edges[:, ::-1]])
    adjacency = coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count)).tocsr()
    adjacency.data[:] = 1
    umbrella = diags(np.ones(count)) - diags(1 / np.asarray(adjacency.sum(axis=1)).ravel().clip(1)) @ adjacency
    return (umbrella.T @ umbrella).tocsr()
