"""The evaluate stage on a small benchmark folder, with an untrained network."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipeline import evaluate
from pipeline.evaluate import EvaluateParams, improvement, load_predictor, run
from pipeline.metrics import read_metrics
from pipeline.stage import StageError
from sheap.bundle import BundleConfig, HeadReference, Preprocessing, save_bundle
from sheap.evaluation.face_boxes import FaceBox, write_face_box
from sheap.evaluation.landmark_files import write_picked_points
from sheap.evaluation.mesh_files import write_obj
from sheap.evaluation.now.dataset import NowDataset
from sheap.evaluation.predictions import neutral_meshes
from sheap.evaluation.now.results import DistanceStatistics
from sheap.evaluation.now.submission import check_submission, read_prediction
from sheap.head import HeadModel
from sheap.head.data import OPEN_HEAD_PATH, read_head, write_head
from sheap.networks.config import PRESETS
from sheap.networks.sheap_network import SheapNetwork
from sheap.video.crops import CROP_RISE_CM, CROP_SIDE_CM

CHALLENGES = ("multiview_neutral", "selfie")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with a benchmark of two heads (flat pictures, given boxes) and a model that guesses."""
    root = tmp_path_factory.mktemp("project")
    head = HeadModel.load()
    torch.manual_seed(3)
    shapes = torch.randn(2, head.num_shape)
    meshes, landmarks = neutral_meshes(head, shapes)
    benchmark, lines = root / "data/benchmark", []
    rng = np.random.default_rng(0)
    for name, mesh, points in zip(("ann", "bob"), meshes, landmarks, strict=True):
        (benchmark / "scans" / name).mkdir(parents=True)
        (benchmark / "scans_lmks_onlypp" / name).mkdir(parents=True)
        write_obj(benchmark / "scans" / name / f"{name}.obj", mesh)
        write_picked_points(benchmark / "scans_lmks_onlypp" / name / f"{name}_picked_points.pp", points, f"{name}.obj")
        for challenge in CHALLENGES:
            for folder in ("iphone_pictures", "detected_face"):
                (benchmark / folder / name / challenge).mkdir(parents=True)
            picture = rng.integers(0, 255, (80, 60, 3), dtype=np.uint8)
            cv2.imwrite(str(benchmark / "iphone_pictures" / name / challenge / "IMG_1.jpg"), picture)
            write_face_box(benchmark / "detected_face" / name / challenge / "IMG_1.npy", FaceBox(20, 25, 45, 60))
            lines.append(f"{name}/{challenge}/IMG_1.jpg")
    (benchmark / "imagepathsvalidation.txt").write_text("\n".join(lines) + "\n")
    record = {"subjects": [{"name": n, "shape": s.tolist()} for n, s in zip(("ann", "bob"), shapes, strict=True)]}
    (benchmark / "benchmark.json").write_text(json.dumps(record))

    network = SheapNetwork(PRESETS["tiny"], head, image_feature_size=None)
    with torch.no_grad():
        network.heads["shape"].out.weight.normal_(std=0.3)
    size = PRESETS["tiny"].encoder.image_size
    preprocessing = Preprocessing(image_size=size, crop_side_cm=CROP_SIDE_CM, crop_rise_cm=CROP_RISE_CM)
    (root / "data/model").mkdir()
    config = BundleConfig(
        network=PRESETS["tiny"], image_feature_size=None, head_model=HeadReference.of(None), preprocessing=preprocessing
    )
    save_bundle(root / "data/model", network, config)
    return root


@pytest.fixture(scope="module")
def evaluated(project: Path) -> Path:
    """data/evaluation after the stage has run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        run(EvaluateParams(num_workers=1))
    return project / "data/evaluation"


def predict(params: EvaluateParams, folder: Path) -> tuple[dict, dict | None]:
    """The stage's predictions in the current project."""
    return evaluate.predict(params, load_predictor(params), NowDataset.open(params.now_dir), folder)


def test_metrics_are_what_the_readers_expect(evaluated: Path) -> None:
    metrics = read_metrics(evaluated / "metrics.json")
    assert metrics.challenges == ["overall", "multiview_neutral", "selfie"]
    assert metrics.benchmark.num_images == 4
    assert metrics.model["overall"].images == metrics.mean_head["overall"].images == 4
    assert metrics.model["overall"].median_mm != metrics.mean_head["overall"].median_mm
    assert 0.1 < metrics.mean_head["overall"].median_mm < 5


def test_figures_follow_from_the_distances(evaluated: Path) -> None:
    metrics = json.loads((evaluated / "metrics.json").read_text())
    with np.load(evaluated / "errors.npz") as errors:
        assert set(errors) == {f"{kind}/{name}" for kind in ("model", "mean_head") for name in CHALLENGES}
        for kind in ("model", "mean_head"):
            together = np.concatenate([errors[f"{kind}/{name}"] for name in CHALLENGES])
            assert metrics[kind]["overall"]["median_mm"] == pytest.approx(np.median(together), rel=1e-5)
            assert metrics[kind]["overall"]["vertices"] == len(together)
    gain = metrics["mean_head"]["overall"]["median_mm"] - metrics["model"]["overall"]["median_mm"]
    assert metrics["improvement"]["overall"]["median_mm"] == pytest.approx(gain)
    curves = json.loads((evaluated / "cumulative.json").read_text())
    assert len(curves["percent"]["model"]["overall"]) == len(curves["error_mm"])
    assert set(metrics["subjects"]) == {"ann", "bob"}


def test_true_errors_are_there_for_rendered_people(evaluated: Path) -> None:
    metrics = json.loads((evaluated / "metrics.json").read_text())
    # True correspondences: never closer than the closest point of the surface.
    for kind in ("model", "mean_head"):
        assert metrics["true_error"][kind]["overall"]["median_mm"] > metrics[kind]["overall"]["median_mm"]


def test_pictures_without_a_found_face_are_counted(evaluated: Path) -> None:
    counts = json.loads((evaluated / "metrics.json").read_text())["counts"]
    assert counts["predicted"] == counts["images"] == len(counts["cropped_by_box"]) == 4
    assert counts["cropped_by_landmarks"] == counts["missing"] == 0


def test_both_submissions_are_complete(project: Path, evaluated: Path) -> None:
    dataset = NowDataset.open(project / "data/benchmark")
    assert check_submission(evaluated / "mean_head", dataset).is_good
    for image in dataset.images:
        # The guessing network's faces need not pass the check, but they are all there.
        assert read_prediction(evaluated / "predictions", image).mesh.vertices.shape == HeadModel.load().template.shape


def test_missing_inputs_are_named(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageError, match="run the 'train' stage first"):
        run(EvaluateParams())
    (tmp_path / "data").mkdir()
    (tmp_path / "data/model").symlink_to(project / "data/model")
    with pytest.raises(StageError, match="run the 'benchmark' stage first"):
        run(EvaluateParams())
    with pytest.raises(FileNotFoundError, match="elsewhere: no such folder"):
        run(EvaluateParams(now_dir=Path("elsewhere")))
    assert not (tmp_path / "data/evaluation").exists()


def test_real_people_have_no_true_error(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(project)
    (project / "data/benchmark/benchmark.json").rename(tmp_path / "kept.json")
    try:
        _, true_errors = predict(EvaluateParams(), tmp_path)
    finally:
        (tmp_path / "kept.json").rename(project / "data/benchmark/benchmark.json")
    assert true_errors is None


@pytest.fixture
def other_head(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose model was trained with another head model (here: a tenth larger); returns that file."""
    data = read_head(OPEN_HEAD_PATH)
    write_head(dataclasses.replace(data, template=1.1 * data.template), tmp_path / "other.safetensors")
    head = HeadModel.load(tmp_path / "other.safetensors")
    size = PRESETS["tiny"].encoder.image_size
    config = BundleConfig(
        network=PRESETS["tiny"],
        image_feature_size=None,
        head_model=HeadReference.of(tmp_path / "other.safetensors"),
        preprocessing=Preprocessing(image_size=size, crop_side_cm=CROP_SIDE_CM, crop_rise_cm=CROP_RISE_CM),
    )
    (tmp_path / "data/model").mkdir(parents=True)
    save_bundle(tmp_path / "data/model", SheapNetwork(PRESETS["tiny"], head, image_feature_size=None), config)
    trained = {"params": {"weight_files": {"head_model": "other.safetensors"}}}
    (tmp_path / "data/model/train.json").write_text(json.dumps(trained))
    (tmp_path / "data/benchmark").symlink_to(project / "data/benchmark")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "other.safetensors"


def test_further_measures_are_what_the_settings_name(
    project: Path, evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    predictor, dataset = load_predictor(EvaluateParams()), NowDataset.open(Path("data/benchmark"))
    evaluations = evaluate.measure(dataset, evaluated, num_workers=1)

    def further(**settings: object) -> dict:
        return evaluate.measure_further(EvaluateParams(**settings), predictor, dataset, evaluations, evaluated)

    assert further() == {}
    with pytest.raises(StageError, match=r"run the 'benchmark' stage first .* set evaluate\.expressions_dir to null"):
        run(EvaluateParams(expressions_dir=Path("data/none")))
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.corpus.CARPHONE_PACKAGE", "no_such_package")
        with pytest.raises(StageError, match=r"evaluate\.carphone: .* or set evaluate\.carphone to false"):
            run(EvaluateParams(carphone=True))
    with pytest.raises(StageError, match=r"data/none: missing; set evaluate\.emotions_dir to null"):
        run(EvaluateParams(emotions_dir=Path("data/none")))
    Path("footage").mkdir()
    cv2.imwrite("footage/flat.png", np.zeros((60, 80, 3), np.uint8))
    sections = further(footage_dir=Path("footage"), nonrigid=True)
    assert "no face found" in sections["footage"]["unusable"]["flat.png"]
    metrics = json.loads((evaluated / "metrics.json").read_text())
    for name in ("model", "mean_head"):
        # It sees more of the true error than nearest points do, and not all of it.
        now, true = metrics[name]["overall"]["mean_mm"], metrics["true_error"][name]["overall"]["mean_mm"]
        assert now < sections["nonrigid"][name]["mean_mm"] < true


def test_a_model_of_another_head_is_evaluated_with_it(other_head: Path) -> None:
    dataset = NowDataset.open(Path("data/benchmark"))
    _, true_errors = predict(EvaluateParams(), Path("out"))
    # The truth is of the open head, so it says nothing about a mesh of another head.
    assert true_errors is None
    template = HeadModel.load(other_head).template.double().numpy()
    mean_head = read_prediction(Path("out/mean_head"), dataset.images[0]).mesh.vertices
    np.testing.assert_allclose(mean_head, 1000 * template, atol=1e-3)


def test_a_head_model_that_is_gone_or_altered_is_named(other_head: Path) -> None:
    write_head(read_head(OPEN_HEAD_PATH), other_head)
    with pytest.raises(ValueError, match="trained with another head model"):
        load_predictor(EvaluateParams())
    other_head.unlink()
    with pytest.raises(ValueError, match=r"train\.json: the head model .*other\.safetensors.* not there"):
        load_predictor(EvaluateParams())
    Path("data/model/train.json").unlink()
    with pytest.raises(ValueError, match=r"train\.json: missing"):
        load_predictor(EvaluateParams())


def test_a_landmark_model_that_is_not_there_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(FileNotFoundError, match=r"none\.task"):
        predict(EvaluateParams(landmark_model=Path("none.task")), tmp_path)


def test_improvement_is_negative_when_the_model_is_worse() -> None:
    better, worse = (DistanceStatistics(median, 1.0, 1.0, 1, 1) for median in (1.0, 1.25))
    assert improvement(better, worse) == {"median_mm": 0.25, "median_percent": 20.0}
    assert improvement(worse, better) == {"median_mm": -0.25, "median_percent": -25.0}


def test_worker_processes_import_no_torch() -> None:
    """They import the stage's module once each; torch would cost them seconds."""
    code = "import sys, pipeline.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
