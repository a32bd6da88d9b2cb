"""`sheap head ...`, `sheap predict images --head`, and the train stage through Ray on FLAME's, GNM's and ICT's formats."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from pipeline.commands.cli import app
from pipeline.files.head_files import prepared_head
from pipeline.files.trained_model import load_trained, with_arkit
from pipeline.train import TrainParams, run
from sheap.completion import complete
from sheap.head import HeadModel
from sheap.head.data import OPEN_HEAD_PATH
from sheap.head.door import FLAME, LICENCES, head_sha256
from sheap.training.config import RunConfig
from sheap.training.run import RunData, TrainingRun
from sheap.training.run_folder import CHECKPOINT_NAME, RunFolder
from tests.head.made_heads import flame_arrays, write_flame_folder, write_gnm, write_ict_folder, write_ict_npz
from tests.head.test_transfer import FEW, SHARED_ICT
from tests.training.test_run import PROJECT, SHORT, write_shards

PORTRAIT = PROJECT.parent / "shared" / "images" / "source_s1.jpg"


@pytest.fixture
def few_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A handful of pictures of each head, in a project of its own."""
    monkeypatch.chdir(tmp_path)
    defaults = complete.completed.__defaults__
    monkeypatch.setattr(complete.completed, "__defaults__", (*defaults[:-1], FEW))


def sheap(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_info_says_what_is_there_and_what_will_not_work(tmp_path: Path) -> None:
    text = sheap("head", "info", write_flame_folder(tmp_path / "assets", companions=False))
    assert text.startswith("FLAME; licence: FLAME's own") and "read: generic_model.pkl" in text
    assert "4989 vertices, 9840 triangles, 300 identity and 100 expression coefficients, no eyelids" in text
    for what in ("MediaPipe's landmarks: no training", "NoW's seven landmarks", "UVs: no training", "what no camera sees"):
        assert f"missing: {what}" in text
    assert sheap("head", "info", OPEN_HEAD_PATH).startswith("the open head that ships with the package; licence: Apache-2.0")
    text = sheap("head", "info", write_gnm(tmp_path / "gnm_head.npz"))
    assert text.startswith("GNM Head; licence: Apache-2.0") and "missing: joint jaw: its mouth opens by expression" in text


@pytest.mark.usefixtures("few_pictures")
def test_convert_keeps_the_licence_and_says_what_was_made(tmp_path: Path) -> None:
    folder = write_flame_folder(tmp_path / "assets")
    text = sheap("head", "convert", folder, "--out", tmp_path / "flame.safetensors")
    assert "made: region hidden, landmark_points; licence: FLAME's own" in text
    text = sheap("head", "info", tmp_path / "flame.safetensors")
    assert text.startswith("FLAME; licence: FLAME's own") and "made from: assets" in text
    assert "made here, not its publisher's: region hidden, landmark_points" in text and "missing" not in text
    with pytest.raises(ValueError, match=r"--out: flame\.npz: expected a name ending in \.safetensors"):
        sheap("head", "convert", folder, "--out", "flame.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no head model in this folder; expected FLAME"):
        sheap("head", "info", tmp_path / "empty")


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("few_pictures")
def test_the_shipped_predictor_answers_in_flames_parameters(tmp_path: Path) -> None:
    folder = write_flame_folder(tmp_path / "assets")
    predictor = with_arkit(load_trained(None, head=folder))
    crops = torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    published = predictor.predict_published(crops)
    assert {name: value.shape[1] for name, value in published.items()} == {
        "shape_from_facenet": 300, "expr": 100, "eyelids": 2, "cam_trans": 3, "torso_pose": 3, "neck_pose": 3,
        "jaw_pose": 3, "eye_l_pose": 3, "eye_r_pose": 3,
    }  # fmt: skip
    plain = load_trained(None)
    params, ours = predictor.predict(crops), plain.predict(crops)
    theirs, own = predictor.mesh(params).vertices, plain.mesh(ours).vertices
    apart = 1e3 * (theirs - own).norm(dim=-1).median(dim=1).values  # the made-up FLAME has the open head's mesh
    assert apart.max() < 3, apart
    assert predictor.arkit(params).shape == (2, 52)
    assert len(list((tmp_path / ".sheap" / "heads").iterdir())) == 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / ".sheap" / "heads").iterdir()}
    load_trained(None, head=folder)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / ".sheap" / "heads").iterdir()}
    with pytest.raises(ValueError, match=r"trained with another head model than assets: the open head .*--head"):
        load_trained(None, head_model=folder)
    with pytest.raises(ValueError, match="transfer: does not start from the head model"):
        plain.answering_in(predictor.transfer)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("few_pictures")
def test_a_picture_goes_to_flame_and_its_numbers_to_gnm(tmp_path: Path) -> None:
    if not PORTRAIT.is_file():
        pytest.skip(f"{PORTRAIT} is not here: a portrait to predict")
    flame, gnm = write_flame_folder(tmp_path / "assets"), write_gnm(tmp_path / "gnm_head.npz")
    sheap("predict", "images", PORTRAIT, "--head", flame, "--out", tmp_path / "out")
    said = json.loads((tmp_path / "out" / "source_s1.json").read_text())
    assert len(said["params"]["expression"]) == 100 and len(said["arkit"]) == 52 and said["arkit"]["tongueOut"] is None
    assert all(0 <= value <= 1 for value in said["arkit"].values() if value is not None)
    named = {"kind": "FLAME", "name": "assets", "licence": LICENCES[FLAME], "sha256": head_sha256(flame)}
    assert said["head"] == named
    manifest = json.loads((tmp_path / "out" / "sheap_results.json").read_text())
    assert manifest["model"]["head"] == named
    note = (tmp_path / "out" / "source_s1.obj").read_text().splitlines()[0]
    assert note.startswith("# The head as it was seen") and "Head model: FLAME (assets); licence: FLAME's own" in note
    sheap("predict", "images", PORTRAIT, "--out", tmp_path / "plain")
    plain = json.loads((tmp_path / "plain" / "source_s1.json").read_text())
    assert plain["head"]["kind"] == "the open head that ships with the package"
    # The made-up FLAME has the open head's mesh and lies where that lies, in numbers and in the picture.
    assert said["verdict"] == plain["verdict"] == "sure"
    assert said["disagreement"] < 0.06, "eye distances between the mesh's landmarks and those that were seen; measured: 0.033"
    overlays = [cv2.imread(str(tmp_path / name / "source_s1_overlay.png")).astype(float) for name in ("out", "plain")]
    assert np.abs(overlays[0] - overlays[1]).mean() < 3, "grey levels of 255"
    told = ("--predictions", tmp_path / "out" / "source_s1.json", "--out", tmp_path / "gnm")
    text = sheap("head", "transfer", flame, gnm, "--people", 2, *told)
    assert "registration, face: median 0.0" in text and "2 random people: median surface distance" in text
    stored = json.loads((tmp_path / "gnm" / "source_s1.json").read_text())
    made = stored["params"]
    assert stored["head"]["kind"] == "GNM Head"
    assert len(made["shape"]) == 40 and "jaw_rotvec" not in made and "eyelids" not in made
    vertices = [line for line in (tmp_path / "gnm" / "source_s1.obj").read_text().splitlines() if line.startswith("v ")]
    assert len(vertices) == 4989
    with pytest.raises(ValueError, match=r"source_s1\.json: not a prediction with the first head model's parameters"):
        sheap("head", "transfer", flame, gnm, "--people", 0, "--predictions", tmp_path / "gnm" / "source_s1.json")


def test_a_complete_head_is_trained_on_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepared_head(None) is None and prepared_head(OPEN_HEAD_PATH) == OPEN_HEAD_PATH


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("few_pictures")
@pytest.mark.parametrize("kind", ["gnm", "ict"])
def test_the_train_stage_prepares_the_head_and_its_model_loads_with_the_users_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The stage's own way with the workers' part in this process; ICT's own model, where it is."""
    torch.set_num_threads(1)
    if kind == "ict" and not SHARED_ICT.is_file():
        pytest.skip(f"{SHARED_ICT} is not here: ICT's own model, for measuring")
    path = SHARED_ICT if kind == "ict" else write_gnm(tmp_path / "gnm_head.npz")
    write_shards(tmp_path / "data" / "shards")

    def train_here(params: TrainParams, config: RunConfig, folder: Path, *_: object) -> None:
        assert config.weight_files.head_model != params.weight_files.head_model == path
        trained, data = TrainingRun.start(config), RunData.open(config)
        trained.train(data, RunFolder(folder, trained.models, data.panel_pairs))
        (folder / "checkpoint_0").mkdir()
        (folder / CHECKPOINT_NAME).rename(folder / "checkpoint_0" / CHECKPOINT_NAME)

    monkeypatch.setattr("pipeline.train._train", train_here)
    settings = yaml.safe_load((PROJECT / "params.yaml").read_text())["train"]
    run(TrainParams.model_validate(settings).changed(SHORT | {"weight_files.head_model": path}))
    summary = json.loads((tmp_path / "data" / "model" / "train.json").read_text())
    assert summary["params"]["weight_files"]["head_model"] == str(path)
    assert json.loads((tmp_path / "data" / "model" / "config.json").read_text())["head_model"]["name"] == path.name
    both_phases_were_trained(tmp_path / "data" / "model")
    predictor = load_trained(tmp_path / "data" / "model")
    found = predictor.predict(torch.rand(1, 3, 112, 112))
    assert found.jaw_rotvec is None and found.shape.shape == (1, predictor.head.num_shape)
    assert (predictor.head.num_shape, predictor.head.num_vertices) == {"gnm": (40, 4989), "ict": (100, 14388)}[kind]


def both_phases_were_trained(model: Path) -> None:
    """By the history of a run of two and two steps."""
    records = [json.loads(line) for line in (model / "history.jsonl").read_text().splitlines()]
    steps = [record for record in records if record["kind"] == "training"]
    assert [record["phase"] for record in steps] == ["landmarks"] * 2 + ["rendered"] * 2
    assert all(np.isfinite(record["loss"]) for record in steps)


@pytest.mark.timeout(900)  # Ray starts three times as slowly on a machine that does other things
@pytest.mark.usefixtures("few_pictures")
@pytest.mark.parametrize(
    "kind",
    [pytest.param("flame", marks=pytest.mark.slow), *(pytest.param(kind, marks=pytest.mark.minutes) for kind in ("gnm", "ict"))],
)
def test_the_train_stage_trains_on_every_format_through_ray(tmp_path: Path, kind: str) -> None:
    torch.set_num_threads(1)
    make = {
        "flame": lambda: write_flame_folder(tmp_path / "assets"), "gnm": lambda: write_gnm(tmp_path / "gnm_head.npz"),
        "ict": lambda: write_ict_npz(tmp_path / "ict.npz"),
    }  # fmt: skip
    path = make[kind]()
    write_shards(tmp_path / "data" / "shards")
    settings = yaml.safe_load((PROJECT / "params.yaml").read_text())["train"]
    changes = {
        "wandb_mode": "disabled", "workers.threads_per_worker": 1, "workers.num_workers": 1, "validation_pairs": 1,
        "panel_pairs": 1, "training.validate_every": 4, "training.panels_every": 4, "training.checkpoint_every": 4,
    }  # fmt: skip
    run(TrainParams.model_validate(settings).changed(SHORT | changes | {"weight_files.head_model": path}))
    summary = json.loads((tmp_path / "data" / "model" / "train.json").read_text())
    assert summary["steps"] == 4 and summary["params"]["weight_files"]["head_model"] == str(path)
    predictor = load_trained(tmp_path / "data" / "model")
    found = predictor.predict(torch.rand(1, 3, 112, 112))
    assert predictor.mesh(found).vertices.isfinite().all()
    assert (found.jaw_rotvec is None) == (kind != "flame")
    both_phases_were_trained(tmp_path / "data" / "model")
    if kind == "flame":
        assert set(predictor.predict_published(torch.rand(1, 3, 112, 112))) == {
            "shape_from_facenet", "expr", "eyelids", "cam_trans", "torso_pose", "neck_pose", "jaw_pose", "eye_l_pose",
            "eye_r_pose",
        }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_published_sizes_are_read(tmp_path: Path) -> None:
    arrays = flame_arrays(5023)
    (tmp_path / "flame2023.pkl").write_bytes(pickle.dumps(arrays))
    assert HeadModel.load(tmp_path / "flame2023.pkl").num_vertices == 5023
    gnm = HeadModel.load(write_gnm(tmp_path / "gnm_head.npz", count=17821, identities=253, expressions=383))
    assert (gnm.num_vertices, gnm.num_shape, gnm.num_expression) == (17821, 253, 383)
    ict = HeadModel.load(write_ict_folder(tmp_path / "ICT-FaceKit"))
    assert (ict.num_vertices, ict.num_shape, ict.num_expression) == (26719, 100, 53)
    assert np.isfinite(ict.template.numpy()).all() and int(ict.region_masks["eyeball_left"].sum()) == 1570
