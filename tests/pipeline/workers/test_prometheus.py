"""The figures of a run as Prometheus reads them."""

from __future__ import annotations

import math
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from pipeline.workers.prometheus import write_prometheus


def test_the_last_figures_of_each_kind_are_gauges_with_the_runs_name(tmp_path: Path) -> None:
    path = tmp_path / "training.prom"
    training = {"kind": "training", "phase": "rendered", "step": 30, "loss": 0.5, "data_wait_share": 0.25, "ssim": math.nan}
    write_prometheus(path, "abc", {"training": {**training, "step": 20}})
    write_prometheus(path, "abc", {"training": training, "validation": {"kind": "validation", "step": 30, "loss": 0.75}})
    families = {family.name: family for family in text_string_to_metric_families(path.read_text())}
    found = {(name, s.labels["kind"]): s.value for name, family in families.items() for s in family.samples}
    assert found == {
        ("sheap_step", "training"): 30, ("sheap_loss", "training"): 0.5, ("sheap_data_wait_share", "training"): 0.25,
        ("sheap_step", "validation"): 30, ("sheap_loss", "validation"): 0.75,
    }  # fmt: skip
    assert all(sample.labels["run"] == "abc" for family in families.values() for sample in family.samples)
    assert [child.name for child in tmp_path.iterdir()] == ["training.prom"], "nothing half written stays"
