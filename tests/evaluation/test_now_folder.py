"""A whole submission against a benchmark folder: layouts, what is missing, statistics and the official result files."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import trimesh

from sheap.evaluation.face_boxes import FaceBox, write_face_box
from sheap.evaluation.now import evaluation as now_evaluation
from sheap.evaluation.now import subject
from sheap.evaluation.now.dataset import NowDataset, NowImage
from sheap.evaluation.now.evaluation import evaluate_methods, evaluate_now_folder
from sheap.evaluation.now.metric import evaluate_pair
from sheap.evaluation.now.results import CURVE_MM, DistanceStatistics, NowEvaluation, cumulative_percent
from sheap.evaluation.now.submission import HeldMeshes, SubmissionFolder, check_submission, read_prediction


def evaluate(dataset: NowDataset, predictions: Path, **options) -> NowEvaluation:
    return evaluate_methods(dataset, {"ours": SubmissionFolder(predictions)}, **options)["ours"]


def expected_distances(benchmark: Path, predictions: Path, image: NowImage) -> np.ndarray:
    scan = NowDataset.open(benchmark).scan(image.subject)
    predicted = read_prediction(predictions, image)
    return evaluate_pair(
        *(scan.mesh.vertices, scan.mesh.faces, scan.landmarks),
        *(predicted.mesh.vertices, predicted.mesh.faces, predicted.landmarks),
    ).distances


def test_every_image_is_measured_against_its_own_subject(benchmark: Path, predictions: Path) -> None:
    dataset = NowDataset.open(benchmark)
    evaluation = evaluate(dataset, predictions)
    assert [item.image for item in evaluation.evaluated] == list(dataset.images)
    for item in evaluation.evaluated:
        np.testing.assert_array_equal(item.distances, expected_distances(benchmark, predictions, item.image))


def test_workers_change_nothing(benchmark: Path, predictions: Path) -> None:
    dataset = NowDataset.open(benchmark)
    seen: list[tuple[int, int]] = []
    meshes = {row: read_prediction(predictions, image) for row, image in enumerate(dataset.images)}
    held = InMemory(HeldMeshes(meshes, {image: row for row, image in enumerate(dataset.images)}))
    sources = {"folder": SubmissionFolder(predictions), "memory": held}
    one = evaluate(dataset, predictions)
    both = evaluate_methods(dataset, sources, num_workers=2, progress=lambda *count: seen.append(count))
    for two in both.values():
        for left, right in zip(one.evaluated, two.evaluated, strict=True):
            assert left.image == right.image
            np.testing.assert_array_equal(left.distances, right.distances)
    assert seen[-1] == (6, 6)


def test_a_prediction_that_pictures_share_is_evaluated_once_a_subject(benchmark, predictions, monkeypatch) -> None:
    calls = []
    honest = subject.evaluate_prediction
    monkeypatch.setattr(subject, "evaluate_prediction", lambda *a: calls.append(a) or honest(*a))
    dataset = NowDataset.open(benchmark)
    shared = InMemory(HeldMeshes({0: read_prediction(predictions, dataset.images[0])}, dict.fromkeys(dataset.images, 0)))
    together = evaluate_methods(dataset, {"folder": SubmissionFolder(predictions), "memory": shared})
    assert len(calls) == 3 + 2
    for left, right in zip(together["folder"].evaluated, together["memory"].evaluated, strict=True):
        assert left.image == right.image
        np.testing.assert_array_equal(left.distances, right.distances)


def test_meshes_are_made_for_a_few_subjects_at_a_time(benchmark, predictions, monkeypatch) -> None:
    """Made ahead of the workers without bound, a full benchmark's meshes would fill the memory."""
    dataset = NowDataset.open(benchmark)
    many = NowDataset(dataset.root, tuple(NowImage(f"person {n}", "selfie", "a.jpg") for n in range(9)))
    made: list[int] = []
    lead: list[int] = []

    class Source:
        def of_images(self, images):
            made.append(len(images))
            return SubmissionFolder(predictions)

    class Pool:
        def __init__(self, *_, **__) -> None: ...

        def __enter__(self):
            return self

        def __exit__(self, *_) -> None: ...

        def submit(self, work, task):
            future: Future = Future()
            future.set_result(subject.SubjectOutcome((), {}, {}))
            return future

    monkeypatch.setattr(now_evaluation, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(now_evaluation, "_together", lambda found, _: found)
    evaluate_methods(many, {"ours": Source()}, num_workers=2, progress=lambda *_: lead.append(len(made)))
    assert len(made) == len(lead) == 9
    assert max(ahead - done for done, ahead in enumerate(lead)) <= 4


@dataclass(frozen=True)
class InMemory:
    meshes: HeldMeshes

    def of_images(self, images) -> HeldMeshes:
        return self.meshes


def test_statistics_are_over_all_vertices_together(benchmark: Path, predictions: Path) -> None:
    evaluation = evaluate(NowDataset.open(benchmark), predictions)
    together = np.concatenate([item.distances for item in evaluation.evaluated])
    overall = evaluation.statistics()["overall"]
    assert overall == DistanceStatistics(
        float(np.median(together)), float(np.mean(together)), float(np.std(together)), 3, len(together)
    )
    medians = [np.median(item.distances) for item in evaluation.evaluated]
    assert abs(overall.median_mm - np.mean(medians)) > 1e-6
    assert set(evaluation.statistics()) == {"overall", "multiview_neutral", "selfie"}
    assert evaluation.subject_statistics()["ann"].images == 2


def test_official_files(benchmark: Path, predictions: Path) -> None:
    evaluation = evaluate_now_folder(benchmark, predictions, method="OURS")
    results = predictions / "results"
    # As the official plotting code opens it.
    content = np.load(results / "OURS_computed_distances.npy", allow_pickle=True, encoding="latin1").item()
    assert content["num_missing_files"] == 0
    together = np.hstack(content["computed_distances"])
    assert len(content["computed_distances"]) == 3
    lines = (results / "OURS_computed_distances.npy.meanmedian").read_text().split()
    assert [float(line) for line in lines] == [np.median(together), np.mean(together)]
    report = json.loads((results / "OURS.json").read_text())
    assert report["challenges"]["overall"]["median_mm"] == evaluation.statistics()["overall"].median_mm
    assert (results / "OURS_cumulative.png").read_bytes().startswith(b"\x89PNG")


def test_one_challenge(benchmark: Path, predictions: Path) -> None:
    evaluate_now_folder(benchmark, predictions, challenge="selfie")
    content = np.load(predictions / "results" / "RECON_computed_distances_selfie.npy", allow_pickle=True).item()
    assert len(content["computed_distances"]) == 2
    with pytest.raises(ValueError, match="unknown 'selfies'"):
        evaluate_now_folder(benchmark, predictions, challenge="selfies")
    with pytest.raises(ValueError, match="no images of 'multiview_occlusions'"):
        evaluate_now_folder(benchmark, predictions, challenge="multiview_occlusions")


def test_metrical_results_have_their_own_name(benchmark: Path, predictions: Path) -> None:
    metrical = evaluate_now_folder(benchmark, predictions, metrical_unit="mm").statistics()["overall"]
    free = evaluate_now_folder(benchmark, predictions).statistics()["overall"]
    assert metrical.median_mm != free.median_mm
    assert (predictions / "results" / "RECON_metrical_computed_distances.npy").exists()


def test_missing_and_malformed_predictions_are_listed_and_counted(benchmark: Path, predictions: Path) -> None:
    (predictions / "ann/selfie/IMG_3.npy").unlink()
    (predictions / "bob/selfie/IMG_2.obj").write_text("v 1 2 3\n")
    evaluation = evaluate_now_folder(benchmark, predictions)
    assert [str(item.image) for item in evaluation.evaluated] == ["ann/multiview_neutral/IMG_1.jpg"]
    assert list(evaluation.missing) == ["ann/selfie/IMG_3.jpg"]
    assert "no .npy or .txt" in evaluation.missing["ann/selfie/IMG_3.jpg"]
    assert "IMG_2.obj" in evaluation.malformed["bob/selfie/IMG_2.jpg"]
    content = np.load(predictions / "results" / "RECON_computed_distances.npy", allow_pickle=True).item()
    assert content["num_missing_files"] == 2
    assert len(content["computed_distances"]) == 1


def test_nothing_usable_is_an_error(benchmark: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="no usable prediction for any of 3 images"):
        evaluate_now_folder(benchmark, tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="absent"):
        evaluate_now_folder(benchmark, tmp_path / "absent")
    assert not (tmp_path / "none" / "results").exists()


def test_ply_scans_ply_predictions_and_txt_landmarks(benchmark: Path, predictions: Path) -> None:
    before = evaluate(NowDataset.open(benchmark), predictions)
    for mesh_path in [*(benchmark / "scans").rglob("*.obj"), *predictions.rglob("*.obj")]:
        trimesh.load(mesh_path, process=False, maintain_order=True).export(mesh_path.with_suffix(".ply"))
        mesh_path.unlink()
    for path in predictions.rglob("*.npy"):
        np.savetxt(path.with_suffix(".txt"), np.load(path))
        path.unlink()
    after = evaluate(NowDataset.open(benchmark), predictions)
    for left, right in zip(before.evaluated, after.evaluated, strict=True):
        np.testing.assert_allclose(left.distances, right.distances, atol=1e-3)  # PLY holds float32


def test_a_broken_scan_is_the_benchmarks_fault(benchmark: Path, predictions: Path) -> None:
    path = benchmark / "scans/bob/bob.obj"
    honest = path.read_text()
    path.write_text("v 0 0 0\nf 1 1 1\n")
    with pytest.raises(ValueError, match="scans/bob: scan vertices: none within"):
        evaluate(NowDataset.open(benchmark), predictions)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no \.obj or \.ply file"):
        evaluate(NowDataset.open(benchmark), predictions)
    path.write_text(honest)
    (benchmark / "scans_lmks_onlypp/bob/bob_picked_points.pp").write_text("")
    with pytest.raises(ValueError, match=r"bob_picked_points\.pp: expected 7"):
        evaluate(NowDataset.open(benchmark), predictions, num_workers=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no images"),
        ("ann/IMG.jpg\n", "line 1: expected SUBJECT/CHALLENGE/IMAGE"),
        ("\nann/party/IMG.jpg\n", "line 2: unknown challenge 'party'"),
        ("../selfie/IMG.jpg\n", "line 1: expected SUBJECT"),
        ("a/selfie/I.jpg\na/selfie/I.png\n", "'a/selfie/I' is listed more than once"),
    ],
)
def test_bad_lists_are_named(benchmark: Path, text: str, message: str) -> None:
    (benchmark / "imagepathsvalidation.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        NowDataset.open(benchmark)


def test_lists_with_longer_paths_and_the_test_set(benchmark: Path) -> None:
    (benchmark / "imagepathstest.txt").write_text("NoW_Dataset/iphone_pictures/ann/selfie/IMG_9.jpg\r\n")
    assert NowDataset.open(benchmark, "test").images == (NowImage("ann", "selfie", "IMG_9.jpg"),)
    with pytest.raises(FileNotFoundError, match="absent"):
        NowDataset.open(benchmark / "absent")


@pytest.mark.parametrize("place", ["", "NoW_Dataset/final_release_version"])
def test_pictures_and_boxes_are_found_where_the_archives_put_them(benchmark: Path, place: str) -> None:
    dataset = NowDataset.open(benchmark)
    image = dataset.images[0]
    with pytest.raises(FileNotFoundError, match=r"iphone_pictures/ann/multiview_neutral/IMG_1\.jpg: missing"):
        dataset.image_path(image)
    assert dataset.face_box(image) is None
    for folder in ("iphone_pictures", "detected_face"):
        (benchmark / place / folder / "ann/multiview_neutral").mkdir(parents=True)
    (benchmark / place / "iphone_pictures" / str(image)).write_bytes(b"")
    write_face_box(benchmark / place / "detected_face" / f"{image.stem}.npy", FaceBox(1, 2, 3, 4))
    assert dataset.image_path(image).is_file()
    assert dataset.face_box(image) == FaceBox(1, 2, 3, 4)


def test_cumulative_curve() -> None:
    percent = cumulative_percent([np.array([0.0, 1.0]), np.array([1.0, 9.0])])
    assert percent[0] == 25.0
    assert percent[CURVE_MM == 0.98] == 25.0
    assert percent[CURVE_MM == 1.0] == 75.0
    assert percent[-1] == 75.0


# --- checking a submission --------------------------------------------------------------------------------------------


def test_a_sound_submission_passes(benchmark: Path, predictions: Path) -> None:
    check = check_submission(predictions, NowDataset.open(benchmark))
    assert check.is_good, check.problems


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mesh, marks: (mesh / 1000, marks / 1000), "not in millimetres"),
        (lambda mesh, marks: (mesh, marks[[3, 2, 1, 0, 4, 6, 5]]), "mirrored"),
        (lambda mesh, marks: (mesh, marks[[1, 0, 2, 3, 4, 6, 5]]), "not in NoW's order"),
        (lambda mesh, marks: (mesh + 60, marks), "away from the mesh"),
        (lambda mesh, marks: (mesh * np.nan, marks), "NaN"),
    ],
)
def test_problems_of_a_submission_are_named(benchmark: Path, predictions: Path, change, message: str) -> None:
    from sheap.evaluation.mesh_files import TriangleMesh
    from sheap.evaluation.now.submission import write_prediction

    dataset = NowDataset.open(benchmark)
    good = read_prediction(predictions, dataset.images[1])
    vertices, landmarks = change(good.mesh.vertices, good.landmarks)
    write_prediction(predictions, dataset.images[1], TriangleMesh(vertices, good.mesh.faces), landmarks)
    check = check_submission(predictions, dataset)
    assert list(check.problems) == ["bob/selfie/IMG_2.jpg"]
    assert any(message in problem for problem in check.problems["bob/selfie/IMG_2.jpg"])


def test_absent_predictions_are_problems(benchmark: Path, predictions: Path) -> None:
    (predictions / "ann/selfie/IMG_3.obj").unlink()
    check = check_submission(predictions, NowDataset.open(benchmark))
    assert "no .obj or .ply" in check.problems["ann/selfie/IMG_3.jpg"][0]
    assert not check.is_good
