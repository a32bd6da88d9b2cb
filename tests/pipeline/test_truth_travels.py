"""What is known of a rendered video arrives, through corpus, ingest and shards, in the pairs that training draws."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline import corpus, ingest, people, shards
from pipeline.corpus import CorpusParams
from pipeline.files.corpus_file import Corpus
from pipeline.ingest import IngestParams
from pipeline.people import PeopleParams
from pipeline.shards import ShardsParams
from sheap.data import PairDataset, Pairs, ShardReader
from sheap.data.schema import TruthLayout
from sheap.data.truth import WantedTruth
from sheap.head import HeadModel
from sheap.head.door import head_sha256
from sheap.video.ingestion import VideoSource
from tests.stage_settings import stage_params
from tests.video.made_videos import carphone_frames, write_video

SIZE = 96
CORPUS = stage_params(CorpusParams, folder=Path("data/people/clips"), carphone=False)
INGEST = stage_params(IngestParams, image_size=SIZE, min_frames=3, num_workers=1, copy_distance=None)
SHARDS = stage_params(ShardsParams)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Two rendered people and a real one, as shards."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        people.run(stage_params(PeopleParams, train_people=1, validation_people=1, frames=8, sizes=[(288, 288)]))
        write_video(Path("data/people/clips/real.mp4"), carphone_frames(9, step=3))
        corpus.run(CORPUS)
        ingest.run(INGEST)
        shards.run(SHARDS)
    return folder


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


@pytest.fixture(scope="module")
def pairs(project, head) -> list[Pairs]:
    """A few samples of the training split, which holds a rendered and a real person."""
    layout = TruthLayout(head_sha256=head_sha256(None), num_shape=head.num_shape, num_expression=head.num_expression)
    dataset = PairDataset(ShardReader(project / "data/shards/train"), num_samples=8, truth=WantedTruth(layout, None))
    return [dataset[number] for number in range(len(dataset))]


def fitted_projection(points: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """The camera [3, 4] that takes points [N, 3] to pixels [N, 2] (direct linear transform)."""
    mean, scale = points.mean(0), points.std()
    normalised = np.concatenate([(points - mean) / scale, np.ones((len(points), 1))], 1)
    centred = (pixels - SIZE / 2) / SIZE
    nothing = np.zeros_like(normalised)
    equations = np.concatenate(
        [
            np.concatenate([normalised, nothing, -centred[:, :1] * normalised], 1),
            np.concatenate([nothing, normalised, -centred[:, 1:] * normalised], 1),
        ]
    )
    camera = np.linalg.svd(equations, full_matrices=False)[2][-1].reshape(3, 4)
    to_pixels = np.array([[SIZE, 0, SIZE / 2], [0, SIZE, SIZE / 2], [0, 0, 1]])
    to_normalised = np.diag([1 / scale] * 3 + [1.0])
    to_normalised[:3, 3] = -mean / scale
    return to_pixels @ camera @ to_normalised


def projected(camera: np.ndarray, points: np.ndarray) -> np.ndarray:
    found = points @ camera[:, :3].T + camera[:, 3]
    return found[:, :2] / found[:, 2:]


def test_true_landmarks_lie_on_the_found_ones_and_the_parameters_draw_the_picture(pairs, head):
    known = [side for pair in pairs for side in (pair.source, pair.target) if float(side.truth.known) == 1]
    assert known
    for frame in known:
        truth = frame.truth
        distance = (truth.landmarks - frame.landmarks)[:, :2].norm(dim=-1)
        assert float(distance.median()) < 0.02 * SIZE
        assert 0.5 < float(truth.seen.mean()) < 1 and set(truth.seen.unique().tolist()) == {0.0, 1.0}
        # Depth has the found one's sign and scale; what the landmark network says of it is rough.
        assert np.corrcoef(truth.landmarks[:, 2], frame.landmarks[:, 2])[0, 1] > 0.75
        assert 0.5 < float(truth.landmarks[:, 2].std() / frame.landmarks[:, 2].std()) < 2
        vertices = head(truth.head_params()).vertices
        camera = fitted_projection(head.landmarks(vertices).double().numpy(), truth.landmarks[:, :2].double().numpy())
        again = projected(camera, head.landmarks(vertices).double().numpy())
        assert np.abs(again - truth.landmarks[:, :2].numpy()).max() < 0.1
        columns, rows = np.clip(
            projected(camera, vertices[head.region_masks["face"]].double().numpy()).astype(int), 0, SIZE - 1
        ).T
        assert (frame.masks.numpy()[rows, columns] > 127).mean() > 0.95


def test_a_real_person_beside_them_has_unknown_truth_and_both_stack(pairs, project):
    known = {float(pair.source.truth.known) for pair in pairs}
    assert known == {0.0, 1.0}
    batch = Pairs.stack(pairs)
    assert batch.source.truth.landmarks.shape == (8, 478, 3)
    nothing = batch.source.truth.index(batch.source.truth.known == 0)
    assert all(float(getattr(nothing, item.name).abs().sum()) == 0 for item in dataclasses.fields(nothing))
    summary = json.loads((project / "data/ingest/ingest.json").read_text())["summary"]
    assert (summary["clips"], summary["clips_with_truth"], summary["truth_refused"]) == (3, 2, 0)


def test_a_fresh_run_gives_the_same_bytes(project, tmp_path, monkeypatch):
    shutil.copytree(project / "data/people", tmp_path / "data/people")
    monkeypatch.chdir(tmp_path)
    corpus.run(CORPUS)
    ingest.run(INGEST)
    shards.run(SHARDS)
    files = [path.relative_to(project) for path in (project / "data").rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        assert path.read_bytes() == (project / path).read_bytes(), path


def test_truth_that_changed_since_it_was_listed_drops_its_video(project, tmp_path, monkeypatch):
    for name in ("data/people", "data/corpus"):
        shutil.copytree(project / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    changed, *_ = [video for video in Corpus.read().videos if video.truth is not None]
    with np.load(changed.truth.path) as stored:
        arrays = dict(stored)
    np.savez_compressed(changed.truth.path, **arrays | {"shape": -arrays["shape"]})
    ingest.run(INGEST)
    documents = json.loads(Path("data/ingest/ingest.json").read_text())["videos"]
    [dropped] = [video for video in documents if video["status"] == "dropped"]
    assert (dropped["video"], dropped["reason"]) == (changed.name, "changed_truth")
    assert changed.truth.path in dropped["detail"]


def test_other_truth_makes_a_finished_video_anew():
    source = VideoSource(Path("a"), "a", "0" * 64, "x", None, "test", "test", Path("a.npz"), "1" * 64)
    elsewhere = dataclasses.replace(source, truth=Path("b.npz"))
    assert ingest._video_key(source) == ingest._video_key(elsewhere)
    assert ingest._video_key(source) != ingest._video_key(dataclasses.replace(source, truth_sha256="2" * 64))
