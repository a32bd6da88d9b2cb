"""`sheap evaluate now` and `sheap evaluate expressions`, from folders to tables and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pipeline.commands import cli
from pipeline.commands.evaluate import workload_here
from pipeline.commands.exit_codes import INCOMPLETE
from pipeline.run.stage import cpu_count
from sheap.evaluation.expression_dataset import ExpressionImage, ExpressionWriter
from sheap.evaluation.mesh_files import TriangleMesh
from sheap.evaluation.now.dataset import NowDataset
from sheap.evaluation.now.submission import read_prediction, write_prediction
from sheap.evaluation.pictures import PICTURES_A_PASS


def sheap(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_now_prints_a_row_a_challenge_and_names_what_is_wrong(benchmark: Path, predictions: Path) -> None:
    dataset = NowDataset.open(benchmark)
    first, second, third = dataset.images
    good = read_prediction(predictions, first)
    write_prediction(predictions, second, good.mesh, good.landmarks[[3, 2, 1, 0, 4, 6, 5]])
    (predictions / f"{third.stem}.npy").unlink()
    command = ("--dataset", benchmark, "--predictions", predictions, "--workers", 1)
    result = sheap("evaluate", "now", *command)
    assert result.exit_code == INCOMPLETE, result.output
    assert "2 of 3 images have a prediction: 1 missing, 0 stale, 0 foreign" in result.stdout
    for row in ("overall", "multiview_neutral", "selfie"):
        assert row in result.stdout
    assert f"warning: {second}: alignment residual abnormal" in result.stderr
    assert f"not evaluated: {third}: " in result.stderr
    report = json.loads((predictions / "results/RECON.json").read_text())
    assert report["num_missing_files"] == 1


def test_now_measures_one_challenge_and_the_metrical_variant(benchmark: Path, predictions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    common = ("evaluate", "now", "--dataset", benchmark, "--predictions", predictions, "--out", out, "--workers", 1)
    result = sheap(*common, "--challenge", "selfie", "--metrical-unit", "mm")
    assert result.exit_code == 0 and "multiview_neutral" not in result.stdout
    assert (out / "RECON_metrical_computed_distances_selfie.npy").is_file()


def test_expressions_are_told_by_region(scan, tmp_path: Path, prediction) -> None:
    image = ExpressionImage("ann", "shout", "0.jpg")
    writer = ExpressionWriter(tmp_path / "faces")
    writer.add(image, np.zeros((8, 8, 3), np.uint8), scan.vertices, scan.landmarks)
    writer.write_list([image, ExpressionImage("ann", "shout", "1.jpg")])
    # Listed, but neither scanned nor predicted: it is named before its scan is missed.
    writer.add(ExpressionImage("ann", "shout", "1.jpg"), np.zeros((8, 8, 3), np.uint8), scan.vertices, scan.landmarks)

    write_prediction(tmp_path / "ours", image, TriangleMesh(prediction.vertices, prediction.faces), prediction.landmarks)
    command = ("evaluate", "expressions", "--dataset", tmp_path / "faces", "--predictions", tmp_path / "ours")
    result = sheap(*command, "--out", tmp_path / "figures.json")
    assert result.exit_code == INCOMPLETE, result.output
    assert "1 of 2 images have a prediction" in result.stdout and "missing: ann/shout/1.jpg" in result.stderr
    for region in ("overall", "mouth", "eyes", "cheeks", "forehead"):
        assert region in result.stdout
    assert "not evaluated: ann/shout/1.jpg: no prediction" in result.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["missing"] == ["ann/shout/1.jpg"] and figures["overall"]["images"] == 1


def test_a_whole_submission_ends_with_zero_and_a_foreign_mesh_does_not(benchmark: Path, predictions: Path) -> None:
    command = ("evaluate", "now", "--dataset", benchmark, "--predictions", predictions, "--workers", 1)
    result = sheap(*command)
    assert result.exit_code == 0, result.output
    assert "3 of 3 images have a prediction: 0 missing, 0 stale, 0 foreign" in result.stdout
    assert sheap(*command).exit_code == 0, "the results of before are no predictions"
    stranger = predictions / "somebody/selfie/else.obj"
    stranger.parent.mkdir(parents=True)
    stranger.write_text("v 0 0 0\n")
    result = sheap(*command)
    assert result.exit_code == INCOMPLETE and "foreign: somebody/selfie/else.obj" in result.stderr
    result = sheap(*command, "--challenge", "selfie")
    assert "1 foreign" in result.stdout, "another challenge's predictions are of the list"


def test_how_much_is_done_at_once_is_what_params_yaml_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert workload_here().of_inputs() == {"batch_size": PICTURES_A_PASS, "num_workers": 1}
    Path("params.yaml").write_text(json.dumps({"evaluate": {"batch_size": 3, "num_workers": 0, "image_set": "val"}}))
    assert workload_here().of_inputs() == {"batch_size": 3, "num_workers": cpu_count()}
    assert workload_here(num_workers=None).num_workers == 0
    assert workload_here(num_workers=2).of_inputs() == {"batch_size": 3, "num_workers": 2}
    Path("params.yaml").write_text(json.dumps({"evaluate": {"batch_size": 0}}))
    with pytest.raises(ValueError, match="batch_size"):
        workload_here()


def test_a_users_mistake_ends_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["sheap", "evaluate", "now", "--dataset", str(tmp_path), "--predictions", "none"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err
        == f"sheap: error: {tmp_path}/imagepathsvalidation.txt: missing; expected the benchmark's list of images\n"
    )
