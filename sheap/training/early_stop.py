"""Early stopping: which weights are kept, and when training ends, by what held-out pairs say.

What is judged are terms that tell how good the predictor is (landmarks; the true identity's error where there is truth), each as
a ratio to the start's. Drawn pictures say more about the Gaussians' regressor, which begins anew, than about the predictor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from torch import Tensor

from sheap.training.config import EarlyStopConfig


@dataclass
class Best:
    """The best weights so far.

    start: the judged terms of what training began with. figures, step: those of the best, and when. score: the mean of its
    ratios to the start's, 1 for the start itself. validations: of weights that are no longer the start's; failures: how many
    of the last ones found nothing better. weights: a network's state, on the CPU.
    """

    start: dict[str, float]
    figures: dict[str, float]
    step: int
    score: float
    validations: int
    failures: int
    weights: dict[str, Tensor]

    @classmethod
    def of_start(cls, figures: dict[str, float], step: int, weights: Mapping[str, Tensor]) -> Self:
        """Before anything is adapted."""
        return cls(figures, figures, step, 1.0, 0, 0, _kept(weights))

    def consider(self, figures: dict[str, float], step: int, weights: Mapping[str, Tensor]) -> float:
        """Takes a validation into account; returns its score. Better is what scores lower than the best and is worse than the
        start in nothing: a gain in one figure does not pay for a loss in another."""
        ratios = [_ratio(figures[name], self.start[name]) for name in self.start]
        score = sum(ratios) / len(ratios)
        self.validations += 1
        if all(ratio <= 1 for ratio in ratios) and score < self.score:
            self.figures, self.step, self.score, self.failures = figures, step, score, 0
            self.weights = _kept(weights)
        else:
            self.failures += 1
        return score

    def has_ended(self, config: EarlyStopConfig) -> bool:
        """Whether training has looked in vain for long enough."""
        return self.failures >= config.patience

    @property
    def is_start(self) -> bool:
        """Whether nothing was better than the start."""
        return self.score == 1.0

    def to_document(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        return cls(**document)


def judged_figures(record: Mapping[str, Any], config: EarlyStopConfig) -> dict[str, float]:
    """The judged terms of a validation record. Raises ValueError when it has none of them."""
    figures = {name: float(record[name]) for name in config.judged_by if name in record}
    if not figures:
        raise ValueError(f"training.early_stop.judged_by: held-out pairs have none of {', '.join(config.judged_by)}")
    return figures


def _ratio(figure: float, start: float) -> float:
    """A figure that is not finite is infinitely worse."""
    if not math.isfinite(figure):
        return math.inf
    if start > 0:
        return figure / start
    return 1.0 if figure == start else math.inf


def _kept(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in weights.items()}
