"""All steps of the recipe in order: base mesh in, tensors of the shipped file out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sheap.head.data import TRAIT_NAMES
from sheap.head.model import JOINT_NAMES
from sheap.head.recipe import expressions, eyelids, identities, joints, population, regions, skinning, trait_directions
from sheap.head.recipe.axes import EYES_TO_ORIGIN, vertex_areas, without_small_motions
from sheap.head.recipe.fields import SmoothFields, smooth_fields
from sheap.head.recipe.following import Followers
from sheap.head.recipe.nostrils import deepen_nostrils, nostril_mask
from sheap.head.recipe.source import BaseMesh, load_base_mesh
from sheap.head.recipe.statistics import PEOPLE_PATH, read_measured
from sheap.head.recipe.topology import HeadTopology, border_vertices, crop_head

Array = NDArray[np.float64]

NOW_BASE_VERTICES = (18, 67, 6851, 6802, 317, 3736, 10404)
"""The 7 NoW landmarks as base-mesh vertices: right eye outer, inner, left eye inner, outer, nose bottom, mouth right,
left."""

IRIS_BORDER_BASE_VERTICES = (14599, 14608, 14617, 14626, 14635, 14644, 14653, 14662)
"""The ring of the left eyeball's base-mesh vertices along which its iris ends; its middle is where the eye looks."""


@dataclass(frozen=True)
class RecipeSettings:
    """Everything that may be turned in the recipe. `cache_dir` keeps anny's parsed data (0.6 GB)."""

    cache_dir: Path
    people: Path = PEOPLE_PATH
    num_fields: int = 500
    identity: identities.IdentitySettings = field(default_factory=identities.IdentitySettings)
    population: population.PopulationSettings = field(default_factory=population.PopulationSettings)
    traits: trait_directions.TraitSettings = field(default_factory=trait_directions.TraitSettings)
    num_shape: int = 300
    num_held_out: int = 100
    min_neck_weight: float = 0.05
    jaw_smoothing_steps: int = 2
    joint_pairs: int = 8
    expression_samples: int = 4000
    expression_cut: float = 1e-3
    eyelid_margin: float = 1.05


@dataclass(frozen=True)
class Recipe:
    """The finished head in float64. tensors: by the names of the shipped file, over all points [P] (vertices, then
    attachments); regions: masks [P]; figures: what was measured on the way (JSON-able)."""

    tensors: dict[str, NDArray]
    regions: dict[str, NDArray[np.bool_]]
    action_names: tuple[str, ...]
    figures: dict[str, object]
    head: HeadTopology
    base: BaseMesh


@dataclass(frozen=True)
class Start:
    """MakeHuman's average adult, which is then bent to the mean of real people. points [P, 3]; regions: masks [P]."""

    base: BaseMesh
    head: HeadTopology
    points: Array
    regions: dict[str, NDArray[np.bool_]]
    fields: SmoothFields


def start_head(settings: RecipeSettings) -> Start:
    """The average adult with its smooth fields; what was measured on real people is told in these."""
    base = load_base_mesh(settings.cache_dir)
    head = crop_head(base, settings.min_neck_weight)
    points = _centred(identities.average_adult(base, head, settings.identity), head)
    points = deepen_nostrils(points, head)
    parts = regions.paint_regions(base, head, points)
    outer = parts["skin"] & ~parts["eye_sockets"] & ~parts["mouth_interior"] & ~nostril_mask(head)
    fields = smooth_fields(points, head.faces, outer, parts["ears"], parts["lips"], settings.num_fields)
    return Start(base, head, points, parts, fields)


def build_head(settings: RecipeSettings) -> Recipe:
    """Builds the head model without its MediaPipe landmarks (those are found by looking at it, see landmarks.py)."""
    start = start_head(settings)
    base, head, parts = start.base, start.head, start.regions
    measured = read_measured(settings.people)
    if len(measured.mean) != settings.num_fields:
        raise ValueError(f"{settings.people}: {len(measured.mean)} fields, the recipe has {settings.num_fields}")
    followers = Followers(start.points, head, parts, start.fields.outer)
    mean = start.points + followers.extend(start.fields.displace(measured.mean[..., None]))[..., 0]
    mean = _centred((mean + identities.mirrored(mean, head.mirror)) / 2, head)

    # Skull and face decide where a head is; ears, neck and the loose inner parts follow.
    areas = vertex_areas(mean, head.faces)
    rigid = areas * (parts["face"] | parts["scalp"])
    adults = identities.align(identities.sample_adults(base, head, settings.identity), rigid, head.mirror)
    people = followers.extend(start.fields.displace(measured.factor)).transpose(2, 0, 1)
    sliders = population.slider_factor(adults, followers, head, parts, settings.population)
    factor = without_small_motions(np.concatenate([people, sliders]), mean, rigid)
    actions = {name: offsets[head.base_ids] for name, offsets in base.actions().items()}
    actions = expressions.symmetrise_actions(actions, head.mirror)
    close, bulge = eyelids.close_left_eye(
        mean, actions["eyeBlinkLeft"], head, parts["eye_sockets"], settings.eyelid_margin
    )
    factor = eyelids.without_openness(
        factor, mean, close + 4 * bulge, head, parts["eye_sockets"], settings.population.openness_share
    )
    deciding = population.by_region(settings.population.deciding, parts)
    shape_basis, variances = identities.principal_components(factor, head.mirror, deciding, settings.num_shape)
    masks = regions.paint_regions(base, head, mean)

    jaw = skinning.fit_jaw(mean, actions["jawOpen"], head, settings.jaw_smoothing_steps)
    regressor = _joint_regressor(base, head, mean, masks, jaw, settings.joint_pairs)
    weights = skinning.skinning_weights(skinning.neck_weights(base, head), jaw.weights, head)
    split = expressions.split_actions(actions, mean, regressor @ mean, weights, jaw.rotvec, head)
    samples = expressions.sample_action_weights(split.names, settings.expression_samples, settings.identity.seed)
    expression_basis, action_matrix = expressions.expression_basis(
        split.offsets, samples, split.names, head.num_vertices, settings.expression_cut
    )
    contrasts = trait_directions.contrasts(base, head, settings.identity)
    contrasts = {
        name: followers.extend(without_small_motions(moved[None], start.points, rigid)[0, followers.outer, :, None])[..., 0]
        for name, moved in contrasts.items()
    }
    directions, trait_shares = trait_directions.trait_directions(
        {name: contrasts[name] for name in TRAIT_NAMES}, shape_basis, deciding, masks["face"], settings.traits
    )

    vertices = slice(head.num_vertices)
    rng = np.random.default_rng(settings.identity.seed + 1)
    unseen = rng.standard_normal((settings.num_held_out, len(factor)))
    unseen = mean[vertices] + np.tensordot(unseen, factor[:, vertices], axes=1)
    # Root mean square over the three axes, the way scan-based models' 2-3 mm are quoted.
    deviation = np.sqrt((shape_basis**2).sum(axis=2).mean(axis=1))
    moved = np.linalg.norm(actions["jawOpen"], axis=1) > 1e-3
    jaw_rest = split.offsets[split.names.index("jawOpen")][moved]
    figures = {
        "num_vertices": head.num_vertices,
        "num_faces": len(head.faces),
        "border_vertices": len(np.intersect1d(border_vertices(head.faces), np.flatnonzero(head.part_mask("skin")))),
        "frontal_face_sd_mm": float(1e3 * deviation[masks["face"]].mean()),
        "skin_sd_mm": float(1e3 * deviation[masks["skin"]].mean()),
        "explained": {
            str(k): float(variances[:k].sum() / variances.sum()) for k in (10, 50, 100, 200, settings.num_shape)
        },
        "held_out_error_mm": identities.held_out_errors(
            unseen, mean[vertices], shape_basis[vertices], deciding[vertices], (100, 200, settings.num_shape)
        ),
        "jaw_open_deg": float(np.degrees(np.linalg.norm(jaw.rotvec))),
        "jaw_rest_mean_mm": float(1e3 * np.linalg.norm(jaw_rest, axis=1).mean()),
        "num_expression": expression_basis.shape[2],
        "measured": measured.figures,
        "trait_face_and_direction_shares": trait_shares,
    }
    tensors = {
        "template": mean,
        "faces": head.faces,
        "uv_coords": head.uv_coords,
        "uv_faces": head.uv_faces,
        "shape_basis": shape_basis,
        "expression_basis": expression_basis,
        "eyelid_basis": np.stack([close, identities.mirrored(close, head.mirror)], axis=-1),
        "eyelid_bulge_basis": np.stack([bulge, identities.mirrored(bulge, head.mirror)], axis=-1),
        "joint_regressor": regressor,
        "skinning_weights": weights,
        "action_matrix": action_matrix,
        "action_rotvecs": split.rotvecs,
        "base_vertex_ids": head.base_ids,
        "mirror_vertex_ids": head.mirror[: head.num_vertices],
        "gaze_axes": _gaze_axes(head, mean),
        "trait_directions": directions,
        "now_vertex_ids": head.local_ids(np.array(NOW_BASE_VERTICES)),
    }
    return Recipe(tensors, masks, split.names, figures, head, base)


def _centred(points: Array, head: HeadTopology) -> Array:
    """Points [P, 3] with the origin 6 cm behind the midpoint of the eyes."""
    eyes = [points[head.part_mask(part)].mean(axis=0) for part in ("eyeball_left", "eyeball_right")]
    return points - (eyes[0] + eyes[1]) / 2 + [0, 0, EYES_TO_ORIGIN]


def _joint_regressor(
    base: BaseMesh,
    head: HeadTopology,
    mean: Array,
    masks: dict[str, NDArray[np.bool_]],
    jaw: skinning.JawFit,
    num_pairs: int,
) -> Array:
    """Rows [5, N]. The root turns the head about its origin, which keeps turning and moving apart for whoever fits
    them; the neck where the neck's
    bones do on average; the jaw turns where the fit put it, near the ears; eyes turn about their own centres."""
    outer = masks["skin"] & ~masks["eye_sockets"] & ~masks["mouth_interior"]
    side = np.abs(mean[:, 0]) > 0.5 * mean[masks["ears"], 0].max()
    template = base.template[head.base_ids]
    neck_ring = outer & (sum(base.bone_weights[bone][head.base_ids] for bone in skinning.NECK_SHARE) > 0.5)
    neck_centre = skinning.neck_centre(base)
    members = {
        "root": joints.symmetric_members(np.zeros(3), mean, outer, head.mirror, num_pairs),
        "neck": joints.symmetric_members(neck_centre, template, neck_ring, head.mirror, num_pairs),
        "jaw": joints.symmetric_members(jaw.centre, mean, outer & side, head.mirror, num_pairs),
        "eye_left": np.flatnonzero(masks["eyeball_left"]),
        "eye_right": np.flatnonzero(masks["eyeball_right"]),
    }
    return np.stack([joints.average_row(members[name], len(mean)) for name in JOINT_NAMES])


def _gaze_axes(head: HeadTopology, mean: Array) -> Array:
    """Unit directions [2, 3] in which the left and the right eye look at rest."""
    centre = mean[head.part_mask("eyeball_left")].mean(axis=0)
    left = mean[head.local_ids(np.array(IRIS_BORDER_BASE_VERTICES))].mean(axis=0) - centre
    left = left / np.linalg.norm(left)
    return np.stack([left, left * [-1, 1, 1]])
