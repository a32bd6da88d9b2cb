"""Bundles and the predictor: what is saved is what predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sheap.bundle import BundleConfig, HeadReference, Preprocessing, load_bundle, save_bundle
from sheap.head import HeadModel
from sheap.networks.both_sides import BothSides
from sheap.networks.config import PRESETS, NetworkConfig
from sheap.networks.landmark_calibration import OFFSET_UNIT
from sheap.networks.sheap_network import SheapNetwork
from sheap.predictor import SheapPredictor
from sheap.video.crops import CROP_RISE_CM, CROP_SIDE_CM
from sheap.video.face_landmarker import FaceLandmarks

SIZE = 32
PUBLISHED_SIZES = {
    "shape_from_facenet": 300, "eyelids": 2, "cam_trans": 3, "torso_pose": 3, "neck_pose": 3, "jaw_pose": 3,
    "eye_l_pose": 3, "eye_r_pose": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def network() -> SheapNetwork:
    torch.manual_seed(0)
    tiny = PRESETS["tiny"]
    encoder = tiny.encoder.model_copy(update={"image_size": SIZE, "hidden_size": 16, "num_heads": 2, "num_layers": 1})
    network = SheapNetwork(
        NetworkConfig(encoder=encoder, regressor=tiny.regressor, lighting_components=4), HeadModel.load()
    ).eval()
    with torch.no_grad():
        for head in network.heads.values():
            head.out.weight.normal_(std=0.05)
    return network


@pytest.fixture
def folder(network: SheapNetwork, tmp_path: Path) -> Path:
    config = BundleConfig(
        network=network.config,
        image_feature_size=None,
        head_model=HeadReference.of(None),
        preprocessing=Preprocessing(image_size=SIZE, crop_side_cm=CROP_SIDE_CM, crop_rise_cm=CROP_RISE_CM),
    )
    save_bundle(tmp_path, network, config)
    return tmp_path


def images(count: int = 2, size: int = SIZE) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_a_loaded_bundle_predicts_what_was_saved(network: SheapNetwork, folder: Path) -> None:
    predictor = SheapPredictor.load(folder)
    ours, theirs = predictor.predict(images()), BothSides.of(network).params(images())
    torch.testing.assert_close(ours.shape, theirs.shape)
    torch.testing.assert_close(ours.translation, theirs.translation)
    assert float(ours.shape.abs().max()) > 0
    assert predictor.mesh(ours).vertices.shape == (2, predictor.head.num_vertices, 3)
    torch.testing.assert_close(predictor.neutral(ours), predictor.head.neutral(ours.shape))


def test_published_keys_and_sizes(folder: Path) -> None:
    predictor = SheapPredictor.load(folder)
    out = predictor.predict_published(images())
    sizes = {name: value.shape[-1] for name, value in out.items()}
    assert sizes == PUBLISHED_SIZES | {"expr": predictor.head.num_expression}
    assert all(value.shape[0] == 2 for value in out.values())
    params = predictor.predict(images())
    assert torch.equal(out["cam_trans"], params.translation) and torch.equal(out["eye_l_pose"], params.eye_left_rotvec)


def test_the_detectors_landmarks_are_the_heads_own_and_its_habits(folder: Path) -> None:
    predictor = SheapPredictor.load(folder)
    params, calibration = predictor.predict(images()), predictor.network.landmark_calibration
    own = predictor.head.landmarks(predictor.mesh(params).vertices)
    torch.testing.assert_close(predictor.detector_landmarks(params), own)
    with torch.no_grad():
        calibration.offsets[:, 2] = 0.1  # outwards, in units
    apart = predictor.detector_landmarks(params) - own
    torch.testing.assert_close(apart.norm(dim=-1), torch.full(apart.shape[:2], 0.1 * OFFSET_UNIT), atol=1e-6, rtol=1e-4)


def test_crops_of_another_size_are_resized(folder: Path) -> None:
    predictor = SheapPredictor.load(folder)
    small = images()
    big = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(predictor.predict(big).shape, predictor.predict(small).shape, atol=0.2, rtol=0.2)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.rand(3, 8, 8), r"expected square crops \[B, 3, S, S\], got \[3, 8, 8\]"),
        (torch.rand(1, 3, 8, 9), "square"),
        (torch.rand(1, 3, 8, 8) * 255, r"floats in \[0, 1\]"),
        (torch.full((1, 3, 8, 8), float("nan")), r"floats in \[0, 1\]"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"floats in \[0, 1\]"),
    ],
)
def test_inputs_that_are_no_crops_are_refused(folder: Path, bad: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SheapPredictor.load(folder).predict(bad)


class MadeLandmarker:
    """Two faces, left and right."""

    def process(self, image: np.ndarray) -> list[FaceLandmarks]:
        rng = np.random.default_rng(0)
        face = rng.uniform(-20, 20, (478, 3)).astype(np.float32)
        return [FaceLandmarks(face + [60, 50, 0], 0.9), FaceLandmarks(face + [160, 50, 0], 0.8)] if image.any() else []


def test_a_face_box_says_which_face_is_meant(folder: Path) -> None:
    predictor = SheapPredictor.load(folder)
    predictor._landmarker = MadeLandmarker()  # type: ignore[assignment]
    photo = np.full((100, 220, 3), 90, np.uint8)
    assert predictor.predict_image(photo).landmarks[:, 0].mean() < 100
    assert predictor.predict_image(photo, face_box=(140.0, 30.0, 180.0, 70.0)).landmarks[:, 0].mean() > 100
    with pytest.raises(ValueError, match="no face found"):
        predictor.predict_image(np.zeros((100, 220, 3), np.uint8))


def test_folders_that_are_no_bundle_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere/config.json: missing"):
        load_bundle(tmp_path / "nowhere")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"sheap-bundle-1"', '"sheap-bundle-9"'))
    with pytest.raises(ValueError, match=r"config.json: format"):
        load_bundle(folder)
    (folder / "config.json").write_text(config.replace(HeadReference.of(None).sha256, "0" * 64))
    with pytest.raises(ValueError, match="trained with another head model"):
        load_bundle(folder)
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model.safetensors: missing"):
        load_bundle(folder)
