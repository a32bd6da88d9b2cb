"""The two stages, small: their files, their determinism, their complaints."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from pipeline.benchmark import BenchmarkParams, ict_member, render_subject
from pipeline.benchmark import run as run_benchmark
from pipeline.people import PeopleParams, render_clip
from pipeline.people import run as run_people
from pipeline.run.settings import StageError
from sheap.evaluation.expression_dataset import ExpressionDataset
from sheap.evaluation.now.dataset import NowDataset
from sheap.evaluation.now.metric import evaluate_pair
from sheap.evaluation.rendered_truth import read_true_shapes
from sheap.evaluation.similarity import procrustes
from sheap.people.now_layout import CHALLENGES
from sheap.people.studio import shared_studio
from tests.stage_settings import stage_params

SMALL = stage_params(PeopleParams, train_people=1, validation_people=1, frames=2, sizes=[(96, 128)])
TINY_BENCHMARK = stage_params(
    BenchmarkParams, subjects=1, multiview_neutral=1, multiview_expressions=1, multiview_occlusions=1, selfie=1,
    image_size=(120, 90), scan_subdivisions=1,
)  # fmt: skip
ICT_FILE = Path(__file__).parents[3] / "shared/reference/ict/ict_light.npz"


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    root = tmp_path_factory.mktemp("people")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_people(SMALL)
    return root / "data/people"


def test_people_writes_ordinary_videos_with_truth_and_a_list(people):
    document = json.loads((people / "people.json").read_text())
    assert document["licence"] == "CC0-1.0" and document["fps"] == SMALL.fps
    entries = document["people"]
    assert [entry["split"] for entry in entries] == ["train", "validation"]
    assert len({entry["identity"] for entry in entries}) == 2
    for entry in entries:
        with av.open(str(people / entry["file"])) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert np.stack(frames).shape == (2, 96, 128, 3)
        assert np.stack(frames).std() > 5
        truth = np.load(people / entry["truth"])
        assert truth["landmarks_px"].shape == (2, 478, 2) and truth["shape"].shape == (300,)
    assert sorted(path.name for path in (people / "clips").iterdir()) == sorted(f"{e['name']}.mp4" for e in entries)


def test_the_same_params_make_the_same_bytes(people, tmp_path):
    for name in ("clips", "truth"):
        (tmp_path / name).mkdir()
    entry = render_clip(SMALL, tmp_path, "train", 0, 0)
    for kind in ("file", "truth"):
        assert (tmp_path / entry[kind]).read_bytes() == (people / entry[kind]).read_bytes()


def test_people_refuses_what_it_cannot_film(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageError, match="95 x 128"):
        run_people(SMALL.model_copy(update={"sizes": [(95, 128)]}))
    with pytest.raises(ValueError, match="no-such-folder"):
        run_people(SMALL.model_copy(update={"assets": "no-such-folder"}))
    assert not (tmp_path / "data").exists()


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    root = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run_benchmark(TINY_BENCHMARK)
    return root / "data/benchmark"


def test_benchmark_is_a_now_download(benchmark):
    dataset = NowDataset.open(benchmark)
    assert [image.challenge for image in dataset.images] == list(CHALLENGES)
    for image in dataset.images:
        box = dataset.face_box(image)
        assert box is not None and dataset.image_path(image).stat().st_size > 1000
    scan = dataset.scan(dataset.subjects[0])
    distance = np.linalg.norm(scan.mesh.vertices[:, None] - scan.landmarks[None].astype(float), axis=-1).min(0)
    # Both files round their decimals: 0.05 and 0.005 micrometres, plus float32.
    assert distance.max() < 2e-4


def test_benchmark_has_the_moments_with_an_expression(benchmark):
    dataset = ExpressionDataset.open(benchmark / "expressions")
    assert [image.subject for image in dataset.images] == ["benchmark-0000"]
    [image] = dataset.images
    photo = benchmark / "iphone_pictures/benchmark-0000/multiview_expressions" / image.name
    assert dataset.image_path(image).read_bytes() == photo.read_bytes()
    moment, neutral = dataset.scan(image), NowDataset.open(benchmark).scan(image.subject)
    # One skull, two faces: the eyes' corners stay apart as they were, the landmarks as a whole do not fit.
    widths = [np.linalg.norm(landmarks[0] - landmarks[3]) for landmarks in (moment.landmarks, neutral.landmarks)]
    assert abs(widths[0] - widths[1]) < 3
    fit = procrustes(neutral.landmarks, moment.landmarks, allow_reflection=False)
    assert np.abs(fit.apply(moment.landmarks) - neutral.landmarks).max() > 0.5


def test_benchmark_repeats_and_meets_no_training_person(benchmark, people, tmp_path):
    subject = render_subject(TINY_BENCHMARK, tmp_path, 0)
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert file.read_bytes() == (benchmark / file.relative_to(tmp_path)).read_bytes(), file.name
    shape = np.array(subject["shape"])
    for entry in json.loads((people / "people.json").read_text())["people"]:
        assert entry["seed"] != subject["seed"]
        distance = np.linalg.norm(np.load(people / entry["truth"])["shape"] - shape)
        # Strangers' 300 unit normal coefficients lie about sqrt(600) = 24.5 apart.
        assert distance > 18


def test_people_with_shapes_of_ict_stand_beside_the_benchmark_in_its_layout(tmp_path, monkeypatch):
    if not ICT_FILE.is_file():
        pytest.skip(f"{ICT_FILE} is not there")
    monkeypatch.chdir(tmp_path)
    run_benchmark(TINY_BENCHMARK.model_copy(update={"ict": ICT_FILE}))
    root = tmp_path / "data/benchmark/ict"
    dataset = NowDataset.open(root)
    assert dataset.subjects == ("ict-0000",) and [image.challenge for image in dataset.images] == list(CHALLENGES)
    [entry] = json.loads((root / "ict_people.json").read_text())["subjects"]
    assert [photo["image"].split("/")[1] for photo in entry["photos"]] == list(CHALLENGES)
    # Their true faces are no coefficients of ours: nothing may be scored as if they were.
    assert "shape" not in entry and read_true_shapes(root) is None
    assert read_true_shapes(root.parent).keys() == {"benchmark-0000"}
    # The scan is of the person, beyond what the basis can say of them.
    member, residual = ict_member(TINY_BENCHMARK.model_copy(update={"ict": ICT_FILE}), 0)
    head, scan = shared_studio().head, dataset.scan("ict-0000")
    fitted = head.neutral(torch.from_numpy(member.shape))
    errors = []
    for mesh in (fitted + torch.from_numpy(residual), fitted, head.template):
        landmarks = 1e3 * head.now_landmarks(mesh).double().numpy()
        vertices, faces = 1e3 * mesh.double().numpy(), head.faces.numpy()
        errors.append(evaluate_pair(scan.mesh.vertices, scan.mesh.faces, scan.landmarks, vertices, faces, landmarks).median)
    assert errors[0] < errors[1] < errors[2]


def test_a_wrong_file_of_ict_is_told_before_anything_is_rendered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "other.npz", faces=np.zeros((1, 3)))
    with pytest.raises(StageError, match=r"benchmark.ict: .*other.npz: lacks"):
        run_benchmark(TINY_BENCHMARK.model_copy(update={"ict": tmp_path / "other.npz"}))
    with pytest.raises(StageError, match=r"benchmark.ict: .*nowhere"):
        run_benchmark(TINY_BENCHMARK.model_copy(update={"ict": tmp_path / "nowhere"}))
    assert not (tmp_path / "data").exists()
