"""The benchmarks of the rasteriser run, and say what they measured."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from benchmarks import rasterize, rasterize_cuda
from benchmarks.rasterize_page import PASSES, page, summary
from benchmarks.splat_parity import HEAD, measure


def rows_of_every_case(num_cores: int) -> list[dict]:
    """As if the CPU kernel took 10 + 30 ms on one thread, half of it on two, and the reference 100 times as long."""
    rows = []
    for case in rasterize.cases(False, num_cores):
        factor = (100 if case.backend == "reference" else 1) / case.threads
        times = {"forward_ms": 10 * factor, "backward_ms": 30 * factor}
        processor = {"forward_cpu_ms": 10 * factor, "backward_cpu_ms": 30 * factor}
        parts = {name: 1.0 for name in PASSES} if case.backend == "cpu" else {}
        rows.append(dataclasses.asdict(case) | times | processor | {"peak_mb": 7.0, "load": 0.1, "parts_ms": parts})
    return rows


def test_every_size_batch_and_thread_count_is_measured():
    cases = rasterize.cases(False, 2)
    head = {(case.size, case.batch, case.threads) for case in cases if case.backend == "cpu"}
    assert head >= {(side, batch, threads) for side in (112, 224, 512) for batch in (1, 8) for threads in (1, 2)}
    assert {case.size for case in cases if case.backend == "reference"} == {112, 224, 512}
    assert all(case.threads == 1 for case in rasterize.cases(False, 1)), "one core cannot say how two threads scale"


@pytest.mark.parametrize("backend", ["cpu", "reference", "mesh"])
def test_a_row_is_measured(backend: str):
    before = torch.get_num_threads()
    row = rasterize.measure(rasterize.Case(num_splats=60, size=20, batch=2, backend=backend), 2)
    for name in ("forward_ms", "forward_cpu_ms", "backward_ms", "backward_cpu_ms"):
        assert 0 < row[name] < 60_000, name
    assert math.isnan(row["peak_mb"]) or 0 <= row["peak_mb"] < 1000
    # Every pass of the kernel has a name in the page, and the passes are part of the whole.
    assert set(row["parts_ms"]) == (set(PASSES) if backend == "cpu" else set())
    assert torch.get_num_threads() == before


def test_page_and_summary_say_the_ratios():
    rows = rows_of_every_case(2)
    lines = summary(rows)
    assert "side 224, one thread: 100 times as fast as the tiled reference" in lines
    assert "side 512, batch 8: 2.00 times as fast on two threads" in lines
    assert "side 224, two threads: forward 5.0 ms, backward 15.0 ms" in lines
    machine = {"cpu": "A Fast One", "cores": 2, "load": 0.0, "torch": "2", "numba": "1", "commit": "c0ffee", "date": ""}
    text = page({"machine": machine, "summary": lines, "rows": rows})
    assert "A Fast One" in text and all(f"- {line}\n" in text for line in lines)
    assert "| 80,000 | 10.0 | 30.0 | 10.0 | 30.0 | 7.0 |" in text
    # 40 ms less seven passes of 1 ms.
    assert "autograd | 33.0 | 82% |" in text
    only_one = summary(rows_of_every_case(1))
    assert not any("two threads" in line for line in only_one) and only_one


def test_main_writes_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    few = [rasterize.Case(num_splats=60, size=20), rasterize.Case(num_splats=60, size=20, backend="reference")]
    monkeypatch.setattr(rasterize, "cases", lambda quick, num_cores: few)
    monkeypatch.setattr("sys.argv", ["rasterize", "--quick", "--output", str(tmp_path / "pages")])
    assert rasterize.main() == 0
    assert (tmp_path / "pages/rasterize.md").read_text().startswith("# The splat rasteriser on the CPU")
    assert '"num_splats": 60' in (tmp_path / "pages/rasterize.json").read_text()
    assert "reference" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="what is said where there is no CUDA")
def test_cuda_script_says_that_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr("sys.argv", ["rasterize_cuda"])
    assert rasterize_cuda.main() == 2
    assert "no CUDA device" in capsys.readouterr().err


def test_cuda_script_all_of_it_with_another_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    """The script from end to end, on the CPU backend in gsplat's place."""
    parity, timing = rasterize_cuda.parity, rasterize_cuda.timing
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A Card")
    monkeypatch.setattr(rasterize_cuda, "why_no_gsplat", lambda: None)
    monkeypatch.setattr(rasterize_cuda, "NASTY_KINDS", ("cloud",))
    monkeypatch.setattr(rasterize_cuda, "parity", lambda kind, num_seeds: parity(kind, num_seeds, backend="cpu", device="cpu"))
    real = timing(50, 8, 2, repeats=1, backend="cpu", device="cpu")
    assert (real.num_splats, real.size, real.batch) == (50, 8, 2) and min(real.forward_ms, real.backward_ms) > 0
    monkeypatch.setattr(
        rasterize_cuda, "timing", lambda *sizes: rasterize_cuda.Timing(*sizes, forward_ms=1, backward_ms=2, peak_mb=3)
    )
    monkeypatch.setattr("sys.argv", ["rasterize_cuda", "--seeds", "1", "--output", str(tmp_path)])
    assert rasterize_cuda.main() == 0
    text = (tmp_path / "rasterize_cuda.md").read_text()
    assert "A Card" in text and "cloud: images" in text and f"{HEAD}: images" in text
    assert "| 20,000 | 224 | 8 | 1.00 | 2.00 | 3 |" in text
    # Limits that cannot be kept are a failure, in the output and in the exit status.
    monkeypatch.setattr(rasterize_cuda, "CUDA_LIMITS", {"cloud": (1e-12, 1e-12), HEAD: (1e-12, 1e-12)})
    assert rasterize_cuda.main() == 1
    assert "FAILED" in capsys.readouterr().out


def test_measure_sees_a_wrong_backend(monkeypatch: pytest.MonkeyPatch):
    """A backend that lets everything through by a tenth less is found out in every figure."""
    from benchmarks import splat_parity

    honest = splat_parity.rasterize_splats

    def wrong(splats, cameras, *, background, backend):
        faded = splats.replace(opacities=0.9 * splats.opacities) if backend == "cpu" else splats
        return honest(faded, cameras, background=background, backend=backend)

    monkeypatch.setattr(splat_parity, "rasterize_splats", wrong)
    [found] = measure("tiny", range(1000, 1001), backend="cpu")
    assert min(found.images, found.shapes, found.paints, found.contribution) > 1e-2, found
