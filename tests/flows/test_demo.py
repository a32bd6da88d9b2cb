"""What `make demo` prints at its end."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

import flows.demo
import flows.train_sheap
from pipeline.metrics import parse_metrics


def metrics_document(median: float) -> dict:
    def errors(value: float) -> dict:
        one = {"median_mm": value, "mean_mm": 2.0, "std_mm": 1.0, "images": 6, "vertices": 600}
        return {"selfie": one, "overall": {**one, "images": 12}}

    return {
        "benchmark": {"folder": "data/benchmark", "sha256": "ab" * 32, "num_images": 12},
        "model": errors(median),
        "mean_head": errors(1.6),
    }


def adapted_document(adapted: float, shipped: float, *, kept_start: bool = False) -> dict:
    document = metrics_document(adapted)
    ratios = {"landmarks": 0.953, "truth_shape": 1.0}
    adaptation = {
        "start": "shipped", "steps": 90, "clips": 11, "people": 1, "replayed_people": 80, "own_held_out": 0,
        "judgement": {"kept_start": kept_start, "best_step": 60, "validations": 3, "ratios": ratios},
    }  # fmt: skip
    return document | {"others": {"shipped": metrics_document(shipped)["model"]}, "adaptation": adaptation}


def shown(document: dict) -> list[list[str]]:
    console = Console(width=130, record=True, file=io.StringIO())
    console.print(flows.demo.metrics_table(parse_metrics(json.dumps(document).encode(), "metrics.json")))
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in console.export_text().splitlines() if "│" in line]


def said(document: dict) -> str:
    return flows.demo.verdict(parse_metrics(json.dumps(document).encode(), "metrics.json"))


def test_the_table_has_a_row_a_method_from_the_mean_head_to_the_adapted_model() -> None:
    assert shown(adapted_document(1.2, 1.3)) == [
        ["mean head", "1.600", "2.000", "1.000", "1.600"],
        ["shipped", "1.300", "2.000", "1.000", "1.300"],
        ["adapted", "1.200", "2.000", "1.000", "1.200"],
    ]
    assert shown(metrics_document(1.2)) == [
        ["mean head", "1.600", "2.000", "1.000", "1.600"],
        ["trained", "1.200", "2.000", "1.000", "1.200"],
    ]


def test_the_sentence_says_what_was_gained_and_what_was_not() -> None:
    assert said(metrics_document(1.2)) == "Trained: median error 25.0 % below that of the mean head."
    assert said(metrics_document(1.68)) == "Trained: median error 5.0 % above that of the mean head."
    better = said(adapted_document(1.2, 1.25))
    assert better.startswith(
        "Shipped: median error 21.9 % below that of the mean head. Adapted: median error 25.0 % below that of the mean head. "
        "Adapted: median error 4.0 % below that of shipped. Adapting helped on held-out pairs: 11 clips of 1 person"
    )
    assert "best at step 60 of 90 (landmarks -4.7 %, true identity error +0.0 % against the start)" in better
    assert "none of the corpus' own people was held out" in better
    worse = said(adapted_document(1.344, 1.28))
    assert "Adapted: median error 5.0 % above that of shipped." in worse
    kept = said(adapted_document(1.28, 1.28, kept_start=True))
    assert "Adapted: the same median error as shipped. Adapting did not help: 11 clips of 1 person" in kept
    assert "none of 3 validations on held-out pairs better than the start, so the saved model is the start" in kept


def test_without_early_stopping_nothing_is_claimed() -> None:
    document = adapted_document(1.2, 1.3)
    document["adaptation"] |= {"judgement": None, "clips": 1, "replayed_people": 0}
    assert said(document).endswith(
        "Adapted by 1 clip of 1 person in 90 steps; without early stopping nothing has judged whether it helped."
    )


def test_the_demo_passes_the_corpus_on_and_unsets_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PREFECT_HOME", "PREFECT_SERVER_ANALYTICS_ENABLED", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "restored after the test")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "60")
    seen = {}

    def run(command: list[str], folder: Path) -> int:
        seen["command"], seen["environment"] = command, dict(flows.demo.os.environ)
        (tmp_path / "data/evaluation").mkdir(parents=True)
        (tmp_path / "data/evaluation/metrics.json").write_text(json.dumps(metrics_document(1.2)))
        return 0

    monkeypatch.setattr(flows.demo, "run_on_leash", run)
    (tmp_path / "my videos").mkdir()
    (tmp_path / "my videos/a.mp4").touch()
    assert flows.demo.main(["--corpus", "my videos"]) == 0
    assert seen["command"][1:] == ["-m", "flows.train_sheap", "--corpus", "my videos"]
    assert "PREFECT_API_URL" not in seen["environment"], "an empty one would break events"
    assert seen["environment"]["PREFECT_HOME"] == str(tmp_path / ".prefect")
    assert f"Report: {tmp_path / 'data/report/report.html'}" in capsys.readouterr().out


@pytest.mark.parametrize(("folder", "said"), [("my vidoes", "did you mean my videos?"), ("empty", "holds no video")])
def test_a_mistyped_corpus_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], folder: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my videos").mkdir()
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(flows.demo, "run_on_leash", lambda command, folder: pytest.fail("the flow was started"))
    assert flows.demo.main(["--corpus", folder]) == 2
    error = capfd.readouterr().err
    assert said in error and folder in error and len(error.splitlines()) == 1


def test_a_failed_flow_gives_its_exit_code_and_no_table(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name in ("PREFECT_HOME", "PREFECT_SERVER_ANALYTICS_ENABLED", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "restored after the test")
    monkeypatch.setattr(flows.demo, "run_on_leash", lambda command, folder: 1)
    assert flows.demo.main([]) == 1
    assert capsys.readouterr().out == ""


def test_trouble_with_prefect_itself_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(corpus: str | None, return_state: bool) -> None:
        raise RuntimeError("Timed out while attempting to connect\nto the server.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(flows.train_sheap, "train_sheap", fail)
    assert flows.train_sheap.main([]) == 1
    log = Path(".sheap/logs/flow.log")
    assert capsys.readouterr().err == (
        f"train-sheap: failed: Timed out while attempting to connect to the server. (details: {log})\n"
    )
    assert "Traceback" in log.read_text()
