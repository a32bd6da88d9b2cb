"""A network's errors on photos of rendered people that it never saw: one record a photo, with what is known of whom and
what it shows. `experiments.model_card` groups them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from experiments.rendered_photos import IMAGE_SIZE, PHOTOS_OF, SEED
from experiments.unseen_people import face_error
from sheap.evaluation.head_meshes import neutral_meshes
from sheap.evaluation.now.metric import evaluate_pair
from sheap.head import HeadModel, HeadParams
from sheap.losses.shape_metric import face_vertices
from sheap.networks.both_sides import BothSides
from sheap.networks.sheap_network import SheapNetwork
from sheap.people.cast import CastMember, cast_member
from sheap.people.clips import LABELS
from sheap.people.demographics import ANCESTRIES, Demographics
from sheap.people.landmark_sight import VISIBLE
from sheap.people.lighting import irradiance_matrices
from sheap.people.photos import PhotoSettings, TrainingPhoto, training_photos
from sheap.people.scans import ScanSettings, make_scan
from sheap.people.studio import shared_studio
from sheap.training.supervision import face_motion
from sheap.video.crops import with_depth
from sheap.video.head_pose import fit_head_pose

AGES = (18, 30, 45, 60, 81)
YAWS_DEG = (0, 15, 30, 50, 90)
DIM, BRIGHT = 80, 160
"""Mean grey levels of the face in the picture below and above which light is called so."""
ONE_SIDE, BEHIND = 2.5, 1.2
"""Light on one cheek over the other's, and on the back of the head over the face's, from which light is called so."""
SEEN = 0.85
"""Share of the landmarks that must be in sight for a face to be called open."""
SCAN = ScanSettings(subdivisions=1, noise_mm=0.1, pick_mm=0.5, num_holes=3)
"""Of the first photo's surface distance; params.yaml's section `benchmark` has finer scans."""

EVERYBODY = "everybody"


@dataclass(frozen=True)
class PhotoFigures:
    """One photo. groups: what is shown, by kind of grouping. identity_mm, fused_mm, mean_head_mm: mean distance of the
    neutral face's vertices from the truth after a similarity, of the shape from this photo, from all of the person's,
    and of the mean head. points_px: of the fine landmarks that are seen (NaN for networks without). moved_mm, still_mm:
    error of the face's own movement, and of a still face. surface_mm, mean_surface_mm: NoW's median distance and the
    mean head's (NaN where there is no scan)."""

    person: str
    groups: Mapping[str, str]
    identity_mm: float
    fused_mm: float
    mean_head_mm: float
    points_px: float
    moved_mm: float
    still_mm: float
    surface_mm: float
    mean_surface_mm: float


def measure_held_out(
    network: SheapNetwork, people: int, photos: int = PHOTOS_OF["validation"], *, seed: int = SEED, scans: bool = True
) -> Iterator[PhotoFigures]:
    """Every photo of the first `people` validation people. scans: measures each person's first photo's surface too."""
    studio, settings = shared_studio(), PhotoSettings(IMAGE_SIZE)
    for index in range(people):
        member = cast_member(seed, "validation", index, studio.head)
        yield from measure_person(network, member, list(training_photos(studio, member, photos, settings)), scans=scans)


@torch.inference_mode()
def measure_person(
    network: SheapNetwork, member: CastMember, photos: list[TrainingPhoto], *, scans: bool = True
) -> list[PhotoFigures]:
    """The photos of one person."""
    head, face = network.head, face_vertices(network.head).numpy()
    pictures = torch.from_numpy(np.stack([photo.picture for photo in photos])).permute(0, 3, 1, 2).float() / 255
    sides = BothSides.of(network)
    looks = sides.looks(pictures)
    codes, params, together = looks[0], sides.heads(looks), sides.fused_shape(looks)
    true_face = head.neutral(torch.from_numpy(member.shape)).numpy()[face]
    found = head.neutral(torch.cat([params.shape, together])).numpy()[:, face]
    *each, fused = (1e3 * face_error(one, true_face) for one in found)
    of_mean = 1e3 * face_error(head.template.numpy()[face], true_face)
    true = HeadParams.stack([photo.params for photo in photos])
    motion = head.landmarks(head(face_motion(true)).vertices)
    predicted = head.landmarks(head(face_motion(params)).vertices)
    moved = 1e3 * (predicted - motion).norm(dim=-1).mean(-1)
    still = 1e3 * (head.landmarks(head.template) - motion).norm(dim=-1).mean(-1)
    surfaces = surface_distances(head, member, params.shape[:1]) if scans else (np.nan, np.nan)
    figures = []
    for k, photo in enumerate(photos):
        points = np.nan
        if codes.look is not None:
            places = codes.look.fine.places[k, :, :2].numpy() * len(photo.picture)
            seen = photo.landmark_state == VISIBLE
            points = float(np.linalg.norm(places - photo.landmarks_px, axis=-1)[seen].mean()) if seen.any() else np.nan
        surface = surfaces if k == 0 else (np.nan, np.nan)
        groups = person_groups(member.demographics) | photo_groups(photo)
        figures.append(
            PhotoFigures(
                member.name, groups, each[k], fused, of_mean, points, float(moved[k]), float(still[k]), *surface
            )
        )
    return figures


def surface_distances(head: HeadModel, member: CastMember, shape: torch.Tensor) -> tuple[float, float]:
    """NoW's median distance (mm) of a shape [1, S] and of the mean head to a scan of the person."""
    scan = make_scan(shared_studio(), member.shape, SCAN, member.rng(900))
    meshes, landmarks = neutral_meshes(head, torch.cat([shape, torch.zeros_like(shape)]))
    medians = [
        float(
            np.median(
                evaluate_pair(scan.vertices, scan.faces, scan.landmarks, mesh.vertices, mesh.faces, points).distances
            )
        )
        for mesh, points in zip(meshes, landmarks, strict=True)
    ]
    return medians[0], medians[1]


# --- who and what is shown --------------------------------------------------------------------------------------------


def person_groups(person: Demographics) -> dict[str, str]:
    largest = int(np.argmax(person.ancestry))
    return {
        "all": EVERYBODY,
        "sex": person.sex,
        "age": _interval(person.age_years, AGES, "years"),
        "ancestry": ANCESTRIES[largest] if person.ancestry[largest] > 0.999 else "mixed",
    }


def photo_groups(photo: TrainingPhoto) -> dict[str, str]:
    yaw = fit_head_pose(with_depth(photo.landmarks_px, photo.landmark_depths, photo.K[0, 0])).euler_deg()[0]
    worn = photo.accessories[0] if photo.accessories else "nothing"
    open_share = float((photo.landmark_state == VISIBLE).mean())
    return {
        "turned aside": _interval(min(abs(yaw), YAWS_DEG[-1] - 1), YAWS_DEG, "degrees"),
        "light": light_of(photo),
        "face in the picture": _brightness(photo),
        "worn or held": worn,
        "landmarks in sight": f"{'at least' if open_share >= SEEN else 'less than'} {SEEN:.0%}",
    }


def light_of(photo: TrainingPhoto) -> str:
    """Where most light comes from, as the camera sees it: "from behind", "from one side" or "from the front or all around"."""
    right, _, forward = photo.world_to_cam[:3, :3]
    normals = np.stack([-forward, forward, right, -right])
    ones = np.concatenate([normals, np.ones((4, 1), np.float32)], 1)
    light = np.einsum("ni,cij,nj->nc", ones, irradiance_matrices(photo.light_sh), ones).mean(1)
    front, back, one, other = np.maximum(light, 1e-6)
    if back >= BEHIND * front:
        return "from behind"
    return "from one side" if max(one, other) >= ONE_SIDE * min(one, other) else "from the front or all around"


def _brightness(photo: TrainingPhoto) -> str:
    skin = photo.labels == LABELS["skin"]
    level = float(photo.picture[skin].mean()) if skin.any() else 0.0
    return "dim" if level < DIM else "bright" if level >= BRIGHT else "medium"


def _interval(value: float, ends: tuple[int, ...], unit: str) -> str:
    at = int(np.clip(np.searchsorted(ends, value, side="right") - 1, 0, len(ends) - 2))
    return f"{ends[at]} to {ends[at + 1] - (unit == 'years')} {unit}"
