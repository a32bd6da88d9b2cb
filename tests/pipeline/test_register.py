"""The bundle: complete, loadable, honest about figures, and safe against odd names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pipeline.files.corpus_file import Corpus
from pipeline.metrics import read_metrics
from pipeline.register import BUNDLE_DIR, RegisterParams, model_card, package_versions, run
from pipeline.run.settings import StageError, load_params
from sheap.bundle import read_bundle_config
from sheap.networks.config import PRESETS
from sheap.predictor import SheapPredictor
from tests.pipeline.model_folders import write_corpus, write_metrics, write_model
from tests.stage_settings import stage_params


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory):
    """A folder in which all stages before `register` have run, made the working folder."""
    torch.set_num_threads(1)
    patch = pytest.MonkeyPatch()
    patch.chdir(tmp_path_factory.mktemp("project"))
    Path("params.yaml").write_text("register: {title: A model, licence: Apache-2.0, notes: ''}\ntrain: {preset: tiny}\n")
    write_model()
    yield Path.cwd()
    patch.undo()


@pytest.fixture
def inputs(project: Path) -> Path:
    write_metrics()
    write_corpus([{"name": "a.mp4"}, {"name": "b.mp4", "origin": "a | b\n# <script>", "licence": "not stated"}])
    return project


def test_the_bundle_is_complete_and_predicts(inputs: Path) -> None:
    run(load_params("register", RegisterParams))
    assert {path.name for path in BUNDLE_DIR.iterdir()} == {
        "model.safetensors", "config.json", "preprocessing.json", "metrics.json", "provenance.json", "MODEL_CARD.md"
    }  # fmt: skip
    predictor = SheapPredictor.load(BUNDLE_DIR)
    assert predictor.predict(torch.zeros(1, 3, 112, 112)).shape.shape == (1, 300)
    provenance = json.loads((BUNDLE_DIR / "provenance.json").read_text())
    assert provenance["commit"] is None, "the folder is no git checkout, and that is no error"
    assert provenance["params"]["train"] == {"preset": "tiny"}
    assert provenance["training"]["seed"] == 0
    assert provenance["data"]["shards_data_hash"] == "cd" * 32
    assert public_version(provenance["packages"]["torch"]) == public_version(torch.__version__)
    assert provenance["registered_on"]["torch"] == torch.__version__, "with its build, `+cpu` or `+cu130`"
    assert provenance["data"]["weights_sha256"] and provenance["registered_on"]["cores"] >= 1


def public_version(version: str) -> str:
    """Without the build that PyPI's torch for Linux adds to `torch.__version__` and not to the version of its package."""
    return version.partition("+")[0]


@pytest.mark.parametrize("build", ["", "+cpu", "+cu130"])
def test_every_build_of_torch_is_recorded(inputs: Path, monkeypatch: pytest.MonkeyPatch, build: str) -> None:
    """The package and the module may call themselves by names that differ in the build."""
    monkeypatch.setattr(torch, "__version__", public_version(torch.__version__) + build)
    run(stage_params(RegisterParams))
    provenance = json.loads((BUNDLE_DIR / "provenance.json").read_text())
    assert provenance["registered_on"]["torch"] == torch.__version__
    assert public_version(provenance["packages"]["torch"]) == public_version(torch.__version__)


def test_the_card_states_the_figures_against_the_mean_head_and_escapes_names(inputs: Path) -> None:
    run(stage_params(RegisterParams))
    card = (BUNDLE_DIR / "MODEL_CARD.md").read_text()
    assert "| overall | 8 | 1.200 | 1.500 | 1.000 | 1.500 | 1.875 | 1.000 |" in card
    assert "20.0 % below the mean head's" in card
    assert r"| a \| b \# \<script\> | not stated | 1 |" in card
    assert "2 videos" in card and "A <CPU>" in card

    write_metrics(median=1.7)
    run(stage_params(RegisterParams, notes="Trained on a toy."))
    card = (BUNDLE_DIR / "MODEL_CARD.md").read_text()
    assert "does not beat the mean head" in card and "% below" not in card
    assert "Trained on a toy." in card


def test_the_card_of_an_adapted_model_says_what_it_began_from_and_what_came_of_it(inputs: Path) -> None:
    metrics_file, summary = Path("data/evaluation/metrics.json"), Path("data/model/train.json")
    metrics, train = json.loads(metrics_file.read_text()), summary.read_text()
    adaptation = {
        "start": "shipped", "steps": 60, "clips": 11, "people": 11, "replayed_people": 80, "own_held_out": 2,
        "judgement": {"kept_start": True, "best_step": 20, "validations": 4, "ratios": {"landmarks": 1.0}},
    }  # fmt: skip
    metrics_file.write_text(json.dumps(metrics | {"adaptation": adaptation}))
    config = read_bundle_config(Path("data/model"))
    compact = config.model_copy(update={"network": PRESETS["compact"]})

    def card(**chosen: object) -> str:
        training = json.loads(train)
        training["params"] |= chosen
        provenance = {"training": training, "data": {}}
        params = load_params("register", RegisterParams)
        text = model_card(params, compact, read_metrics(metrics_file), provenance, Corpus.read())
        return " ".join(text.split())

    adapted = card(start_from="shipped", supervision="none", replay={"share": 0.5})
    assert "It began from another predictor (shipped). Adapting did not help: 11 clips of 11 people" in adapted
    assert "none of 4 validations" in adapted and "Rendered people also taught it" in adapted
    assert "without 3D supervision. " not in adapted and "Encoder: convolutional" in adapted
    alone = card(start_from=None, supervision="none", replay={"share": 0.0})
    assert "It learnt from videos alone, without 3D supervision." in alone and "began from" not in alone


def test_missing_and_damaged_inputs_are_named_and_leave_no_bundle(inputs: Path) -> None:
    metrics = Path("data/evaluation/metrics.json")
    content = json.loads(metrics.read_text())
    del content["mean_head"]["selfie"]
    metrics.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"metrics.json: mean_head: not the challenges of 'model'"):
        read_metrics(metrics)
    metrics.unlink()
    before = sorted(BUNDLE_DIR.parent.rglob("*")) if BUNDLE_DIR.parent.exists() else []
    with pytest.raises(ValueError, match="run the 'evaluate' stage first"):
        run(stage_params(RegisterParams))
    write_metrics()
    Path("data/corpus/corpus.json").unlink()
    with pytest.raises(StageError, match="run the 'corpus' stage first"):
        run(stage_params(RegisterParams))
    after = sorted(BUNDLE_DIR.parent.rglob("*")) if BUNDLE_DIR.parent.exists() else []
    assert after == before


def test_a_bundle_that_does_not_load_is_not_registered(inputs: Path) -> None:
    weights = Path("data/model/model.safetensors")
    intact = weights.read_bytes()
    try:
        weights.write_bytes(intact[: len(intact) // 2])
        with pytest.raises(ValueError, match=r"model\.safetensors: does not fit config\.json"):
            run(stage_params(RegisterParams))
    finally:
        weights.write_bytes(intact)


def test_package_versions_name_every_requirement() -> None:
    versions = package_versions()
    assert {"torch", "ray", "prefect", "dvc", "numpy"} <= versions.keys()
    assert "pytest" not in versions, "extras are not what the model was made with"
    assert "not installed" not in versions.values()
