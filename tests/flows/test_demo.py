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


def test_the_table_shows_model_and_mean_head_overall_first() -> None:
    metrics = parse_metrics(json.dumps(metrics_document(1.2)).encode(), "metrics.json")
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(flows.demo.metrics_table(metrics))
    lines = [line for line in console.export_text().splitlines() if "selfie" in line or "overall" in line]
    assert [line.split("│")[1].strip() for line in lines] == ["overall", "selfie"]
    assert [cell.strip() for cell in lines[0].split("│")[2:5]] == ["12", "1.200", "2.000"]
    assert "1.600" in lines[0]
    assert "25.0 % below" in flows.demo.verdict(metrics)


def test_a_miss_is_said_plainly() -> None:
    metrics = parse_metrics(json.dumps(metrics_document(1.7)).encode(), "metrics.json")
    assert flows.demo.verdict(metrics) == "The model does not beat the mean head on this benchmark."


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
