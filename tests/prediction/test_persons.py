"""One shape a person that stays where it was seen, smoothing in the picture, cameras that draw, and who is meant."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sheap.geometry.cameras import project, published_camera
from sheap.head import HeadModel, HeadParams
from sheap.prediction.cameras import picture_cameras
from sheap.prediction.chosen_faces import FaceChoice
from sheap.prediction.identities import MOST_APART_MM, TrackShape, faces_apart_mm, same_people
from sheap.prediction.one_shape import ShapeEvidence, with_shape
from sheap.prediction.overlay import HeadDrawer
from sheap.prediction.rows import FaceRows, Person, Prediction
from sheap.prediction.steadied import head_places, steadied, translation_at
from sheap.video.crops import CropBox, points_to_picture

COUNT = 60


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


def some_params(head: HeadModel, count: int, seed: int = 0) -> HeadParams:
    generator = torch.Generator().manual_seed(seed)
    params = HeadParams.zeros(head, count).map(lambda value: 0.1 * torch.randn(value.shape, generator=generator))
    place = torch.tensor([0.01, -0.02, -0.2]) + 0.02 * torch.randn(count, 3, generator=generator)
    return params.replace(translation=place, eyelids=torch.rand(count, 2, generator=generator))


def rows_of(params: HeadParams, crops: torch.Tensor, track: int = 0, boxes: torch.Tensor | None = None) -> FaceRows:
    count = len(params.shape)
    corner = crops[:, :2] - crops[:, 2:] / 4
    return FaceRows(
        params=params,
        crops=crops.double(),
        boxes=torch.cat([corner, corner + crops[:, 2:] / 2], 1).float() if boxes is None else boxes,
        turned_deg=torch.zeros(count),
        frames=torch.arange(count),
        times_s=torch.arange(count) / 25.0,
        tracks=torch.full((count,), track),
        shots=torch.zeros(count, dtype=torch.int64),
        presence=torch.ones(count),
        disagreement=torch.full((count,), 0.03),
        yaw_deg=torch.zeros(count),
    )


def seen_px(head: HeadModel, rows: FaceRows) -> np.ndarray:
    """Landmarks [F, 478, 2] in px of the picture, by the crops alone."""
    in_crop, _ = project(head.landmarks(head(rows.params).vertices), published_camera(1))
    boxes = [CropBox(*crop) for crop in rows.crops.tolist()]
    return np.stack([points_to_picture(points[0].numpy(), box, 1) for points, box in zip(in_crop, boxes, strict=True)])


def test_the_cameras_of_the_picture_project_as_the_crops_do(head: HeadModel) -> None:
    rows = rows_of(some_params(head, 5), torch.tensor([[300.0, 200, 150], [10, 20, 600], [0, 0, 50], [640, 360, 99], [1, 2, 3]]))
    cameras = picture_cameras(rows.crops, 720, 1280)
    points, _ = project(head.landmarks(head(rows.params).vertices).double(), cameras)
    np.testing.assert_allclose(points[:, 0].numpy(), seen_px(head, rows), atol=0.01)
    focal = 0.5 / math.tan(math.radians(14.2539) / 2)
    x, y, z = head.landmarks(head(rows.params).vertices)[1, 4].tolist()
    expected = [10 + 600 * focal * x / (1 - z), 20 - 600 * focal * y / (1 - z)]
    np.testing.assert_allclose(points[1, 0, 4], expected, atol=0.01)


def test_heads_are_drawn_where_the_cameras_project_them(head: HeadModel) -> None:
    params = HeadParams.zeros(head, 1).replace(translation=torch.tensor([[0.0, 0, -0.2]]))
    rows = rows_of(params, torch.tensor([[150.0, 90, 100]]))
    prediction = Prediction("picture", (Person(0, rows, (0,)),), 320, 180)
    image = np.full((180, 320, 3), 200, np.uint8)
    drawn = HeadDrawer(head, prediction).draw(image)
    vertices, _ = project(head(params).vertices.double(), picture_cameras(rows.crops, 180, 320))
    low, high = (value.numpy() for value in (vertices[0, 0].amin(0), vertices[0, 0].amax(0)))
    rows_seen, columns_seen = np.nonzero((drawn.alone != 40).any(-1))
    np.testing.assert_allclose([columns_seen.min(), rows_seen.min()], np.maximum(low, 0), atol=1)
    np.testing.assert_allclose([columns_seen.max() + 1, rows_seen.max() + 1], np.minimum(high, [320, 180]), atol=1)
    is_head = (drawn.alone != 40).any(-1)
    assert (drawn.overlay[~is_head] == 200).all() and (drawn.overlay[is_head] != 200).any()
    assert (HeadDrawer(head, prediction).draw(image, frame=1).overlay == image).all()


def test_the_shape_of_before_changes_nothing_and_another_stays_in_its_place(head: HeadModel) -> None:
    params = some_params(head, 3)
    rows = rows_of(params, torch.tensor([[200.0, 200, 300]]).expand(3, -1))
    same = with_shape(head, params.index(slice(0, 1)), params.shape[0])
    for name, value in same.present().items():
        torch.testing.assert_close(value, getattr(params, name)[:1], atol=2e-4, rtol=0)
    shape = 0.8 * torch.randn(head.num_shape, generator=torch.Generator().manual_seed(1))
    new = with_shape(head, params, shape)
    assert (new.shape == shape).all()
    naive = params.replace(shape=shape.expand(3, -1))
    before = seen_px(head, rows)
    weights = head.landmark_weights.numpy()

    def apart(found: HeadParams) -> float:
        distance = np.linalg.norm(seen_px(head, rows.replace(params=found)) - before, axis=-1)
        return float((distance @ weights).mean() / weights.sum())

    assert apart(new) < 0.5 * apart(naive)


def test_places_and_translations_are_each_others_inverse(head: HeadModel) -> None:
    params, crops = some_params(head, 7), torch.rand(7, 3).double() * 200 + 100
    places, _ = head_places(head, params, crops)
    other = crops + torch.tensor([5.0, -7, 30])
    moved = translation_at(head, params, other, torch.from_numpy(places))
    np.testing.assert_allclose(head_places(head, params.replace(translation=moved.float()), other)[0], places, rtol=1e-4)
    back = translation_at(head, params, crops, torch.from_numpy(places))
    torch.testing.assert_close(back.float(), params.translation, atol=1e-5, rtol=0)


def test_jitter_of_crops_and_heads_goes_while_tracks_stay_apart(head: HeadModel) -> None:
    generator = torch.Generator().manual_seed(3)
    steady = some_params(head, 1).index([0] * COUNT)
    noise = 0.002 * torch.randn(COUNT, 3, generator=generator)
    params = steady.replace(root_rotvec=steady.root_rotvec + noise)
    crops = torch.tensor([[400.0, 300, 200]]) + torch.randn(COUNT, 3, generator=generator)
    crops = torch.cat([crops, crops + torch.tensor([300.0, 0, 0])])
    params = HeadParams.concatenate([params, params])
    # what a network does about a crop that lies a little off: it sees the head elsewhere in it
    places, _ = head_places(head, params, torch.tensor([[400.0, 300, 200]]).expand(len(crops), -1).double())
    places[COUNT:, 0] += 300
    params = params.replace(translation=translation_at(head, params, crops.double(), torch.from_numpy(places)).float())
    rows = rows_of(params, crops)
    rows = rows.replace(tracks=(torch.arange(2 * COUNT) >= COUNT).long(), times_s=torch.arange(2 * COUNT) / 25.0)
    found = steadied(head, rows)
    assert (found.frames == rows.frames).all() and (found.tracks == rows.tracks).all()
    raw, smooth = seen_px(head, rows), seen_px(head, found)
    assert np.abs(smooth[COUNT] - smooth[COUNT - 1] - [300, 0]).max() < 1.0
    bends = [np.diff(part[:COUNT], 2, axis=0).std() for part in (raw, smooth)]
    assert bends[1] < bends[0] / 5
    assert np.abs(smooth - raw).max() < 1.5


def test_evidence_adds_up_in_any_order() -> None:
    values, weights = torch.randn(6, 4), torch.randn(6)
    whole = ShapeEvidence.of(values, weights)
    parts = ShapeEvidence.of(values[:2], weights[:2]).joined(ShapeEvidence.of(values[2:], weights[2:]))
    torch.testing.assert_close(whole.values, parts.values)
    torch.testing.assert_close(whole.log_weight, parts.log_weight)
    sure = ShapeEvidence.of(values, torch.tensor([0.0, 0, 0, 0, 0, 50]))
    torch.testing.assert_close(sure.values, values[5])


def track(first: int, last: int, value: float, sightings: int = 20) -> TrackShape:
    return TrackShape(first, last, sightings, ShapeEvidence(torch.tensor([value]), torch.tensor(0.0)))


def apart_mm(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs())


@pytest.mark.parametrize(
    ("tracks", "people"),
    [
        ({0: track(0, 20, 0.0), 1: track(30, 50, 0.5)}, [(0, 1)]),
        ({0: track(0, 20, 0.0), 1: track(30, 50, MOST_APART_MM + 0.1)}, [(0,), (1,)]),
        ({0: track(0, 20, 0.0), 1: track(10, 50, 0.1)}, [(0,), (1,)]),  # seen together
        ({0: track(0, 20, 0.0), 1: track(30, 50, 0.1, sightings=7)}, [(0,), (1,)]),
        ({0: track(0, 20, 0.0), 1: track(10, 20, 1.9), 2: track(30, 40, 0.9)}, [(0,), (1,), (2,)]),  # between two
        ({0: track(0, 20, 0.0), 1: track(10, 20, 9.0), 2: track(30, 40, 0.9), 3: track(50, 60, 8.8)}, [(0, 2), (1, 3)]),
    ],
)
def test_tracks_are_one_person_only_where_that_is_sure(
    tracks: dict[int, TrackShape], people: list[tuple[int, ...]]
) -> None:
    assert same_people(tracks, apart_mm) == people


def test_faces_are_compared_in_millimetres(head: HeadModel) -> None:
    one = torch.zeros(head.num_shape)
    other = one.clone()
    other[0] = 1.0
    moved = 1000 * head.shape_basis[head.region_masks["face"], :, 0].square().sum(-1).mean().sqrt()
    assert faces_apart_mm(head, one, one) == 0 and faces_apart_mm(head, one, other) == pytest.approx(float(moved), rel=1e-3)


def people_at(head: HeadModel, *crops: tuple[float, float, float]) -> list[Person]:
    return [
        Person(number, rows_of(HeadParams.zeros(head, 1), torch.tensor([crop])), (number,)) for number, crop in enumerate(crops)
    ]


def test_who_is_meant(head: HeadModel) -> None:
    people = people_at(head, (100, 100, 120), (300, 100, 90))
    for text, numbers in (("all", [0, 1]), ("largest", [0]), ("1", [1]), ("270, 70, 60, 60", [1]), ("0,0,200,200", [0])):
        assert [person.number for person in FaceChoice.parse(text).of(people, 200, 400)] == numbers
    for text in ("", "biggest", "-1", "1,2,3", "a,b,c,d", "1.5"):
        with pytest.raises(ValueError, match="--face"):
            FaceChoice.parse(text)
    for text, said in (("2", "there are 0 to 1"), ("0,150,40,40", "meets nobody"), ("900,900,5,5", "outside")):
        with pytest.raises(ValueError, match=said):
            FaceChoice.parse(text).of(people, 200, 400)
