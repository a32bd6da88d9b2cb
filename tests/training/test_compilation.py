"""A compiled encoder: the same numbers, the same names, and copies that are not compiled."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

import pytest
import torch
import torch._dynamo.utils

from sheap.data.batches import indexed_batches
from sheap.head import HeadModel
from sheap.networks.sheap_network import SheapNetwork
from sheap.training.compilation import compile_encoder
from sheap.training.config import TrainingConfig
from sheap.training.loop import Worker, run_training
from sheap.training.state import TrainingState
from sheap.training.step import Models
from tests.training.test_loop import NETWORK, MadePairs, Notes, made_config, made_models

COMPILER = shutil.which(os.environ.get("CXX", "g++"))
HEADERS = Path(sysconfig.get_paths()["include"]) / "Python.h"


@pytest.fixture(scope="module")
def head() -> HeadModel:
    torch.set_num_threads(1)
    return HeadModel.load()


def test_compiling_changes_no_name_and_no_copy(head: HeadModel, tmp_path: Path) -> None:
    plain, compiled = made_models(head), made_models(head)
    compile_encoder(compiled.network)
    assert compiled.network.encoder._compiled_call_impl is not None, "it takes part at the first call"
    assert list(compiled.network.state_dict()) == list(plain.network.state_dict())
    state = TrainingState.start(compiled.network, made_config())
    assert state.average.network.encoder._compiled_call_impl is None
    state.save(tmp_path / "state.pt")
    TrainingState.start(plain.network, made_config()).restore(tmp_path / "state.pt")


@pytest.mark.slow
# the compiler's own processes take minutes on cores that other workers hold
@pytest.mark.timeout(1200)
@pytest.mark.skipif(COMPILER is None, reason="torch.compile needs a C++ compiler, and there is none on the PATH")
@pytest.mark.skipif(not HEADERS.is_file(), reason="torch.compile needs Python's header files")
def test_a_compiled_run_ends_where_a_plain_one_does(head: HeadModel) -> None:
    """Two steps of one batch size: kernels are built once."""
    config = made_config(
        landmark_phase={"steps": 2, "batch_size": 2, "rendered_pairs": 0},
        rendered_phase={"steps": 0, "batch_size": 1, "rendered_pairs": 0},
    )
    torch._dynamo.utils.counters.clear()
    plain, compiled = (_trained(head, config, compiled=compiled) for compiled in (False, True))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0, "something was compiled"
    assert compiled.step == 2 and compiled.skipped == 0
    for (name, ours), theirs in zip(
        compiled.network.state_dict().items(), plain.network.state_dict().values(), strict=True
    ):
        # Measured 4e-7; a step of Adam's is 1e-3.
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0, msg=name)


def _trained(head: HeadModel, config: TrainingConfig, *, compiled: bool) -> TrainingState:
    torch.manual_seed(0)
    encoder = NETWORK.encoder.model_copy(update={"stem": "patches"})
    network = SheapNetwork(
        NETWORK.model_copy(update={"encoder": encoder}), head, start_translation=torch.tensor([0.0, -0.015, -0.16])
    )
    models = made_models(head)
    models = Models(network, models.landmark_head, models.cameras)
    if compiled:
        compile_encoder(network)
    state = TrainingState.start(network, config)
    run_training(models, state, config, indexed_batches(MadePairs), [], Worker(), Notes())
    return state
