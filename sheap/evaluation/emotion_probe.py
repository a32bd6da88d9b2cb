"""EMOCA's emotion protocol (Danecek et al. 2022): a frozen predictor, and a small MLP on its expression and jaw.

The MLP learns valence, arousal and the emotion from the training split's predictions; its agreement with the
annotations of the validation split tells how much emotion the predicted parameters carry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sheap.evaluation.affectnet import EMOTIONS, EmotionPicture
from sheap.evaluation.emotion_metrics import affect_agreement
from sheap.evaluation.picture_crops import BoxToCrop, crop_by_landmarks
from sheap.evaluation.predictions import FaceFinder, Predictor
from sheap.evaluation.pictures import read_picture
from sheap.head import HeadParams
from sheap.video.crops import cut_crop

SPREAD_FLOOR = 1e-3
"""Features that vary less than this are not blown up to unit variance."""


@dataclass(frozen=True)
class ProbeConfig:
    """Size and training of the MLP."""

    hidden: int = 128
    epochs: int = 200
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    dropout: float = 0.2
    seed: int = 0


@dataclass(frozen=True)
class EmotionFeatures:
    """features [N,E+3] (expression and jaw rotation vector), emotion [N] int64, affect [N,2] (valence, arousal)."""

    features: NDArray[np.float32]
    emotion: NDArray[np.int64]
    affect: NDArray[np.float32]

    @classmethod
    def of(cls, features: NDArray[np.float32], pictures: Sequence[EmotionPicture]) -> EmotionFeatures:
        return cls(
            features,
            np.array([picture.emotion for picture in pictures]),
            np.array([(picture.valence, picture.arousal) for picture in pictures], np.float32),
        )


def expression_and_jaw(params: HeadParams) -> Tensor:
    """What the probe sees [B,E+3]."""
    return torch.cat([params.expression, params.jaw_rotvec], -1)


def predict_features(
    pictures: Sequence[EmotionPicture],
    predictor: Predictor,
    finder: FaceFinder,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[EmotionFeatures, list[str]]:
    """The predictor's features of every picture with a face, and the names of those without.

    Crops follow the landmarks of the face that the annotation means; where none is found, its box; where there is no
    box either, the picture is left out and named. `progress(done, total)` is called for every picture.
    """
    seen: list[EmotionPicture] = []
    without_face: list[str] = []

    def crops() -> Iterator[NDArray[np.uint8]]:
        for number, picture in enumerate(pictures, start=1):
            if progress is not None:
                progress(number, len(pictures))
            image = read_picture(picture.path)
            crop = crop_by_landmarks(finder.process(image), picture.face)
            if crop is None and picture.face is not None:
                crop = BoxToCrop().crop(picture.face)
            if crop is None:
                without_face.append(picture.path.name)
                continue
            seen.append(picture)
            yield cut_crop(image, crop, predictor.image_size)

    found = [
        expression_and_jaw(predictor.predict(torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 255))
        for batch in _batched(crops(), batch_size)
    ]
    if not found:
        raise ValueError(f"no face found in any of {len(pictures)} pictures")
    return EmotionFeatures.of(torch.cat(found).float().cpu().numpy(), seen), without_face


def _batched(items: Iterator[NDArray[np.uint8]], size: int) -> Iterator[list[NDArray[np.uint8]]]:
    batch: list[NDArray[np.uint8]] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class EmotionProbe(nn.Module):
    """features [B,D] -> emotion logits [B,8] and valence, arousal [B,2]."""

    def __init__(self, mean: Tensor, spread: Tensor, config: ProbeConfig) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)
        self.layers = nn.Sequential(
            nn.Linear(len(mean), config.hidden), nn.GELU(), nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden), nn.GELU(), nn.Dropout(config.dropout),
            nn.Linear(config.hidden, len(EMOTIONS) + 2),
        )  # fmt: skip

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        out = self.layers((features - self.mean) / self.spread)
        return out[:, :-2], torch.tanh(out[:, -2:])


def train_probe(train: EmotionFeatures, config: ProbeConfig) -> EmotionProbe:
    """Cross-entropy of the emotion, squared error and 1 - CCC of valence and arousal; reproducible by its seed.

    Raises ValueError for fewer than two pictures.
    """
    if len(train.features) < 2:
        raise ValueError(f"train: {len(train.features)} pictures with a face; the probe needs more")
    features, emotion, affect = (torch.from_numpy(part) for part in (train.features, train.emotion, train.affect))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        spread = features.std(0).clamp_min(SPREAD_FLOOR)
        probe = EmotionProbe(features.mean(0), spread, config)
        optimizer = torch.optim.AdamW(probe.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        for _ in range(config.epochs):
            for batch in torch.randperm(len(features)).split(config.batch_size):
                logits, predicted = probe(features[batch])
                loss = functional.cross_entropy(logits, emotion[batch])
                loss = loss + functional.mse_loss(predicted, affect[batch])
                loss = loss + (1 - _concordance(predicted, affect[batch])).mean()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
    return probe.eval()


@torch.inference_mode()
def measure_probe(probe: EmotionProbe, held_out: EmotionFeatures) -> dict[str, Any]:
    """Agreement on held-out pictures, as plain JSON."""
    logits, affect = probe(torch.from_numpy(held_out.features))
    chosen = logits.argmax(1).numpy()
    is_right = chosen == held_out.emotion
    return {
        "valence": affect_agreement(affect[:, 0].numpy(), held_out.affect[:, 0]),
        "arousal": affect_agreement(affect[:, 1].numpy(), held_out.affect[:, 1]),
        "emotion_accuracy": float(is_right.mean()),
        "emotion_recall": {
            name: float(is_right[held_out.emotion == number].mean())
            for number, name in enumerate(EMOTIONS)
            if (held_out.emotion == number).any()
        },
        "pictures": len(chosen),
    }


def _concordance(predicted: Tensor, annotated: Tensor) -> Tensor:
    """CCC of each column [B,K] -> [K], differentiable."""
    ours, theirs = predicted - predicted.mean(0), annotated - annotated.mean(0)
    spread = (ours**2).mean(0) + (theirs**2).mean(0) + (predicted.mean(0) - annotated.mean(0)) ** 2
    return 2 * (ours * theirs).mean(0) / spread.clamp_min(1e-8)
