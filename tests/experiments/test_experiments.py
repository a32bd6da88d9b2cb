"""The experiments: what they train, score and conclude."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from experiments import unlabelled_photos
from experiments.ablation import SHAPE_OUTPUT, AblationSettings, run_all, start_weights, train_variant, verdict, write_page
from experiments.benchmark_score import BenchmarkScore
from experiments.learning_curve import CurveSettings, train_curve
from experiments.overfit_clip import FramePairs, OverfitSettings, clip_frames, held_out_places, likeness
from experiments.pages import Page
from experiments.training_runs import ExperimentSettings, fingerprint, train_params
from sheap.data.manifest import MANIFEST_NAME, Manifest
from sheap.data.reader import ShardReader
from sheap.data.shard_writer import write_split
from sheap.evaluation.head_meshes import neutral_meshes
from sheap.evaluation.landmark_files import write_picked_points
from sheap.evaluation.mesh_files import write_obj
from sheap.head import HeadModel, HeadParams
from sheap.predictor import SheapPredictor
from tests.data.made_clips import SIZE, make_clip
from tests.training.test_run import FROM_RANDOM

PROJECT = Path(__file__).parents[2]
CONFIGS = PROJECT / "experiments" / "configs"
SHORT = FROM_RANDOM | {
    "wandb_mode": "disabled",
    "validation_pairs": 2,
    "training.landmark_phase.steps": 1,
    "training.landmark_phase.batch_size": 1,
    "training.rendered_phase.steps": 1,
    "training.rendered_phase.batch_size": 1,
    "training.rendered_phase.rendered_pairs": 1,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """shards/ of made clips, and a benchmark/ of one person whose scan is the true head and whose picture shows nobody."""
    root = tmp_path_factory.mktemp("data")
    splits = {
        name: write_split(root / "shards" / name, iter([make_clip(f"{name}{n}") for n in range(2)]), target_bytes=60_000)
        for name in ("train", "val")
    }
    manifest = Manifest(image_size=SIZE, splits=splits).sealed()
    (root / "shards" / MANIFEST_NAME).write_bytes(manifest.to_json())

    head, benchmark = HeadModel.load(), root / "benchmark"
    shape = np.random.default_rng(3).standard_normal(head.num_shape).astype(np.float32)
    for folder in ("scans/ann", "scans_lmks_onlypp/ann", "iphone_pictures/ann/selfie", "detected_face/ann/selfie"):
        (benchmark / folder).mkdir(parents=True)
    (mesh,), landmarks = neutral_meshes(head, torch.from_numpy(shape)[None])
    write_obj(benchmark / "scans/ann/ann.obj", mesh)
    write_picked_points(benchmark / "scans_lmks_onlypp/ann/ann.pp", landmarks[0], "ann.obj")
    (benchmark / "imagepathsvalidation.txt").write_text("ann/selfie/a.jpg\n")
    (benchmark / "benchmark.json").write_text(json.dumps({"subjects": [{"name": "ann", "shape": shape.tolist()}]}))
    cv2.imwrite(str(benchmark / "iphone_pictures/ann/selfie/a.jpg"), np.full((200, 200, 3), 90, np.uint8))
    box = {"left": 60.0, "top": 60.0, "right": 140.0, "bottom": 140.0}
    np.save(benchmark / "detected_face/ann/selfie/a.npy", np.array(box, dtype=object), allow_pickle=True)
    return root


@pytest.fixture(autouse=True)
def in_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)


def test_the_shipped_settings_are_valid_and_compare_with_the_full_method() -> None:
    ablation = AblationSettings.read(CONFIGS / "ablation.yaml")
    runs = {name: train_params(ablation.changes, changes) for name, changes in ablation.variants.items()}
    assert runs["mesh rendering"].network().appearance == "mesh" and runs["full"].network().appearance == "gaussians"
    assert runs["MLP regressor"].network().regressor.network == "mlp"
    assert runs["neither"].training.weights.normals == runs["neither"].training.weights.depth == 0
    assert len({run.model_dump_json() for run in runs.values()}) == len(runs), "two variants are the same"
    curve = CurveSettings.read(CONFIGS / "learning_curve.yaml")
    assert all(train_params(curve.changes, changes).training.total_steps > 0 for changes in curve.runs.values())
    assert train_params(OverfitSettings.read(CONFIGS / "overfit_clip.yaml").changes).pairs.augment is None


def test_settings_that_do_not_exist_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train\.training\.weights\.sparkle: no such setting"):
        train_params({"training.weights.sparkle": 1})
    with pytest.raises(ValueError, match="rendered_pairs"):
        train_params({"training.rendered_phase.rendered_pairs": 99})
    path = tmp_path / "x.yaml"
    path.write_text("seeds: [a]\nchanges: {}\n")
    with pytest.raises(ValueError, match=r"x.yaml: seeds.0: Input should be a valid integer"):
        ExperimentSettings.read(path)


def test_a_score_is_the_mean_heads_for_the_mean_head_and_zero_for_the_truth(data: Path) -> None:
    score, head = BenchmarkScore(data / "benchmark"), HeadModel.load()
    mean = score.mean_head(head)
    assert mean["true_mean_mm"] > 1 and mean["now_median_mm"] > 0.2

    class Knows:
        """A network that answers with the truth."""

        config, image_size = train_params(FROM_RANDOM).network(), 112

        def __init__(self) -> None:
            self.head = head

        def eval(self) -> None: ...

        def encode(self, images: torch.Tensor) -> Knows:
            self._count = len(images)
            return self

        @property
        def params(self) -> object:
            truth = json.loads((data / "benchmark/benchmark.json").read_text())["subjects"][0]["shape"]
            return HeadParams.zeros(head, self._count).replace(shape=torch.tensor([truth]).expand(self._count, -1))

    found = score(Knows())  # type: ignore[arg-type]
    assert found["true_mean_mm"] < 1e-3 and found["now_median_mm"] < 0.01


@pytest.fixture(scope="module")
def strangers(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The campaign's people as strangers."""
    folder = tmp_path_factory.mktemp("strangers")
    unlabelled_photos.main(["--state", str(state), "--out", str(folder / "shards")])
    return folder


def test_strangers_have_detected_landmarks_and_no_truth(state: Path, strangers: Path) -> None:
    known, unknown = (ShardReader(root / "shards" / "train") for root in (state, strangers))
    assert known.has_truth(0) and not any(unknown.has_truth(k) for k in range(len(unknown)))
    held_out = ShardReader(strangers / "shards" / "val")
    assert len(held_out) and all(held_out.has_truth(k) for k in range(len(held_out)))
    for k in range(len(unknown)):
        there = known.position(unknown.clip_id(k))
        assert np.array_equal(unknown.image(k, 0), known.image(there, 0))
        apart = np.linalg.norm(unknown.landmarks(k) - known.landmarks(there), axis=-1)[..., :468]
        assert 0.1 < np.median(apart) < 12, "px of 192: as a detector errs on renders"


def test_a_variant_trains_once_and_is_then_remembered(strangers: Path, tmp_path: Path) -> None:
    variants = {"full": {}, "mesh rendering": {"appearance": "mesh"}}
    changes = SHORT | {"preset": "compact", "training.landmark_phase.steps": 0}
    settings = AblationSettings(seeds=(0,), changes=changes, people=1, variants=variants, knowing=())
    found = run_all(settings, strangers / "shards", tmp_path, 1)
    assert all(np.isfinite(value) for runs in found.values() for figures in runs for value in figures.values())
    assert "depth" in found["full"][0] and "depth" not in found["mesh rendering"][0]
    kept = sorted(tmp_path.glob("run-*.json"))
    assert len(kept) == 2
    kept[0].write_text(json.dumps({"identity_one": 123.0}))
    again = [train_variant(settings, name, 0, strangers / "shards", tmp_path)["identity_one"] for name in variants]
    assert 123.0 in again
    knowing = settings.model_copy(update={"knowing": ("full",)})
    assert train_variant(knowing, "full", 0, strangers / "shards", tmp_path)["identity_one"] != 123.0
    page = Page("Title", "command")
    write_page(settings, found, page)


def test_who_has_forgotten_shapes_sees_the_mean_head_in_everybody() -> None:
    network = SheapPredictor.load().network
    pictures = torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        known = network.encode(pictures).params
        assert (known.shape[0] - known.shape[1]).abs().max() > 1e-3
        network.load_state_dict(start_weights(is_knowing=False))
        forgotten = network.encode(pictures).params
    assert set(SHAPE_OUTPUT) <= set(network.state_dict()) and not forgotten.shape.any()
    assert torch.equal(forgotten.translation, known.translation) and torch.equal(forgotten.expression, known.expression)


def test_another_corpus_is_another_run(data: Path, strangers: Path) -> None:
    params = train_params(SHORT)
    assert fingerprint(params, strangers / "shards") != fingerprint(params, data / "shards")


def test_a_curve_has_a_point_at_every_turn_and_at_the_end(data: Path, tmp_path: Path) -> None:
    settings = CurveSettings(seeds=(0,), changes=SHORT | {"training.panels_every": 1}, runs={"full": {}})
    curve = train_curve(settings, "full", 0, data, tmp_path)
    assert [point["step"] for point in curve] == [1, 2]


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ([0.010, 0.012, 0.011], "reproduced"),
        ([-0.010, -0.012, -0.011], "not reproduced: the opposite was measured"),
        ([0.010, -0.012, 0.011], "undecided at this scale"),
        ([0.001, 0.030, 0.001], "undecided at this scale"),
        ([0.010], "undecided (one seed)"),
    ],
)
def test_a_verdict_needs_every_seed_and_a_mean_beyond_its_error(differences: list[float], words: str) -> None:
    assert verdict(differences) == words


def test_held_out_frames_are_never_trained_on(data: Path) -> None:
    assert held_out_places(10, 4) == [3, 7]
    frames = clip_frames(ShardReader(data / "shards" / "train"), "train1", 48)
    assert len(frames) == 4 and frames[0].images.shape == (48, 48, 3)
    pairs = FramePairs(frames[:3], 20, seed=1)
    for index in range(20):
        sample = pairs[index]
        assert sample.source is not sample.target
        assert not any(frame is frames[3] for frame in (sample.source, sample.target))
    with pytest.raises(ValueError, match="no clip of a video named like 'nobody'"):
        clip_frames(ShardReader(data / "shards" / "train"), "nobody", 48)


def test_likeness_is_psnr_by_its_definition() -> None:
    wanted = torch.full((2, 32, 32, 3), 0.5)
    masks = torch.zeros(2, 32, 32, 1)
    masks[:, 8:24, 8:24] = 1
    rendered = wanted + 0.1 * masks
    found = likeness(rendered, wanted, masks)
    assert found.head_psnr_db == pytest.approx(20.0, abs=1e-3)
    assert found.psnr_db == pytest.approx(20.0 + 10 * np.log10(4), abs=1e-3)
    assert found.ssim < 1 and likeness(wanted + 1e-6, wanted, masks).ssim == pytest.approx(1.0, abs=1e-4)
