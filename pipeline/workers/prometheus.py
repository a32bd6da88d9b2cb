"""The last figures of a training run as Prometheus reads them: a text file that node_exporter's textfile collector picks up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from sheap.files import write_bytes

FILE_NAME = "training.prom"
LABELS = ("run", "kind")


def write_prometheus(path: Path, run: str, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Every number of the last record of each kind (training, validation) as a gauge `sheap_NAME{run, kind}`; on a GPU its memory
    and use beside them. The file is replaced as a whole. Raises NotWritten naming it."""
    registry = CollectorRegistry()
    gauges: dict[str, Gauge] = {}
    for kind, record in records.items():
        numbers = {k: float(v) for k, v in record.items() if isinstance(v, (int, float)) and math.isfinite(v)}
        for name, value in (numbers | (gpu_figures() if kind == "training" else {})).items():
            if name not in gauges:
                text = f"{name.replace('_', ' ')} of the last record"
                gauges[name] = Gauge(f"sheap_{name}", text, LABELS, registry=registry)
            gauges[name].labels(run=run, kind=kind).set(value)
    write_bytes(path, generate_latest(registry))


def gpu_figures() -> dict[str, float]:
    """Memory (bytes) and use (share) of this process' GPU; nothing without one."""
    if not torch.cuda.is_available():
        return {}
    free, total = torch.cuda.mem_get_info()
    return {"gpu_memory_used_bytes": float(total - free), "gpu_memory_bytes": float(total), "gpu_use": _use()}


def _use() -> float:
    try:
        return torch.cuda.utilization() / 100
    except (ImportError, RuntimeError):  # needs NVIDIA's management library
        return math.nan
