"""Agreement of predicted with annotated valence and arousal, as the tables of AffectNet and EMOCA have it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def pearson_correlation(predicted: Floats, annotated: Floats) -> float:
    """PCC of two series [N]; zero where one of them does not vary."""
    ours, theirs = predicted - predicted.mean(), annotated - annotated.mean()
    norm = np.sqrt((ours**2).sum() * (theirs**2).sum())
    return float((ours * theirs).sum() / norm) if norm > 0 else 0.0


def concordance_correlation(predicted: Floats, annotated: Floats) -> float:
    """CCC (Lin 1989): PCC that also punishes another mean or spread; zero where neither varies."""
    ours, theirs = predicted - predicted.mean(), annotated - annotated.mean()
    spread = (ours**2).mean() + (theirs**2).mean() + (predicted.mean() - annotated.mean()) ** 2
    return float(2 * (ours * theirs).mean() / spread) if spread > 0 else 0.0


def root_mean_square_error(predicted: Floats, annotated: Floats) -> float:
    """RMSE of two series [N]."""
    return float(np.sqrt(((predicted - annotated) ** 2).mean()))


def sign_agreement(predicted: Floats, annotated: Floats) -> float:
    """SAGR: share of [N] whose signs agree."""
    return float((np.sign(predicted) == np.sign(annotated)).mean())


def affect_agreement(predicted: Floats, annotated: Floats) -> dict[str, float]:
    """All four for valence or arousal, series [N]. Raises ValueError for another or an empty shape."""
    if predicted.shape != annotated.shape or predicted.ndim != 1 or len(predicted) == 0:
        raise ValueError(f"predicted: expected annotated's shape [N], got {predicted.shape} and {annotated.shape}")
    ours, theirs = np.asarray(predicted, np.float64), np.asarray(annotated, np.float64)
    return {
        "pcc": pearson_correlation(ours, theirs),
        "ccc": concordance_correlation(ours, theirs),
        "rmse": root_mean_square_error(ours, theirs),
        "sagr": sign_agreement(ours, theirs),
    }
