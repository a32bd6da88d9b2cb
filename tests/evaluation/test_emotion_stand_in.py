"""The rendered stand-in for AffectNet: its prototypes carry emotion, and what is written is AffectNet's layout."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from experiments.emotion_stand_in import PROTOTYPES, emotion_actions, render_person
from sheap.evaluation.affectnet import EMOTIONS, FOLDERS, read_affectnet
from sheap.evaluation.emotion_probe import EmotionFeatures, ProbeConfig, measure_probe, train_probe
from sheap.head import HeadModel


def true_parameters(head: HeadModel, count: int, seed: int) -> EmotionFeatures:
    """What a perfect predictor would hand to the probe."""
    rng = np.random.default_rng(seed)
    emotion, intensity = rng.integers(0, len(EMOTIONS), count), rng.uniform(0.35, 1.0, count)
    actions = np.stack([emotion_actions(head, EMOTIONS[e], s, rng) for e, s in zip(emotion, intensity, strict=True)])
    jaw = np.einsum("na,ak->nk", actions, head.action_rotvecs[:, 2].numpy())
    features = np.concatenate([actions @ head.action_matrix.numpy(), jaw], 1).astype(np.float32)
    affect = intensity[:, None] * np.array([PROTOTYPES[EMOTIONS[e]].affect for e in emotion])
    return EmotionFeatures(features, emotion, affect.astype(np.float32))


def test_a_perfect_predictor_would_be_read_well() -> None:
    head = HeadModel.load()
    assert set(PROTOTYPES) == set(EMOTIONS)
    probe = train_probe(true_parameters(head, 200, 0), ProbeConfig(epochs=60))
    figures = measure_probe(probe, true_parameters(head, 100, 1))
    assert figures["emotion_accuracy"] > 0.95
    assert figures["valence"]["ccc"] > 0.9 and figures["arousal"]["ccc"] > 0.85


def test_photos_and_annotations_are_affectnets(tmp_path: Path) -> None:
    for part in ("images", "annotations"):
        (tmp_path / FOLDERS["val"] / part).mkdir(parents=True)
    assert render_person(tmp_path, "val", 0, 1, seed=3) == len(EMOTIONS)
    found = read_affectnet(tmp_path, "val")
    assert [picture.emotion for picture in found] == list(range(len(EMOTIONS)))
    neutral, happy = found[:2]
    assert neutral.valence == neutral.arousal == 0.0
    assert happy.valence / happy.arousal == np.divide(*PROTOTYPES["happy"].affect)
    pictures = [cv2.imread(str(picture.path)) for picture in found]
    assert all(picture.shape == (256, 256, 3) and picture.std() > 10 for picture in pictures)
