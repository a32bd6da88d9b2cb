from __future__ import annotations

import numpy as np

from experiments import benchmark_heads
from experiments.benchmark_heads import measure
from pipeline.benchmark import BenchmarkParams
from sheap.people.cast import cast_member
from sheap.people.studio import shared_studio
from tests.stage_settings import stage_params


def test_a_head_is_the_further_from_a_scan_the_less_it_knows():
    params = stage_params(BenchmarkParams, scan_subdivisions=1)
    head = shared_studio().head
    member = cast_member(0, "benchmark", 0, head)
    bump = np.zeros((len(head.template), 3), np.float32)
    nose = int(head.template[:, 2].argmax())
    near = np.linalg.norm(head.template.numpy() - head.template[nose].numpy(), axis=1)
    bump[:, 2] = 0.008 * np.exp(-0.5 * (near / 0.02) ** 2)
    plain, beyond = measure(params, [(member, None)]), measure(params, [(member, bump)])
    mean, own, true = (float(np.median(beyond[name][0])) for name in benchmark_heads.HEADS)
    assert true < own < mean
    assert np.array_equal(plain["own coefficients"][0], plain["true mesh"][0])
    assert float(np.median(plain["true mesh"][0])) < 0.25


def test_a_wrong_file_is_named(capsys, tmp_path):
    assert benchmark_heads.main(["--people", "1", "--ict", str(tmp_path / "nowhere.npz")]) == 1
    assert "nowhere.npz" in capsys.readouterr().err
