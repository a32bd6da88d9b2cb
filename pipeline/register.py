"""Stage `register`: one folder that holds a model and all that is known of it; writes data/registry/sheap.

The folder is declared as a DVC artifact in dvc.yaml. Tagging a version of it is a person's step, after its commit:
`sheap promote`.
"""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import sheap
from pipeline.files.corpus_file import CORPUS_DIR, CORPUS_NAME, Corpus
from pipeline.files.trained_model import trained_head_model
from pipeline.metrics import METRICS_NAME, OVERALL, Metrics, read_metrics
from pipeline.reporting.pages import markdown_environment
from pipeline.run.champions import BUNDLE_DIR
from pipeline.run.provenance import git_commit, hardware
from pipeline.run.settings import StageParams, read_params_file
from pipeline.run.stage import atomic_directory, require_input, stage_main
from sheap.bundle import CONFIG_NAME, WEIGHTS_NAME, BundleConfig, read_bundle_config
from sheap.data.manifest import file_sha256
from sheap.files import write_json, write_text
from sheap.predictor import SheapPredictor

MODEL_DIR = Path("data/model")
EVALUATION_DIR = Path("data/evaluation")

PREPROCESSING_NAME = "preprocessing.json"
PROVENANCE_NAME = "provenance.json"
CARD_NAME = "MODEL_CARD.md"


class RegisterParams(StageParams):
    """Params section `register`."""

    title: str
    """Name of the model on its card."""
    licence: str
    """Licence of the weights; the videos' own licences are listed beside it."""
    notes: str
    """What a user of this very model should know; a paragraph of the card."""


def run(params: RegisterParams) -> None:
    """Reads data/model, data/evaluation and data/corpus, writes data/registry/sheap."""
    train = read_json(require_input(MODEL_DIR / "train.json", "train"))
    require_input(CORPUS_DIR / CORPUS_NAME, "corpus")
    corpus = Corpus.read()
    config = read_bundle_config(MODEL_DIR)
    metrics = read_metrics(EVALUATION_DIR / METRICS_NAME)
    provenance = _provenance(train, corpus, metrics)
    with atomic_directory(BUNDLE_DIR) as bundle:
        for name in (WEIGHTS_NAME, CONFIG_NAME):
            shutil.copyfile(require_input(MODEL_DIR / name, "train"), bundle / name)
        shutil.copyfile(EVALUATION_DIR / METRICS_NAME, bundle / METRICS_NAME)
        write_json(bundle / PREPROCESSING_NAME, _preprocessing(config), indent=2)
        write_json(bundle / PROVENANCE_NAME, provenance, indent=2, default=str)
        card = model_card(params, config, metrics, provenance, corpus)
        write_text(bundle / CARD_NAME, card)
        # What is registered loads: a bundle that does not must fail here, not at its user's.
        SheapPredictor.load(bundle, head_model=trained_head_model(MODEL_DIR))


def model_card(
    params: RegisterParams,
    config: BundleConfig,
    metrics: Metrics,
    provenance: dict[str, Any],
    corpus: Corpus,
) -> str:
    """The card in Markdown: what the model is, what it learnt from, how good it is, and what it is not for."""
    environment = markdown_environment()
    environment.filters["cell"] = _table_cell
    chosen = provenance["training"]["params"]
    rows = [(name, metrics.model[name], metrics.mean_head[name]) for name in metrics.challenges]
    return environment.get_template("model_card.md.j2").render(
        params=params,
        config=config,
        metrics=metrics,
        overall=metrics.model[OVERALL],
        mean_head=metrics.mean_head[OVERALL],
        rows=rows,
        provenance=provenance,
        training=provenance["training"],
        is_taught=chosen.get("supervision") == "truth" or chosen.get("replay", {}).get("share", 0) > 0,
        sources=corpus_sources(corpus),
        num_videos=len(corpus.videos),
    )


def corpus_sources(corpus: Corpus) -> list[dict[str, Any]]:
    """The corpus by origin and licence: [{"origin", "licence", "num_videos"}], most videos first."""
    counts: dict[tuple[str, str], int] = {}
    for video in corpus.videos:
        key = (video.origin, video.licence)
        counts[key] = counts.get(key, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"origin": origin, "licence": licence, "num_videos": count} for (origin, licence), count in ranked]


def _provenance(train: dict[str, Any], corpus: Corpus, metrics: Metrics) -> dict[str, Any]:
    """Everything needed to make the model again: commit, data, params, seed, machine, packages."""
    return {
        "format": "sheap-provenance-1",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sheap_version": sheap.__version__,
        "commit": git_commit(),
        "data": {
            "corpus_sha256": file_sha256(CORPUS_DIR / CORPUS_NAME),
            "corpus_sources": corpus_sources(corpus),
            "shards_data_hash": train["data_hash"],
            "benchmark_sha256": metrics.benchmark.sha256,
            "weights_sha256": file_sha256(MODEL_DIR / WEIGHTS_NAME),
        },
        "params": read_params_file(),
        "training": train,
        "registered_on": hardware(),
        "packages": package_versions(),
    }


def package_versions() -> dict[str, str]:
    """Versions of every installed package that the project names as a requirement."""
    names = {_requirement_name(line) for line in metadata.requires("sheap") or [] if "extra ==" not in line}
    versions = {}
    for name in sorted(names):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _requirement_name(requirement: str) -> str:
    """`ray[train]>=2.60` -> `ray`."""
    end = next((k for k, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), len(requirement))
    return requirement[:end]


def _preprocessing(config: BundleConfig) -> dict[str, Any]:
    """What a program in another language needs in order to feed the network as we do."""
    return {
        **config.preprocessing.model_dump(),
        "channels": "RGB, channels first",
        "range": [0.0, 1.0],
        "crop": "square around the head's origin, from 478 MediaPipe landmarks: sheap.video.crops.crop_box",
        "camera": "fixed: vertical field of view 14.2539 degrees at z = +1 m, looking down -z",
    }


def _table_cell(value: object) -> str:
    """Text that cannot break out of a Markdown table's cell or become markup: file and origin names are a user's."""
    text = " ".join(str(value).split())
    for char in "\\`*_{}[]<>|#":
        text = text.replace(char, f"\\{char}")
    return text


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError naming the file when it is something else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{path}: not valid JSON") from None
    if not isinstance(document, dict):
        raise ValueError(f"{path}: expected an object")
    return document


if __name__ == "__main__":
    sys.exit(stage_main("register", RegisterParams, run))
