"""The evaluate stage on a small benchmark folder, with an untrained network."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from pipeline import evaluate
from pipeline.commands import evaluate as commands
from pipeline.evaluate import EvaluateParams, PredictionParams, methods_of, params_type, run
from pipeline.files.trained_model import load_trained
from pipeline.metrics import read_metrics
from pipeline.report import page_environment
from pipeline.reporting.measured import show_measures
from pipeline.run.settings import StageError, load_params
from sheap.bundle import BundleConfig, HeadReference, Preprocessing, save_bundle
from sheap.evaluation.face_boxes import FaceBox, write_face_box
from sheap.evaluation.head_meshes import neutral, neutral_meshes
from sheap.evaluation.landmark_files import write_picked_points
from sheap.evaluation.measures import MEASURES
from sheap.evaluation.measures.base import MODEL, Column, Inputs, Line, Measure, MeasureSettings, Method, Plot, Row, Table
from sheap.evaluation.measures.now import improvement
from sheap.evaluation.mesh_files import write_obj
from sheap.evaluation.now.results import DistanceStatistics
from sheap.evaluation.predictions import Predictions, mean_heads
from sheap.head import HeadModel, HeadParams
from sheap.head.data import OPEN_HEAD_PATH, read_head, write_head
from sheap.networks.config import PRESETS
from sheap.networks.sheap_network import SheapNetwork
from sheap.predictor import SheapPredictor
from sheap.video.crops import CROP_RISE_CM, CROP_SIDE_CM
from sheap.video.face_models import find_bundle
from tests.stage_settings import stage_params
from tests.video.made_videos import carphone_frames, write_video

CHALLENGES = ("multiview_neutral", "selfie")
PROJECT = Path(__file__).parents[2]


def settings(**changes: object) -> PredictionParams:
    """The project's own settings with NoW alone, changed as named."""
    return stage_params(EvaluateParams, **({"expressions_dir": None, "carphone": False, "num_workers": 1} | changes))


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
        run(settings())
    return project / "data/evaluation"


def inputs_of(params: PredictionParams, methods: list[Method], predictor: SheapPredictor, folder: Path) -> Inputs:
    return Inputs(methods, predictor.face_finder, folder, **params.of_inputs())


def measured(name: str, params: PredictionParams, folder: Path) -> dict:
    """One measure's figures in the current project."""
    [measure] = [measure for measure in MEASURES if measure.name == name]
    predictor = load_trained(Path("data/model"), landmark_model=params.landmark_model)
    return measure.figures(params, inputs_of(params, methods_of(predictor), predictor, folder))


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


def test_nothing_but_figures_is_written(evaluated: Path) -> None:
    """Meshes are an export: `sheap predict now`."""
    assert {path.name for path in evaluated.iterdir()} == {"metrics.json", "errors.npz", "cumulative.json"}


def test_missing_inputs_are_named(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageError, match="run the 'train' stage first"):
        run(settings())
    (tmp_path / "data").mkdir()
    (tmp_path / "data/model").symlink_to(project / "data/model")
    with pytest.raises(StageError, match=r"run the 'benchmark' stage first .* a NoW benchmark in evaluate\.now_dir"):
        run(settings())
    with pytest.raises(StageError, match="elsewhere: missing"):
        run(settings(now_dir=Path("elsewhere")))
    assert not (tmp_path / "data/evaluation").exists()


def test_real_people_have_no_true_error(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(project)
    (project / "data/benchmark/benchmark.json").rename(tmp_path / "kept.json")
    try:
        assert measured("true_error", settings(), tmp_path) == {}
    finally:
        (tmp_path / "kept.json").rename(project / "data/benchmark/benchmark.json")


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
    project: Path, evaluated: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(project)
    metrics = json.loads((evaluated / "metrics.json").read_text())
    assert not {"nonrigid", "expressions", "footage", "emotions"} & metrics.keys()
    with pytest.raises(StageError, match=r"run the 'benchmark' stage first .* set evaluate\.expressions_dir to null"):
        run(settings(expressions_dir=Path("data/none")))
    with monkeypatch.context() as patch:
        patch.setattr("sheap.video.carphone.CARPHONE_PACKAGE", "no_such_package")
        with pytest.raises(StageError, match=r"evaluate\.carphone: .* or set evaluate\.carphone to false"):
            run(settings(carphone=True))
    with pytest.raises(StageError, match=r"data/none: missing; set evaluate\.emotions_dir to null"):
        run(settings(emotions_dir=Path("data/none")))
    Path("footage").mkdir()
    cv2.imwrite("footage/flat.png", np.zeros((60, 80, 3), np.uint8))
    write_video(Path("footage/talk.mp4"), carphone_frames(10))
    wanted = settings(footage_dir=Path("footage"), nonrigid=True, footage_frames=9)
    footage = measured("footage", wanted, tmp_path)["footage"]
    assert "no face found" in footage["unusable"]["flat.png"]
    # The clip is followed by the finder that the stage's own predictor brings.
    assert footage["seen"]["talk.mp4"] == {"frames": 9, "frames_with_face": 9, "shots": 1, "tracks": 1, "is_whole": False}
    found = footage["videos"]["files"]["talk.mp4"]
    # The untrained model's identities stray by 0.009 mm; one and the same identity (the mean head) by less than 1e-5.
    assert found["frames"] == 9 and found["reprojection"] > 0 and found["identity_spread_mm"] > 1e-4
    estimated = measured("nonrigid", wanted, tmp_path)["nonrigid"]
    for name in ("model", "mean_head"):
        # It sees more of the true error than nearest points do, and not all of it.
        now, true = metrics[name]["overall"]["mean_mm"], metrics["true_error"][name]["overall"]["mean_mm"]
        assert now < estimated[name]["mean_mm"] < true


def test_several_predictors_and_what_is_made_of_them_stand_side_by_side(
    project: Path, evaluated: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A second predictor, and identities fused over a person's pictures, are two more rows and nothing else."""
    monkeypatch.chdir(project)
    predictor, other = load_trained(Path("data/model")), load_trained(Path("data/model"))

    def fused(predictions: Predictions) -> Predictions:
        """The mean identity of each subject's pictures."""
        subjects = sorted({image.subject for image in predictions.rows})
        rows = {image: subjects.index(image.subject) for image in predictions.rows}
        own = [[row for image, row in predictions.rows.items() if image.subject == subject] for subject in subjects]
        shape = torch.stack([predictions.params.shape[picked].mean(0) for picked in own])
        params = HeadParams.zeros(predictions.head, len(subjects)).replace(shape=shape)
        return Predictions(predictions.head, params, rows)

    methods = [*methods_of(predictor), Method("again", other), Method("model_fused", predictor, fused)]
    figures = evaluate.measure_all(settings(), inputs_of(settings(), methods, predictor, tmp_path), MEASURES)
    before = json.loads((evaluated / "metrics.json").read_text())
    assert {key: figures[key] for key in ("model", "mean_head")} == {key: before[key] for key in ("model", "mean_head")}
    assert figures["others"]["again"] == figures["model"]
    assert figures["others"]["model_fused"]["overall"] != figures["model"]["overall"]
    assert set(figures["true_error"]) == {"model", "mean_head", "again", "model_fused"}
    (tmp_path / "metrics.json").write_text(json.dumps(figures))
    assert set(read_metrics(tmp_path / "metrics.json").others) == {"again", "model_fused"}
    now, true = show_measures(MEASURES, figures, tmp_path)
    assert {column.method for column in now.tables.content[0].columns} >= {"again", "model_fused"}
    [(plot, drawing)] = now.plots.content
    assert [line.method for line in plot.lines] == ["model", "mean_head", "again", "model_fused"]
    assert "model fused" in drawing and len(true.tables.content[0].rows) == 3


class BrightnessSettings(MeasureSettings):
    """Of the test measure below."""

    brightness_dir: Path | None
    """A folder with pictures."""


class BrightnessMeasure(Measure[BrightnessSettings]):
    """A measure that nothing outside of this test knows: how bright a folder's pictures are."""

    name = "brightness"
    summary = "How bright pictures are."
    settings = BrightnessSettings

    def is_wanted(self, settings: BrightnessSettings) -> bool:
        return settings.brightness_dir is not None

    def figures(self, settings: BrightnessSettings, inputs: Inputs) -> dict:
        paths = sorted(settings.brightness_dir.glob("*.png"))
        means = {path.name: float(cv2.imread(str(path)).mean()) for path in paths}
        (inputs.folder / "brightness.txt").write_text("kept")
        return {self.name: {method.name: means for method in inputs.methods}}

    def tables(self, metrics: dict) -> list[Table]:
        if self.name not in metrics:
            return []
        columns = (Column("picture"), Column("brightness", MODEL))
        rows = tuple(Row((file, f"{value:.1f}"), {MODEL: value}) for file, value in metrics[self.name][MODEL].items())
        return [Table("Brightness", "Of nothing but a test.", columns, rows, ("A note.",))]

    def plots(self, metrics: dict, folder: Path) -> list[Plot]:
        assert (folder / "brightness.txt").read_text() == "kept"
        values = list(metrics[self.name][MODEL].values())
        return [Plot("Brightness by picture", "", "picture", "brightness", (Line(MODEL, range(len(values)), values),))]


def test_a_new_measure_reaches_stage_metrics_command_and_report_by_being_registered(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """docs/extending.md: its own file, a line in the registry, its settings in params.yaml."""
    monkeypatch.chdir(project)
    (tmp_path / "bright").mkdir()
    cv2.imwrite(str(tmp_path / "bright/grey.png"), np.full((4, 4, 3), 77, np.uint8))
    measures = [*MEASURES, BrightnessMeasure()]
    # Stage: its settings stand in the section `evaluate`, an unknown key is still an error.
    section = {**settings().model_dump(mode="json"), "brightness_dir": str(tmp_path / "bright")}
    (tmp_path / "params.yaml").write_text(json.dumps({"evaluate": section}))
    params = load_params("evaluate", params_type(measures), tmp_path / "params.yaml")
    with pytest.raises(StageError, match=r"unknown key 'evaluate\.brightness_dir'"):
        load_params("evaluate", EvaluateParams, tmp_path / "params.yaml")
    # metrics.json.
    predictor = load_trained(Path("data/model"))
    figures = evaluate.measure_all(params, inputs_of(params, methods_of(predictor), predictor, tmp_path), measures)
    assert figures["brightness"] == {name: {"grey.png": 77.0} for name in ("model", "mean_head")}
    (tmp_path / "metrics.json").write_text(json.dumps(figures))
    assert read_metrics(tmp_path / "metrics.json").challenges[0] == "overall"
    # Report.
    shown = show_measures(measures, figures, tmp_path)[-1]
    page = page_environment().from_string("{% include 'measured.html.j2' %}").render(measured=[shown])
    for words in ("<h3>Brightness</h3>", "grey.png", "77.0", "A note.", "<h3>Brightness by picture</h3>", "<svg"):
        assert words in page, words
    # Command line.
    monkeypatch.setattr(commands, "app", typer.Typer())
    commands.add_commands(measures)
    called = CliRunner().invoke(
        commands.app,
        ["brightness", "--model", "data/model", "--brightness-dir", str(tmp_path / "bright")]
        + ["--out", str(tmp_path / "out.json")],
    )
    assert called.exit_code == 0, called.output
    assert "grey.png" in called.stdout and "77.0" in called.stdout
    assert json.loads((tmp_path / "out.json").read_text())["model"] == {"grey.png": 77.0}


def test_a_command_without_its_settings_says_which(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageError, match=r"true_error: --dataset, --image-set not given, and there is no params\.yaml"):
        CliRunner().invoke(commands.app, ["true-error"], catch_exceptions=False)


def test_a_model_of_another_head_is_evaluated_with_it(other_head: Path) -> None:
    assert measured("true_error", settings(), Path(".")) == {}, "the truth is of the open head"
    figures = measured("now", settings(), Path("."))
    assert figures["mean_head"]["overall"]["images"] == 4
    predictor = load_trained(Path("data/model"))
    template = HeadModel.load(other_head).template
    assert torch.equal(predictor.head.template, template)
    meshes = neutral(mean_heads(predictor.head, ["a"])).of_images(["a"])
    np.testing.assert_allclose(meshes.read("a").mesh.vertices, 1000 * template.double().numpy(), atol=1e-3)


def test_faces_are_found_as_in_training(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The landmark model that training was given is used again, unless another one is named."""
    shutil.copytree(project / "data/model", tmp_path / "data/model")
    monkeypatch.chdir(tmp_path)
    summary = Path("data/model/train.json")
    summary.write_text(json.dumps({"params": {"weight_files": {"face_landmarks": "gone.task"}}}))
    with pytest.raises(ValueError, match=r"train\.json: the face landmarks .*gone\.task.* not there"):
        load_trained(Path("data/model"))
    shutil.copyfile(find_bundle(None), "gone.task")
    predictor = load_trained(Path("data/model"))
    assert predictor._landmark_model == Path("gone.task")
    assert predictor.face_finder.process(np.zeros((64, 64, 3), np.uint8)) == []


def test_a_head_model_that_is_gone_or_altered_is_named(other_head: Path) -> None:
    write_head(read_head(OPEN_HEAD_PATH), other_head)
    with pytest.raises(ValueError, match="trained with another head model"):
        load_trained(Path("data/model"))
    other_head.unlink()
    with pytest.raises(ValueError, match=r"train\.json: the head model .*other\.safetensors.* not there"):
        load_trained(Path("data/model"))
    Path("data/model/train.json").unlink()
    with pytest.raises(ValueError, match=r"train\.json: missing"):
        load_trained(Path("data/model"))


def test_a_landmark_model_that_is_not_there_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    with pytest.raises(FileNotFoundError, match=r"none\.task"):
        run(settings(landmark_model=Path("none.task")))


def test_improvement_is_negative_when_the_model_is_worse() -> None:
    better, worse = (DistanceStatistics(median, 1.0, 1.0, 1, 1) for median in (1.0, 1.25))
    assert improvement(better, worse) == {"median_mm": 0.25, "median_percent": 20.0}
    assert improvement(worse, better) == {"median_mm": -0.25, "median_percent": -25.0}


def test_worker_processes_import_no_torch() -> None:
    """They import the stage's module once each; torch would cost them seconds."""
    code = "import sys, pipeline.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
