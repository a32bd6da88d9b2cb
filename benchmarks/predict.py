"""Latency and throughput of prediction from head crops: eager, compiled and ONNX Runtime, side by side.

    python -m benchmarks.predict [--model FOLDER] [--presets published] [--ways eager onnx compiled] [--output docs/benchmarks]

Every way of running answers the same random crops in turns, so that a machine that slows down slows all; the median of the turns
counts. Crops to parameters and vertices; finding faces and decoding are not in it. --presets adds untrained networks of a
preset's size (`published`: ViT-B/16 at 224 px). Uses CUDA where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import commit
from pipeline.run.provenance import cpu_name
from sheap.export import CropToHead, export
from sheap.head import HeadModel
from sheap.networks.config import PRESETS
from sheap.networks.sheap_network import SheapNetwork
from sheap.predictor import SheapPredictor

BATCHES = (1, 8, 64)
WAYS = ("eager", "compiled", "onnx")


def runners(module: CropToHead, ways: list[str], threads: int, device: torch.device) -> dict[str, Callable[[Tensor], Any]]:
    """How to run the network on crops [B, 3, S, S], by way."""
    found: dict[str, Callable[[Tensor], Any]] = {}
    if "eager" in ways:
        found["eager"] = module
    if "compiled" in ways:
        found["compiled"] = torch.compile(module)
    if "onnx" in ways:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(_onnx_file(module).read_bytes(), options)
        found["onnx"] = lambda crops: session.run(None, {"crops": np.asarray(crops.cpu())})
    if device.type == "cuda":
        found = {name: _synchronised(run) for name, run in found.items()}
    return found


def _onnx_file(module: CropToHead) -> Path:
    path = Path(tempfile.mkdtemp()) / "head.onnx"
    export(module.network, path, "onnx")
    return path


def _synchronised(run: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    def waiting(crops: Tensor) -> None:
        run(crops)
        torch.cuda.synchronize()

    return waiting


@torch.inference_mode()
def measure(name: str, network: SheapNetwork, ways: list[str], threads: int, turns: int) -> list[dict[str, Any]]:
    """Milliseconds a batch, by way and batch size."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = CropToHead(network).eval().to(device)
    rows = []
    running = runners(module, ways, threads, device)
    for batch in BATCHES:
        side = network.config.encoder.image_size
        crops = torch.rand(batch, 3, side, side, device=device)
        times: dict[str, list[float]] = {way: [] for way in running}
        for turn in range(turns + 1):
            for way, run in running.items():
                start = time.perf_counter()
                run(crops)
                if turn:  # the first one compiles and warms up
                    times[way].append(1e3 * (time.perf_counter() - start))
        for way, found in times.items():
            middle = statistics.median(found)
            rows.append({"network": name, "way": way, "batch": batch, "ms": middle, "heads_per_second": 1e3 * batch / middle})
    return rows


def page(result: dict[str, Any]) -> str:
    lines = [
        "# Prediction",
        "",
        f"Written by `{result['command']}`. {result['device']}, {result['threads']} threads, load {result['load']:.1f} at the "
        f"start; commit {result['commit']}, {result['date']}.",
        "",
        "From head crops to parameters and vertices; medians over turns in which every way answers the same crops.",
        "",
        "| network | way | batch | ms | heads a second | against eager |",
        "|---|---|---:|---:|---:|---:|",
    ]
    eager = {(row["network"], row["batch"]): row["ms"] for row in result["rows"] if row["way"] == "eager"}
    for row in result["rows"]:
        first = eager.get((row["network"], row["batch"]))
        ratio = "" if first is None else f"{first / row['ms']:.2f}"
        lines.append(
            f"| {row['network']} | {row['way']} | {row['batch']} | {row['ms']:.1f} | {row['heads_per_second']:.1f} | {ratio} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder (default: the shipped one)")
    parser.add_argument("--presets", nargs="*", default=["published"], choices=sorted(PRESETS))
    parser.add_argument("--ways", nargs="+", default=["eager", "onnx"], choices=WAYS)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--output", type=Path, help="folder for predict.md and predict.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result: dict[str, Any] = {
        "command": "python -m benchmarks.predict", "device": cpu_name(), "threads": args.threads, "load": os.getloadavg()[0],
        "commit": commit(), "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }  # fmt: skip
    if torch.cuda.is_available():
        result["device"] = torch.cuda.get_device_name()
    networks = {"shipped" if args.model is None else str(args.model): SheapPredictor.load(args.model).network}
    for preset in args.presets:
        networks[f"{preset} (untrained)"] = SheapNetwork(PRESETS[preset], HeadModel.load(), image_feature_size=384)
    result["rows"] = [
        row for name, network in networks.items() for row in measure(name, network, args.ways, args.threads, args.turns)
    ]
    text = page(result)
    print(text)
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / "predict.md").write_text(text, encoding="utf-8")
        (args.output / "predict.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
