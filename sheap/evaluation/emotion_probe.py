"""EMOCA's emotion protocol (Danecek et al. 2022): a frozen predictor, and a small MLP on its expression and jaw.

The MLP learns valence, arousal and the emotion from the training split's predictions; its agreement with the
annotations of the validation split tells how much emotion the predicted parameters carry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sheap.evaluation.affectnet import EMOTIONS, EmotionPicture
from sheap.evaluation.emotion_metrics import affect_agreement
from sheap.evaluation.face_boxes import FaceBox
from sheap.evaluation.predictions import CropCounts, Predictor, Progress, predict_batches
from sheap.head import HeadParams
from sheap.video.face_choice import FaceFinder

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
    """What the probe sees [B,E+3]; a head without a jaw joint opens its mouth by expression [B,E]."""
    if params.jaw_rotvec is None:
        return params.expression
    return torch.cat([params.expression, params.jaw_rotvec], -1)


def predict_features(
    pictures: Sequence[EmotionPicture],
    predictors: Mapping[str, Predictor],
    finder: FaceFinder,
    *,
    batch_size: int,
    progress: Progress | None = None,
    counts: CropCounts | None = None,
) -> tuple[dict[str, EmotionFeatures], list[str]]:
    """Every predictor's features of every picture with a face, and the names of the pictures without.

    Faces are found and cropped as for every benchmark (predictions.predict_batches), which fills `counts`. Raises ValueError
    without any face.
    """
    counts, seen = CropCounts() if counts is None else counts, []
    found: dict[str, list[Tensor]] = {name: [] for name in predictors}
    batches = predict_batches(
        EmotionPictures(pictures), predictors, finder, counts, batch_size=batch_size, progress=progress
    )
    for batch, answers in batches:
        seen += batch
        for name, params in answers.items():
            # The features alone are kept: training splits have hundreds of thousands of pictures.
            found[name].append(expression_and_jaw(params).float().cpu())
    if not seen:
        raise ValueError(f"no face found in any of {len(pictures)} pictures{counts.first_unreadable()}")
    features = {name: EmotionFeatures.of(torch.cat(parts).numpy(), seen) for name, parts in found.items()}
    return features, [picture.path.name for picture in counts.without_face]


@dataclass(frozen=True)
class EmotionPictures:
    """AffectNet's pictures as a benchmark has them."""

    images: Sequence[EmotionPicture]

    def image_path(self, image: EmotionPicture) -> Path:
        return image.path

    def face_box(self, image: EmotionPicture) -> FaceBox | None:
        return image.face


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
