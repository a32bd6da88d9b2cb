"""Writes what the stages before `register` and `report` leave, small and quick, into the current folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from pipeline.files.corpus_file import Corpus, CorpusVideo
from sheap.bundle import BundleConfig, HeadReference, Preprocessing, save_bundle
from sheap.head import HeadModel
from sheap.networks.config import PRESETS
from sheap.networks.sheap_network import SheapNetwork
from sheap.video.crops import CROP_RISE_CM, CROP_SIDE_CM


def write_json(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def errors(median: float) -> dict[str, Any]:
    challenges = {"overall": 8, "multiview_neutral": 4, "selfie": 4}
    return {
        name: {
            "median_mm": median + 0.1 * k, "mean_mm": median * 1.25, "std_mm": 1.0, "images": images, "vertices": 1000
        }
        for k, (name, images) in enumerate(challenges.items())
    }  # fmt: skip


def write_metrics(median: float = 1.2, mean_head: float = 1.5) -> None:
    write_json(
        Path("data/evaluation/metrics.json"),
        {
            "benchmark": {"folder": "data/benchmark", "sha256": "ab" * 32, "num_images": 8},
            "model": errors(median),
            "mean_head": errors(mean_head),
        },
    )


def write_corpus(videos: list[dict[str, Any]], skipped: list[dict[str, str]] | None = None) -> None:
    facts = {"num_bytes": 10, "identity": "someone", "split": None, "licence": "CC0-1.0", "origin": "rendered"}
    listed = []
    for number, video in enumerate(videos):
        listed.append(CorpusVideo(**{**facts, "path": video["name"], "sha256": f"{number:064x}", **video}))
    corpus = Corpus(videos=listed, skipped=skipped or [], skipped_counts={})
    write_json(Path("data/corpus/corpus.json"), corpus.model_dump())


def write_model() -> None:
    """An untrained network of the tiny preset, with the summary that the train stage writes."""
    folder = Path("data/model")
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    network = SheapNetwork(PRESETS["tiny"], HeadModel.load(), image_feature_size=None)
    config = BundleConfig(
        network=PRESETS["tiny"],
        image_feature_size=None,
        head_model=HeadReference.of(None),
        preprocessing=Preprocessing(image_size=112, crop_side_cm=CROP_SIDE_CM, crop_rise_cm=CROP_RISE_CM),
    )
    save_bundle(folder, network, config)
    write_history_and_summary(folder, config)


def write_history_and_summary(folder: Path, config: BundleConfig, head_model: Path | None = None) -> None:
    """What the train stage leaves beside the bundle. head_model: as its settings named it."""
    history = [{"kind": "training", "step": step, "phase": "landmarks", "loss": 1 / step} for step in range(1, 9)]
    history += [{"kind": "validation", "step": step, "loss": 1.1 / step} for step in (4, 8)]
    (folder / "history.jsonl").write_text("".join(json.dumps(record) + "\n" for record in history))
    write_json(
        folder / "train.json",
        {
            "params": {"preset": "tiny", "weight_files": {"head_model": None if head_model is None else str(head_model)}},
            "data_hash": "cd" * 32,
            "code_hash": "ef" * 32,
            "weight_files": {},
            "head_model": config.head_model.sha256,
            "run": "0123456789abcdef",
            "commit": None,
            "seed": 0,
            "steps": 8,
            "skipped_steps": 0,
            "seconds": 12.3,
            "images_per_second": {"landmarks": 100.0},
            "train_clips": 3,
            "train_identities": 2,
            "workers": {"num_workers": 1, "threads_per_worker": 1, "use_gpu": False},
            "hardware": {"cpu": "A <CPU>", "cores": 2, "gpus": [], "torch": torch.__version__, "python": "3.11"},
        },
    )
