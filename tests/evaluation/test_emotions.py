"""The emotion protocol: known figures, both layouts of AffectNet, and what the probe can and cannot learn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sheap.evaluation.affectnet import EMOTIONS, EmotionPicture, read_affectnet
from sheap.evaluation.emotion_metrics import affect_agreement
from sheap.evaluation.emotion_probe import EmotionFeatures, ProbeConfig, measure_probe, predict_features, train_probe
from sheap.evaluation.face_boxes import FaceBox
from sheap.evaluation.measures.base import Inputs, Method
from sheap.evaluation.measures.emotions import EmotionMeasure, EmotionSettings
from sheap.head import HeadModel, HeadParams

# --- figures ----------------------------------------------------------------------------------------------------------


def test_figures_of_a_small_series() -> None:
    predicted, annotated = np.array([0.1, 0.4, -0.2, 0.3]), np.array([0.2, 0.8, -0.4, -0.6])
    figures = affect_agreement(predicted, annotated)
    assert figures["pcc"] == pytest.approx(np.corrcoef(predicted, annotated)[0, 1])
    assert figures["rmse"] == pytest.approx(np.sqrt((0.01 + 0.16 + 0.04 + 0.81) / 4))
    assert figures["sagr"] == 0.75
    covariance = np.cov(predicted, annotated, bias=True)
    offset = predicted.mean() - annotated.mean()
    assert figures["ccc"] == pytest.approx(2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + offset**2))


def test_concordance_punishes_what_correlation_forgives() -> None:
    annotated = np.linspace(-1, 1, 11)
    assert affect_agreement(annotated, annotated)["ccc"] == pytest.approx(1.0)
    halved = affect_agreement(0.5 * annotated + 0.2, annotated)
    assert halved["pcc"] == pytest.approx(1.0) and halved["ccc"] < 0.8
    constant = affect_agreement(np.zeros(11), annotated)
    assert constant["pcc"] == constant["ccc"] == 0.0
    with pytest.raises(ValueError, match="predicted: expected annotated's shape"):
        affect_agreement(annotated[:3], annotated)


# --- layouts ----------------------------------------------------------------------------------------------------------


def write_arrays(root: Path, split: str, name: str, emotion: object, valence: object, arousal: object) -> None:
    folder = root / split
    for part in ("images", "annotations"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "images" / f"{name}.jpg"), np.full((40, 40, 3), 90, np.uint8))
    for part, value in (("exp", emotion), ("val", valence), ("aro", arousal)):
        np.save(folder / "annotations" / f"{name}_{part}.npy", np.array(value))


def test_arrays_are_read_numbers_or_text(tmp_path: Path) -> None:
    write_arrays(tmp_path, "train_set", "7", 1, 0.7, 0.2)
    write_arrays(tmp_path, "train_set", "8", "3", "0.1", "-0.9")
    write_arrays(tmp_path, "train_set", "9", 9, -2.0, -2.0)  # uncertain: no emotion
    found = read_affectnet(tmp_path, "train")
    images = tmp_path / "train_set/images"
    assert found == [EmotionPicture(images / "7.jpg", 1, 0.7, 0.2), EmotionPicture(images / "8.jpg", 3, 0.1, -0.9)]
    with pytest.raises(FileNotFoundError, match=r"neither validation\.csv nor val_set/annotations"):
        read_affectnet(tmp_path, "val")
    write_arrays(tmp_path, "val_set", "1", 10, 0, 0)
    with pytest.raises(ValueError, match="no picture with an emotion in the 'val' split"):
        read_affectnet(tmp_path, "val")
    write_arrays(tmp_path, "train_set", "7", 1, 1.7, 0.2)
    with pytest.raises(ValueError, match=r"7_exp\.npy: .* out of range"):
        read_affectnet(tmp_path, "train")
    np.save(tmp_path / "train_set/annotations/7_val.npy", np.array({"evil": 1}, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"7_val\.npy: not a number"):
        read_affectnet(tmp_path, "train")


HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"


def test_tables_are_read_with_their_boxes(tmp_path: Path) -> None:
    (tmp_path / "Manually_Annotated_Images/12").mkdir(parents=True)
    (tmp_path / "Manually_Annotated_Images/12/a.jpg").write_bytes(b"")
    rows = "12/a.jpg,10,20,30,40,1;2,6,-0.5,0.8\n12/gone.jpg,0,0,0,0,,8,-2,-2\n"
    (tmp_path / "validation.csv").write_text(HEADER + rows)
    expected = EmotionPicture(tmp_path / "Manually_Annotated_Images/12/a.jpg", 6, -0.5, 0.8, FaceBox(10.0, 20.0, 40.0, 60.0))
    assert read_affectnet(tmp_path, "val") == [expected]
    (tmp_path / "training.csv").write_text(HEADER + "12/none.jpg,10,20,30,40,,6,-0.5,0.8\n")
    with pytest.raises(FileNotFoundError, match=r"12/none\.jpg: missing"):
        read_affectnet(tmp_path, "train")
    (tmp_path / "training.csv").write_text(HEADER + "12/a.jpg,10,20,30,40,,happy,-0.5,0.8\n")
    with pytest.raises(ValueError, match=r"training\.csv line 2: ValueError"):
        read_affectnet(tmp_path, "train")


# --- the probe --------------------------------------------------------------------------------------------------------

FAST = ProbeConfig(hidden=32, epochs=60)


def made_up(count: int, seed: int, informative: bool) -> EmotionFeatures:
    """Features in which each emotion has a direction of its own, or noise alone; valence falls with the number."""
    rng = np.random.default_rng(seed)
    emotion = rng.integers(0, len(EMOTIONS), count)
    prototypes = np.random.default_rng(99).normal(size=(len(EMOTIONS), 20))
    features = rng.normal(size=(count, 20)) * 0.5 + (prototypes[emotion] if informative else 0)
    affect = np.stack([0.8 - 0.2 * emotion, 0.6 * np.sin(emotion)], -1)
    return EmotionFeatures(features.astype(np.float32), emotion, affect.astype(np.float32))


def test_the_probe_finds_emotion_where_it_is() -> None:
    figures = measure_probe(train_probe(made_up(400, 0, True), FAST), made_up(200, 1, True))
    assert figures["emotion_accuracy"] > 0.9
    assert figures["valence"]["ccc"] > 0.9 and figures["arousal"]["pcc"] > 0.9
    assert figures["pictures"] == 200 and set(figures["emotion_recall"]) == set(EMOTIONS)


def test_and_chance_where_there_is_none() -> None:
    figures = measure_probe(train_probe(made_up(400, 0, False), FAST), made_up(200, 1, False))
    assert figures["emotion_accuracy"] < 0.25
    assert abs(figures["valence"]["ccc"]) < 0.25


def test_the_same_seed_gives_the_same_probe() -> None:
    torch.manual_seed(5)
    first = train_probe(made_up(50, 0, True), ProbeConfig(hidden=8, epochs=3))
    state = torch.get_rng_state()
    second = train_probe(made_up(50, 0, True), ProbeConfig(hidden=8, epochs=3))
    assert torch.equal(torch.get_rng_state(), state)
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="1 pictures with a face"):
        train_probe(made_up(1, 0, True), FAST)


class Predictor:
    """Writes the picture's colour into the expression and the jaw."""

    image_size = 16

    def __init__(self) -> None:
        self.head = HeadModel.load()

    def predict(self, images: torch.Tensor) -> HeadParams:
        params = HeadParams.zeros(self.head, len(images))
        params.expression[:, 0] = images.mean((1, 2, 3))
        params.jaw_rotvec[:, 0] = 2 * images.mean((1, 2, 3))
        return params


class NoFaces:
    def process(self, image: np.ndarray) -> list:
        return []


def test_features_are_expression_and_jaw_in_the_pictures_order(tmp_path: Path) -> None:
    pictures = []
    for number, grey in enumerate((50, 100, 150)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40, 40, 3), grey, np.uint8))
        face = None if number == 1 else FaceBox(10, 10, 30, 30)
        pictures.append(EmotionPicture(tmp_path / f"{number}.png", number, 0.1 * number, 0.0, face))
    predictor = Predictor()
    features, without = predict_features(pictures, {"ours": predictor}, NoFaces(), batch_size=1)
    found = features["ours"]
    assert without == ["1.png"]
    assert found.emotion.tolist() == [0, 2]
    np.testing.assert_allclose(found.affect[:, 0], [0.0, 0.2])
    assert found.features.shape == (2, predictor.head.num_expression + 3)
    np.testing.assert_allclose(found.features[:, 0], [50 / 255, 150 / 255], atol=1e-3)
    np.testing.assert_allclose(found.features[:, -3], [100 / 255, 300 / 255], atol=1e-3)
    with pytest.raises(ValueError, match="no face found in any of 1"):
        predict_features(pictures[1:2], {"ours": predictor}, NoFaces(), batch_size=1)


def test_the_stage_trains_on_one_split_and_measures_the_other(tmp_path: Path) -> None:
    """Pictures whose brightness is their emotion, boxes from the tables: the probe has to read it well."""
    (tmp_path / "faces").mkdir()
    for split, count in (("training", 64), ("validation", 24)):
        rows = []
        for number in range(count):
            emotion = number % len(EMOTIONS)
            name = f"faces/{split}{number}.png"
            cv2.imwrite(str(tmp_path / name), np.full((40, 40, 3), 20 + 30 * emotion, np.uint8))
            rows.append(f"{name},10,10,20,20,,{emotion},{0.8 - 0.2 * emotion},{0.1 * emotion}\n")
        (tmp_path / f"{split}.csv").write_text(HEADER + "".join(rows))
    settings = EmotionSettings(emotions_dir=tmp_path)
    methods = [Method("model", Predictor()), Method("again", Predictor())]
    inputs = Inputs(methods, NoFaces(), tmp_path, batch_size=16, num_workers=1)
    figures = EmotionMeasure().figures(settings, inputs)["emotions"]
    assert figures["pictures"] == 24 and figures["train_pictures"] == 64 and figures["without_face"] == []
    assert figures["valence"]["ccc"] > 0.9 and figures["emotion_accuracy"] > 0.5
    assert figures["others"]["again"]["valence"] == figures["valence"]
    [table] = EmotionMeasure().tables({"emotions": figures})
    assert [row.cells[0] for row in table.rows] == ["model: valence", "model: arousal", "again: valence", "again: arousal"]
