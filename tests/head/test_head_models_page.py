"""The table of docs/head_models.md: every cell is run here, and says on the page what came out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from pipeline.commands.cli import app
from pipeline.report import run as write_report
from sheap.completion.complete import completed
from sheap.completion.landmarks import mediapipe_detector
from sheap.data.frames import Pairs
from sheap.evaluation.head_meshes import expressive_meshes, neutral_meshes
from sheap.evaluation.now import evaluate_pair
from sheap.export import TOLERANCE_MM, export
from sheap.head import HeadModel, HeadParams
from sheap.head.data import OPEN_HEAD_PATH, write_head
from sheap.head.door import recognise
from sheap.head.inventory import describe
from sheap.networks.config import PRESETS
from sheap.networks.reenactment import Reenactor
from sheap.networks.sheap_network import SheapNetwork
from sheap.predictor import SheapPredictor
from sheap.training.run import RunData, TrainingRun
from sheap.training.run_folder import RunFolder
from sheap.transfer.accuracy import transferred_distances
from sheap.transfer.arkit import ArkitWeights, has_arkit_shapes
from sheap.transfer.parameters import HeadTransfer
from sheap.transfer.registration import RegistrationSettings, register
from tests.head.made_heads import open_head, write_flame_folder, write_gnm, write_ict_npz
from tests.head.test_transfer import FEW
from tests.pipeline.model_folders import write_history_and_summary
from tests.pipeline.test_report import SMALL, read_page, run_stages_around_the_model
from tests.training.test_run import made_run_config, write_shards


def bare_flame(folder: Path) -> Path:
    return write_flame_folder(folder / "bare", companions=False)


PAGE = Path(__file__).parents[2] / "docs" / "head_models.md"
MADE: dict[str, Callable[[Path], Path]] = {
    "open head": lambda folder: OPEN_HEAD_PATH,
    "FLAME, folder": lambda folder: write_flame_folder(folder / "flame"),
    "FLAME, model file alone": lambda folder: bare_flame(folder) / "FLAME2020" / "generic_model.pkl",
    "GNM Head": lambda folder: write_gnm(folder / "gnm_head.npz"),
    "ICT Face Model Light": lambda folder: write_ict_npz(folder / "ict.npz"),
}


@dataclass
class Case:
    """One head model on its way: path as a user has it, converted file, and a predictor trained for four steps with it, whose
    bundle lies in `model`."""

    path: Path
    model: Path
    read: HeadModel
    converted: Path
    head: HeadModel
    run: TrainingRun
    data: RunData
    predictor: SheapPredictor


@pytest.fixture(scope="module", params=list(MADE))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Case]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("head")
    path = MADE[request.param](folder)
    read = HeadModel.load(path)
    converted = folder / "converted.safetensors"
    write_head(completed(read, mediapipe_detector, FEW).data, converted)
    config = made_run_config(**{"weight_files.head_model": converted, "validation_pairs": 1, "panel_pairs": 1})
    data = RunData.open(config, write_shards(folder / "shards"))
    run = TrainingRun.start(config)
    run.train(data, RunFolder(folder / "run", run.models, data.panel_pairs))
    (folder / "model").mkdir()
    run.save_model(folder / "model")
    # The bundle is loaded with what the user has, not with the converted file.
    predictor = SheapPredictor.load(folder / "model", head_model=path)
    return request.param, Case(path, folder / "model", read, converted, run.models.network.head, run, data, predictor)


def info(case: Case) -> str:
    lines = describe(case.read, [file.name for file in recognise(case.path).files])
    assert case.read.source is not None and lines[0].startswith(case.read.source.kind)
    lids = f", {case.read.num_eyelids} lids" if case.read.num_eyelids else ""
    return f"{case.read.num_shape} + {case.read.num_expression}{lids}, {len(case.read.joint_names)} joints"


def landmarks(case: Case) -> str:
    own = 0 if case.read.landmark_faces is None else int((case.read.landmark_weights[:468] > 0).sum())
    assert case.head.landmark_weights[:468].min() > 0 and case.head.now_faces is not None
    assert case.head.landmarks(case.head.template).shape == (478, 3)
    return f"{own} its own" if own == 468 else f"{own} its own, {468 - own} found"


def train_step(case: Case) -> str:
    changed = [
        not torch.equal(value, case.run.state.average.network.state_dict()[name])
        for name, value in TrainingRun.start(case.run.config).models.network.state_dict().items()
        if name.startswith(("heads.pose", "heads.shape", "regressor.outward"))
    ]
    assert any(changed) and case.run.state.step == 4 and case.run.state.skipped == 0
    return "yes"


def predict(case: Case) -> str:
    crops = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    found = case.predictor.predict_published(crops)
    assert found["shape_from_facenet"].shape == (2, case.head.num_shape) and found["expr"].shape == (2, case.head.num_expression)
    mesh = case.predictor.mesh(case.predictor.predict(crops))
    assert mesh.vertices.isfinite().all() and mesh.vertices.shape[1] == case.read.num_vertices
    return f"{len(found)} keys"


def now(case: Case) -> str:
    (mesh,), seven = neutral_meshes(case.predictor.head, torch.zeros(1, case.head.num_shape))
    shifted = mesh.vertices + [3.0, -2.0, 1.0]
    error = evaluate_pair(shifted, None, seven[0] + [3.0, -2.0, 1.0], mesh.vertices, mesh.faces, seven[0])
    assert error.median < 1e-3
    return "yes"


def expressions(case: Case) -> str:
    head = case.predictor.head
    params = HeadParams.zeros(head, 1)
    (still,), _ = expressive_meshes(head, params)
    (moved,), _ = expressive_meshes(head, params.replace(expression=params.expression + 0.3))
    assert np.abs(moved.vertices - still.vertices).max() > 0.1
    weights = ArkitWeights(head) if has_arkit_shapes(head) else ArkitWeights(head, _to(head))
    found = weights(params)
    assert found.shape == (1, 52) and torch.nan_to_num(found).abs().max() < 0.05
    return f"{int((~found.isnan()).sum())} of ARKit's 52" + ("" if has_arkit_shapes(head) else ", carried over")


def avatar(case: Case) -> str:
    models = case.run.averaged_models()
    pairs: Pairs = case.data.panel_pairs["train"]
    with torch.no_grad():
        made = Reenactor(models.network, models.cameras)(pairs.source.colors(), pairs.target.colors(), torch.ones(len(pairs), 3))
    assert made.head.gaussians is not None and made.head.color.isfinite().all()
    assert float(made.head.alpha.mean()) > 0.1, "the head is in the picture"
    return "yes"


def transfer(case: Case) -> str:
    if case.path == OPEN_HEAD_PATH:
        return "(to the others)"
    assert transferred_distances(_to(case.predictor.head), 1).face_mm < 2.0
    return "from the open head"


CELLS = {
    "info": info, "landmarks": landmarks, "train step": train_step, "predict": predict, "NoW": now,
    "expressions": expressions, "avatar": avatar, "transfer": transfer,
}  # fmt: skip
_transfers: dict[int, HeadTransfer] = {}


def _to(head: HeadModel) -> HeadTransfer:
    """From the open head, found once for each."""
    if id(head) not in _transfers:
        _transfers[id(head)] = HeadTransfer(open_head(), head, register(open_head(), head, RegistrationSettings(steps=4)))
    return _transfers[id(head)]


def page_table() -> dict[str, dict[str, str]]:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    split = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    start = next(number for number, row in enumerate(split) if row[0] == "head" and "info" in row)
    columns = split[start][1:]
    return {row[0]: dict(zip(columns, row[1:], strict=True)) for row in split[start + 1 : start + 1 + len(MADE)]}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("column", list(CELLS))
def test_a_cell_is_what_the_page_says(case: tuple[str, Case], column: str) -> None:
    name, made = case
    assert CELLS[column](made) == page_table()[name][column]



@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_was_trained_on_it_is_exported(case: tuple[str, Case], tmp_path: Path) -> None:
    name, made = case
    named = ("--model", made.model, *(() if made.path == OPEN_HEAD_PATH else ("--head-model", made.path)))
    crops = torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    params = made.predictor.predict(crops)
    wanted = [params.shape, params.expression, params.eyelids, params.rotvecs(), params.translation]
    wanted = [value for value in (*wanted, made.predictor.mesh(params).vertices) if value is not None]
    assert wanted[-2].shape == (3, 3) and wanted[-3].shape == (3, len(made.read.joint_names), 3)
    out = tmp_path / "model.pt"
    said = CliRunner().invoke(app, [str(part) for part in ("export", out, "--to", "torchscript", *named)], catch_exceptions=False)
    assert said.exit_code == 0 and "mm of the network's" in said.output
    for value, expected in zip(torch.jit.load(str(out))(crops), wanted, strict=True):
        torch.testing.assert_close(value, expected, atol=2e-5, rtol=1e-3)
    if name == "GNM Head":  # the one that has least: no lids, no jaw
        network = SheapNetwork(PRESETS["compact"], made.head, image_feature_size=None)
        assert export(network, tmp_path / "model.onnx", "onnx") < TOLERANCE_MM
        session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
        names = ["shape_coefficients", "expression_coefficients", "rotvecs", "translation", "vertices"]
        assert [output.name for output in session.get_outputs()] == names


@pytest.mark.timeout(600)
def test_the_report_shows_what_was_trained_on_it(
    case: tuple[str, Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, made = case
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made.model, "data/model")
    head_model = None if made.path == OPEN_HEAD_PATH else made.path
    write_history_and_summary(Path("data/model"), made.predictor.config, head_model)
    run_stages_around_the_model()
    write_report(SMALL)
    page = read_page()
    assert "Not available" not in page.text
    assert page.tags.count("img") == 2 * 5 + 2, "two rows of five pictures, two clips on the contact sheet"


def test_the_page_has_the_rows_and_columns_that_are_run() -> None:
    table = page_table()
    assert list(table) == list(MADE) and all(list(row) == list(CELLS) for row in table.values())
