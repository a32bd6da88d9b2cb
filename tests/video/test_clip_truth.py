"""Truth of a video's frames in the crops of its clips, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from sheap.video.clip_cutting import Clip
from sheap.video.clip_truth import VideoTruth
from sheap.video.crops import CropBox, landmarks_to_crop

FRAMES, FPS, SIZE = 6, 10.0, 64
BOX = CropBox(100.0, 90.0, 128.0)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """What a truth file holds, of a face that moves by 3 px a frame."""
    rng = np.random.default_rng(0)
    rotvecs = {f"{joint}_rotvec": rng.normal(size=(FRAMES, 3)) for joint in ("root", "neck", "jaw", "eye_left", "eye_right")}
    face = rng.uniform((60, 50), (140, 130), (478, 2))
    return rotvecs | {
        "shape": rng.normal(size=7), "expression": rng.normal(size=(FRAMES, 5)), "eyelids": rng.normal(size=(FRAMES, 2)),
        "translation": rng.normal(size=(FRAMES, 3)), "head_sha256": np.array("a" * 64), "fps": np.array(FPS),
        "picture_size": np.array([180, 200]), "K": np.diag([300.0, 300.0, 1.0]),
        "landmarks_px": (face + 3.0 * np.arange(FRAMES)[:, None, None]).astype(np.float32),
        "landmark_depths": rng.uniform(0.9, 1.1, (FRAMES, 478)).astype(np.float32), "seen": rng.random((FRAMES, 478)) < 0.8,
    }  # fmt: skip


@pytest.fixture
def truth(arrays, tmp_path) -> VideoTruth:
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    return VideoTruth.read(tmp_path / "a.npz")


def made_clip(truth: VideoTruth, frames: list[int], box: CropBox = BOX, shrink: float = 1.0) -> Clip:
    """A clip in which the landmark network found the true landmarks; pictures were shrunk before."""
    box = CropBox(*(shrink * value for value in box))
    return Clip(
        times_s=[round(frame / FPS, 6) for frame in frames], boxes=[box] * len(frames),
        picture_widths=[round(shrink * truth.width)] * len(frames),
        landmarks=[landmarks_to_crop(shrink * truth.landmarks[frame], box, SIZE) for frame in frames],
    )  # fmt: skip


@pytest.mark.parametrize("shrink", [1.0, 0.5])
def test_rows_are_those_of_the_clips_frames_in_its_crops(truth, arrays, shrink):
    frames = [1, 2, 4]
    clip = made_clip(truth, frames, shrink=shrink)
    rows = truth.rows(clip, SIZE)
    assert rows.shape == (3, sum(truth.layout.sizes)) and rows.dtype == np.float32
    columns = np.split(rows, np.cumsum(truth.layout.sizes)[:-1], axis=1)
    shape, expression, eyelids, rotvecs, translation, landmarks, seen = columns
    assert np.allclose(shape, arrays["shape"]) and np.allclose(expression, arrays["expression"][frames])
    assert np.allclose(eyelids, arrays["eyelids"][frames]) and np.allclose(translation, arrays["translation"][frames])
    assert np.allclose(rotvecs.reshape(3, 5, 3)[:, 2], arrays["jaw_rotvec"][frames])
    landmarks = landmarks.reshape(3, 478, 3)
    wanted = (arrays["landmarks_px"][frames] - (36, 26)) / 2  # the box' corner; half its pixels
    assert np.allclose(landmarks[..., :2], wanted, atol=1e-4)
    depths = arrays["landmark_depths"][frames]
    middle = depths.mean(1, keepdims=True)
    assert np.allclose(landmarks[..., 2], (depths - middle) * 300 / middle / 2, atol=1e-3)
    assert np.array_equal(seen, arrays["seen"][frames])


def test_what_lies_outside_of_the_crop_is_not_seen(truth, arrays):
    rows = truth.rows(made_clip(truth, [0, 1], CropBox(70.0, 60.0, 64.0)), SIZE)
    seen = rows[:, -478:]
    inside = (arrays["landmarks_px"][:2] >= (38, 28)).all(-1) & (arrays["landmarks_px"][:2] < (102, 92)).all(-1)
    assert np.array_equal(seen, arrays["seen"][:2] & inside) and 0 < seen.mean() < 0.5


def test_another_face_in_the_picture_gets_no_truth(truth):
    clip = made_clip(truth, [0, 1, 2])
    clip.landmarks[1] = clip.landmarks[1] + np.float32(0.05 * SIZE)  # a jump of the landmark network, still this face
    assert truth.rows(clip, SIZE) is not None
    clip.landmarks[1] = clip.landmarks[1] + np.float32(0.3 * SIZE)
    assert truth.rows(clip, SIZE) is None
    late = made_clip(truth, [3, 4])
    late.times_s[-1] = FRAMES / FPS  # of a frame that nothing is known of
    assert truth.rows(late, SIZE) is None


def test_a_file_that_is_none_is_named_with_what_is_wrong(arrays, tmp_path):
    path = tmp_path / "bad.npz"

    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=rf"bad\.npz: .*{message}"):
            VideoTruth.read(path)

    refused("No such file")
    for content in (b"", b"garbage", b"PK\x03\x04 garbage"):
        path.write_bytes(content)
        refused("not a readable")
    with path.open("wb") as file:
        np.save(file, arrays["shape"])
    refused("not a readable")
    np.savez(path, **{name: value for name, value in arrays.items() if name not in ("seen", "fps")})
    refused("lacks fps, seen")
    np.savez(path, **arrays | {"eyelids": arrays["eyelids"][:2]})
    refused(r"eyelids: expected \[6, 2\], got \[2, 2\]")
    np.savez(path, **arrays | {"head_sha256": np.array("short")})
    refused("head_sha256")
    np.savez(path, **arrays | {"shape": np.array([None])})
    refused("allow_pickle")
