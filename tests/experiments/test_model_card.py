"""The shipped predictor's card: whom it is measured on, how figures are grouped, and what a knowing network would get."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from experiments import model_card
from experiments.held_out_people import (
    PhotoFigures,
    light_of,
    measure_held_out,
    measure_person,
    person_groups,
    photo_groups,
)
from experiments.model_card import by_group, figures_of, weakest
from sheap.head import HeadModel, HeadParams
from sheap.people.cast import cast_member
from sheap.people.demographics import Demographics
from sheap.people.lighting import Lighting
from sheap.people.photos import PhotoSettings, training_photos
from sheap.people.studio import shared_studio


@dataclasses.dataclass(frozen=True)
class Codes:
    params: HeadParams
    look: None = None

    def index(self, item) -> Codes:
        return Codes(self.params.index(item))


class Knowing:
    """A network that answers what it was told, whatever it sees."""

    def __init__(self, head: HeadModel, params: HeadParams) -> None:
        self.head, self._params = head, params

    def encode(self, images: torch.Tensor) -> Codes:
        assert images.shape[1] == 3 and float(images.max()) <= 1
        return Codes(self._params)

    def shape_evidence(self, codes: Codes) -> tuple[torch.Tensor, torch.Tensor]:
        return codes.params.shape, torch.zeros(len(codes.params.shape))

    def shape_from(self, values: torch.Tensor) -> torch.Tensor:
        return values


@pytest.fixture(scope="module")
def head() -> HeadModel:
    """Without a mirror: who answers alike whatever they see, answer alike in a mirror."""
    head = HeadModel.load()
    head.mirror_vertex_ids = None
    return head


@pytest.fixture(scope="module")
def taken(head):
    member = cast_member(3, "validation", 0, head)
    photos = list(training_photos(shared_studio(), member, 2, PhotoSettings(64)))
    truth = HeadParams.stack([photo.params for photo in photos])
    return member, photos, truth.replace(shape=torch.from_numpy(member.shape).expand(2, -1))


def test_who_knows_the_truth_has_no_error_and_who_knows_nothing_the_mean_heads(head, taken):
    member, photos, truth = taken
    knowing = measure_person(Knowing(head, truth), member, photos)
    row = figures_of(knowing)
    assert row["identity_one"] < 1e-3 and row["identity_fused"] < 1e-3 and row["motion"] < 1e-3
    assert row["surface"] < 0.3 and np.isnan(row["points_px"])
    ignorant = measure_person(Knowing(head, HeadParams.zeros(head, 2)), member, photos)
    row = figures_of(ignorant)
    for figure in ("identity_one", "identity_fused", "motion", "surface"):
        assert row[figure] == pytest.approx(1.0, abs=1e-3), figure
    assert [np.isnan(photo.surface_mm) for photo in ignorant] == [False, True]


def test_one_bad_picture_costs_its_own_figures_and_a_share_of_the_fused_one(head, taken):
    member, photos, truth = taken
    shapes = truth.shape.clone()
    shapes[1] = 0
    found = measure_person(Knowing(head, truth.replace(shape=shapes)), member, photos, scans=False)
    assert found[0].identity_mm < 1e-2 < found[1].identity_mm
    assert found[1].identity_mm == pytest.approx(found[1].mean_head_mm, rel=1e-3)
    assert 0.3 < found[0].fused_mm / found[0].mean_head_mm < 0.7
    assert all(np.isnan(photo.surface_mm) for photo in found)


def test_people_are_named_by_what_they_were_drawn_as():
    assert person_groups(Demographics("male", 80.0, 0.0, (0.0, 1.0, 0.0))) == {
        "all": "everybody", "sex": "male", "age": "60 to 80 years", "ancestry": "asian",
    }  # fmt: skip
    assert person_groups(Demographics("female", 29.9, 0.0, (0.2, 0.1, 0.7)))["ancestry"] == "mixed"
    assert person_groups(Demographics("female", 29.9, 0.0, (0.2, 0.1, 0.7)))["age"] == "18 to 29 years"


def lit_from(direction: tuple[float, float, float]) -> SimpleNamespace:
    """What light_of looks at, of a camera before the face (at +z) and one lamp beside a faint glow."""
    glow = np.full(3, 0.1, np.float32)
    lamp = Lighting(np.float32([direction]), np.full((1, 3), 4, np.float32), np.float32([6]), glow, glow, glow)
    camera = np.diag(np.float32([1, -1, -1, 1]))
    return SimpleNamespace(world_to_cam=camera, light_sh=lamp.sh_coefficients())


def test_light_is_named_by_where_it_comes_from():
    assert light_of(lit_from((0, 0, 1))) == "from the front or all around"
    assert light_of(lit_from((0, 0, -1))) == "from behind"
    assert light_of(lit_from((1, 0, 0))) == light_of(lit_from((-1, 0, 0))) == "from one side"


def test_photos_are_named_by_turn_exposure_and_things(taken):
    _, photos, _ = taken
    groups = photo_groups(photos[0])
    dark = dataclasses.replace(photos[0], picture=photos[0].picture // 4, accessories=("mask",))
    assert photo_groups(dark)["face in the picture"] == "dim" and photo_groups(dark)["worn or held"] == "mask"
    assert photo_groups(dark)["turned aside"] == groups["turned aside"] and groups["turned aside"].endswith("degrees")


def figures(person: str, group: str, identity: float) -> PhotoFigures:
    return PhotoFigures(
        person, {"all": "everybody", "kind": group}, identity, 1.0, 2.0, 1.5, 1.0, 2.0, float("nan"), float("nan")
    )


def test_groups_have_counts_and_ratios_and_the_weakest_is_named():
    photos = [figures(f"p{k}", "plain", 1.0) for k in range(6)] + [figures(f"q{k}", "odd", 1.8) for k in range(6)]
    photos += [figures("p0", "odd", 1.0), figures("lone", "rare", 2.0)]
    groups = by_group(photos)
    assert groups["kind"]["plain"]["people"] == 6 and groups["kind"]["odd"]["people"] == 7
    assert groups["all"]["everybody"]["photos"] == 14 and groups["all"]["everybody"]["people"] == 13
    assert groups["kind"]["plain"]["identity_one"] == pytest.approx(0.5)
    assert groups["kind"]["odd"]["identity_one"] == pytest.approx((6 * 1.8 + 1.0) / 14)
    assert groups["kind"]["odd"]["motion"] == pytest.approx(0.5) and groups["kind"]["odd"][
        "points_px"
    ] == pytest.approx(1.5)
    assert [row[1] for row in weakest(groups)] == ["odd", "plain"]  # one person is too few to say so


@pytest.mark.slow
def test_the_command_writes_the_card_of_the_shipped_model(tmp_path):
    assert model_card.main(["--people", "2", "--photos", "1", "--out", str(tmp_path)]) == 0
    page, record = (tmp_path / "model_card.md").read_text(), json.loads((tmp_path / "model_card.json").read_text())
    everybody = record["groups"]["all"]["everybody"]
    assert everybody["people"] == 2 and 0.3 < everybody["identity_one"] < 1.5 and 0 < everybody["points_px"] < 20
    assert "No photograph of anybody was used" in page and "## Where it fails" in page
    first, again = (list(measure_held_out(FakeNothing(), 1, 1, scans=False)) for _ in range(2))
    assert repr(first) == repr(again), "NaN is no NaN's equal"


class FakeNothing(Knowing):
    """The mean head for one photo."""

    def __init__(self) -> None:
        head = HeadModel.load()
        head.mirror_vertex_ids = None
        super().__init__(head, HeadParams.zeros(head, 1))


def test_what_cannot_be_measured_is_told_in_a_line(tmp_path, capsys):
    assert model_card.main(["--people", "0"]) == 1
    assert "--people" in capsys.readouterr().err
    assert model_card.main(["--model", str(tmp_path)]) == 1
    assert "config.json: missing" in capsys.readouterr().err
