"""The face-landmark network in torch equals MediaPipe's on LiteRT, in the file's own frame and in head crops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sheap.networks.face_mesh import FACE_CENTER, FACE_SIDE, INPUT_SIZE, FaceMesh
from sheap.networks.face_mesh_weights import load_face_mesh_weights
from sheap.networks.face_points import FacePoints, similarity_to
from sheap.video.face_landmarker import FaceLandmarker, FaceRoi
from sheap.video.face_models import DETECTOR_MEMBER, LANDMARKS_MEMBER, LiteModel, find_bundle, read_bundle_member


@pytest.fixture(scope="module")
def content() -> bytes:
    return read_bundle_member(find_bundle(), LANDMARKS_MEMBER)


@pytest.fixture(scope="module")
def face_mesh(content: bytes) -> FaceMesh:
    network = FaceMesh()
    load_face_mesh_weights(network, content)
    return network


def smooth_picture(seed: int, size: int) -> torch.Tensor:
    """Blobs of colour, [1, 3, size, size]."""
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic", align_corners=False).clamp(0, 1)


@pytest.mark.parametrize("seed", [0, 1])
def test_points_equal_litert(face_mesh: FaceMesh, content: bytes, seed: int) -> None:
    picture = smooth_picture(seed, INPUT_SIZE)
    expected = LiteModel(content)(picture[0].permute(1, 2, 0).contiguous().numpy())["Identity"].reshape(478, 3)
    with torch.no_grad():
        points = face_mesh(picture)[0].numpy()
    # 2e-4 px was measured.
    np.testing.assert_allclose(points, expected, atol=2e-3)


def test_points_in_crops_lie_where_the_landmarker_puts_them(face_mesh: FaceMesh) -> None:
    size = 320
    crop = smooth_picture(2, size)
    as_bytes = (crop[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    roi = FaceRoi(FACE_CENTER[0] * size, FACE_CENTER[1] * size, FACE_SIDE * size, 0.0)
    expected = FaceLandmarker().landmarks(as_bytes, roi).points
    # LiteRT's patch comes from bytes, and MediaPipe cuts it half a pixel aside (face_landmarker.py).
    points = face_mesh.points_in_crops(crop)[0].numpy() * size
    # 1.1 px of the 320 was measured; a face put a twentieth of a crop aside would be 16 px off.
    assert np.abs(points - expected).mean() < 2.0


def test_another_model_file_is_refused() -> None:
    with pytest.raises(ValueError, match="face landmark model: expected"):
        load_face_mesh_weights(FaceMesh(), read_bundle_member(find_bundle(), DETECTOR_MEMBER))


def test_a_similarity_is_found_again() -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(478, 3, generator=generator)
    target = target - target.mean(0)
    turn, _ = torch.linalg.qr(torch.randn(2, 3, 3, generator=generator))
    turn = turn * torch.det(turn)[:, None, None]
    moved = 0.3 * target @ turn + torch.randn(2, 1, 3, generator=generator)
    rotation, scale = similarity_to(moved, target)
    torch.testing.assert_close(rotation, turn, atol=1e-5, rtol=0)
    torch.testing.assert_close(scale, torch.full((2,), 1 / 0.3), atol=1e-4, rtol=0)


def test_a_mirror_image_is_not_turned_inside_out() -> None:
    target = torch.randn(478, 3, generator=torch.Generator().manual_seed(1))
    target = target - target.mean(0)
    rotation, _ = similarity_to(target[None] * torch.tensor([-1.0, 1.0, 1.0]), target)
    torch.testing.assert_close(torch.det(rotation), torch.ones(1))


def test_form_forgets_where_the_head_is_and_how_it_is_turned(face_mesh: FaceMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    mean_points = 0.05 * torch.randn(478, 3, generator=torch.Generator().manual_seed(2))
    features = FacePoints(mean_points)
    face = mean_points * torch.tensor([1.0, -1.0, -1.0]) + 0.002 * torch.randn(478, 3)
    angle = torch.tensor(0.4)
    turn = torch.tensor([[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]])
    seen = torch.stack([3 * face, 2 * face @ turn + 0.1])
    monkeypatch.setattr(features.face_mesh, "points_in_crops", lambda crops: seen)
    still, turned = features(torch.zeros(2, 3, 8, 8))
    assert len(still) == FacePoints.num_features
    form = slice(-3 * 478, None)
    torch.testing.assert_close(still[form], turned[form], atol=1e-3, rtol=0)
    assert still[form].abs().max() > 0.1
    assert (still[: 3 * 478] - turned[: 3 * 478]).abs().max() > 0.1
