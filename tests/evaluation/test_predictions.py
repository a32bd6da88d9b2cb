"""From benchmark pictures to predictions: which crop is taken, what is kept and written, and what is counted."""

from __future__ import annotations

import tracemalloc
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sheap.evaluation.face_boxes import FaceBox, write_face_box
from sheap.evaluation.head_meshes import neutral
from sheap.evaluation.now.dataset import NowDataset, NowImage
from sheap.evaluation.now.submission import (
    CANONICAL_LANDMARKS_MM,
    MissingPrediction,
    SubmissionFolder,
    check_submission,
    read_prediction,
)
from sheap.evaluation.picture_crops import BoxToCrop, crop_by_landmarks
from sheap.evaluation.predictions import CropCounts, Predictions, mean_head, predict_pictures
from sheap.geometry.rotations import rotvec_to_matrix
from sheap.head import HeadModel, HeadParams
from sheap.video.crops import CropBox, crop_box
from sheap.video.face_landmarker import FaceLandmarker, FaceLandmarks


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


@pytest.fixture(scope="module")
def face(head: HeadModel) -> np.ndarray:
    """Landmarks [478,3] px of a mean head seen from afar: 8 px a centimetre, origin at (150, 120)."""
    points = 800.0 * head.landmarks(head.template).numpy() * [1, -1, -1]
    return (points + [150, 120, 0]).astype(np.float32)


class Predictor:
    """Answers with an identity that depends on the crop's mean colour, and keeps the crops it saw."""

    image_size = 32

    def __init__(self, head: HeadModel) -> None:
        self.head = head
        self.seen: list[torch.Tensor] = []

    def predict(self, images: torch.Tensor) -> HeadParams:
        assert images.shape[1:] == (3, self.image_size, self.image_size)
        assert images.dtype == torch.float32
        assert 0 <= images.min() <= images.max() <= 1
        self.seen.append(images)
        params = HeadParams.zeros(self.head, len(images))
        params.shape[:, :3] = 3 * images.mean(dim=(2, 3)) - 1
        return params


class Finder:
    """Finds the given face in pictures whose top left pixel is not black."""

    def __init__(self, face: np.ndarray) -> None:
        self.face = face

    def process(self, image: np.ndarray) -> list[FaceLandmarks]:
        return [FaceLandmarks(self.face, 0.9)] if image[0, 0].any() else []


@pytest.fixture
def pictures(benchmark: Path, face: np.ndarray) -> NowDataset:
    """The benchmark with three flat pictures (red, green, black) and a box around the face of each."""
    dataset = NowDataset.open(benchmark)
    box = landmark_box(face)
    for image, color in zip(dataset.images, ((0, 0, 200), (0, 200, 0), (0, 0, 0)), strict=True):
        for folder in ("iphone_pictures", "detected_face"):
            (benchmark / folder / image.stem).parent.mkdir(parents=True, exist_ok=True)
        path = benchmark / "iphone_pictures" / str(image)
        cv2.imwrite(str(path), np.full((240, 300, 3), color, np.uint8))
        write_face_box(benchmark / "detected_face" / f"{image.stem}.npy", box)
    return dataset


def landmark_box(face: np.ndarray) -> FaceBox:
    (left, top), (right, bottom) = face[:468, :2].min(0), face[:468, :2].max(0)
    return FaceBox(float(left), float(top), float(right), float(bottom))


def predict(pictures: NowDataset, head: HeadModel, finder: Finder) -> tuple[CropCounts, Predictions]:
    counts, answers = predict_pictures(pictures, {"ours": Predictor(head)}, finder)
    return counts, answers["ours"]


def test_a_submission_is_sound_and_each_image_gets_its_own_prediction(pictures, head, face, tmp_path) -> None:
    done: list[tuple[int, int]] = []
    counts, answers = predict_pictures(
        pictures, {"ours": Predictor(head)}, Finder(face), batch_size=2, progress=lambda *count: done.append(count)
    )
    SubmissionFolder(tmp_path / "out").write(neutral(answers["ours"]), pictures.images)
    assert check_submission(tmp_path / "out", pictures).is_good
    assert counts.by_landmarks == list(pictures.images[:2])
    assert counts.by_box == list(pictures.images[2:])
    assert str(counts) == "2 cropped by landmarks, 1 by the given box, 0 without a face"
    assert done[-1] == (3, 3)
    # Colours arrive as RGB: the red picture moves the first coefficient.
    expected = torch.zeros(1, head.num_shape)
    expected[0, :3] = torch.tensor([3 * 200 / 255 - 1, -1.0, -1.0])
    written = read_prediction(tmp_path / "out", pictures.images[0])
    # JPEG moves colours a little.
    np.testing.assert_allclose(written.mesh.vertices, 1000 * head.neutral(expected)[0].numpy(), atol=0.1)
    expected_marks = 1000 * head.now_landmarks(head.neutral(expected))[0].numpy()
    np.testing.assert_allclose(written.landmarks, expected_marks, atol=0.1)
    assert np.abs(written.mesh.vertices - read_prediction(tmp_path / "out", pictures.images[1]).mesh.vertices).max() > 1


def test_an_export_holds_what_is_measured_in_memory(pictures, head, face, tmp_path) -> None:
    _, predictions = predict(pictures, head, Finder(face))
    SubmissionFolder(tmp_path).write(neutral(predictions), pictures.images)
    held = neutral(predictions).of_images(pictures.images)
    for image in pictures.images:
        written = read_prediction(tmp_path, image)
        # Written with six decimals.
        np.testing.assert_allclose(written.mesh.vertices, held.read(image).mesh.vertices, atol=0.51e-6)
        np.testing.assert_array_equal(written.landmarks, held.read(image).landmarks)


def test_predictors_side_by_side_see_each_picture_once(pictures, head, face) -> None:
    class Counting(Finder):
        seen = 0

        def process(self, image: np.ndarray) -> list[FaceLandmarks]:
            self.seen += 1
            return super().process(image)

    finder = Counting(face)
    small, large = Predictor(head), Predictor(head)
    large.image_size = 48
    _, answers = predict_pictures(pictures, {"small": small, "large": large}, finder)
    assert finder.seen == len(pictures.images)
    assert [tensor.shape[-1] for tensor in small.seen + large.seen] == [32, 48]
    assert answers["small"].rows == answers["large"].rows


def test_parameters_are_kept_and_no_meshes(pictures, head, face) -> None:
    """A thousand predictions are a few megabytes; their meshes would be hundreds."""
    _, predictions = predict(pictures, head, Finder(face))
    thousand = Predictions(head, predictions.params.index([0] * 1000), {number: number for number in range(1000)})
    tensors = (getattr(thousand.params, item.name) for item in fields(HeadParams))
    assert sum(tensor.nbytes for tensor in tensors) < 4e6
    tracemalloc.start()
    try:
        for number in range(0, 1000, 20):
            neutral(thousand).of_images(range(number, number + 20)).read(number)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Twenty meshes at a time, in double precision, and what is needed to make them.
    assert peak < 3 * 20 * 24 * head.num_vertices


def test_pictures_without_face_and_box_are_counted(pictures, head, face) -> None:
    (pictures.root / "detected_face" / f"{pictures.images[2].stem}.npy").unlink()
    counts, predictions = predict(pictures, head, Finder(face))
    assert counts.without_face == list(pictures.images[2:])
    assert counts.predicted == frozenset(pictures.images[:2])
    meshes = neutral(predictions).of_images(pictures.images)
    with pytest.raises(MissingPrediction, match=f"{pictures.images[2]}: no face found"):
        meshes.key(pictures.images[2])


def test_broken_pictures_and_boxes_are_counted_and_the_rest_goes_on(pictures, head, face) -> None:
    first, second, third = pictures.images
    pictures.image_path(second).write_bytes(b"")
    (pictures.root / "detected_face" / f"{third.stem}.npy").write_bytes(b"no box")
    counts, answers = predict(pictures, head, Finder(face))
    assert counts.by_landmarks == [first] and set(answers.rows) == {first}
    assert "IMG_2.jpg: not a picture that OpenCV can read" in counts.unreadable[second]
    assert "IMG_3.npy: not a detected face" in counts.unreadable[third]
    pictures.image_path(first).unlink()
    counts, answers = predict(pictures, head, Finder(face))
    assert answers.rows == {} and list(counts.unreadable) == [first, second, third]
    assert counts.unreadable[first].endswith("IMG_1.jpg: missing")
    assert counts.first_unreadable().startswith("; 3 cannot be read (first: ") and "3 unreadable" in str(counts)


def test_the_real_landmarker_finds_nothing_in_flat_pictures(pictures, head) -> None:
    counts, _ = predict(pictures, head, FaceLandmarker())
    assert counts.by_box == list(pictures.images)


def test_the_mean_head_is_the_template_once_for_all_pictures(pictures, head, face, tmp_path) -> None:
    _, predictions = predict(pictures, head, Finder(face))
    meshes = neutral(mean_head(predictions)).of_images(pictures.images)
    assert len(meshes.meshes) == 1 and {meshes.key(image) for image in pictures.images} == {0}
    for image in pictures.images:
        np.testing.assert_allclose(meshes.read(image).mesh.vertices, 1000 * head.template.numpy(), atol=1e-5)
        np.testing.assert_allclose(meshes.read(image).landmarks, CANONICAL_LANDMARKS_MM, atol=1.0)
    SubmissionFolder(tmp_path / "mean").write(neutral(mean_head(predictions)), pictures.images)
    assert check_submission(tmp_path / "mean", pictures).is_good


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_picture_on_its_side_is_seen_upright_and_answered_as_it_lies(pictures, head, face, quarters) -> None:
    """A NoW picture, blue above and red below the eyes when it is upright; the answer's mesh lies as the picture does."""
    upright = np.zeros((240, 300, 3), np.uint8)
    upright[:120], upright[120:] = (255, 0, 0), (0, 0, 255)  # OpenCV: blue, green, red
    path = pictures.image_path(pictures.images[0])
    cv2.imwrite(str(path), np.rot90(upright, -quarters))
    lying, size = face, [300, 240]
    for _ in range(quarters):  # clockwise
        lying = np.stack([size[1] - lying[:, 1], lying[:, 0], lying[:, 2]], -1).astype(np.float32)
        size = size[::-1]
    predictor = Predictor(head)
    pictures = replace(pictures, images=pictures.images[:1])
    counts, answers = predict_pictures(pictures, {"ours": predictor}, Finder(lying))
    assert counts.by_landmarks == list(pictures.images)
    (crops,) = predictor.seen
    assert crops[0, 2, :12].mean() > 0.8 and crops[0, 0, -12:].mean() > 0.8
    up = rotvec_to_matrix(answers["ours"].params.root_rotvec)[0][:, 1]
    expected = {1: [1.0, 0, 0], 2: [0, -1.0, 0], 3: [-1.0, 0, 0]}[quarters]
    torch.testing.assert_close(up, torch.tensor(expected), atol=1e-5, rtol=0)


# --- crops ------------------------------------------------------------------------------------------------------------


def test_a_box_around_the_landmarks_gives_nearly_the_landmarks_crop(face: np.ndarray) -> None:
    by_box, by_landmarks = BoxToCrop().crop(landmark_box(face)), crop_box(face)
    # Measured: 1.6 % in side, 0.5 % of the side in place.
    assert by_box.side == pytest.approx(by_landmarks.side, rel=0.03)
    assert by_box.center_x == pytest.approx(by_landmarks.center_x, abs=0.03 * by_box.side)
    assert by_box.center_y == pytest.approx(by_landmarks.center_y, abs=0.03 * by_box.side)


def test_the_box_rule_is_fitted_to_the_benchmarks_detector() -> None:
    truth = BoxToCrop(ratio=2.7, rise=-0.1)
    boxes = [FaceBox(x, 2 * x, x + size, 2 * x + 1.2 * size) for x, size in ((10, 50), (40, 80), (90, 30))]
    pairs = [(box, truth.crop(box)) for box in boxes]
    pairs[1] = (boxes[1], CropBox(0.0, 0.0, 5000.0))
    fitted = BoxToCrop.fit(pairs)
    assert fitted.ratio == pytest.approx(2.7)
    assert fitted.rise == pytest.approx(-0.1)
    assert BoxToCrop.fit([]) == BoxToCrop()


def test_the_face_in_the_box_is_taken(face: np.ndarray) -> None:
    other = FaceLandmarks(face + np.float32([400, 0, 0]), 0.99)
    meant = FaceLandmarks(face, 0.6)
    box = landmark_box(face)
    assert crop_by_landmarks([other, meant], box) == crop_box(face)
    assert crop_by_landmarks([other, meant], None) == crop_box(other.points)
    assert crop_by_landmarks([other], box) is None
    assert crop_by_landmarks([], box) is None
    collapsed = replace(meant, points=np.full_like(face, 150))
    assert crop_by_landmarks([collapsed], None) is None


def test_images_sort_by_subject() -> None:
    images = {NowImage("b", "selfie", "x.jpg"), NowImage("a", "selfie", "y.jpg")}
    assert [image.subject for image in sorted(images)] == ["a", "b"]
