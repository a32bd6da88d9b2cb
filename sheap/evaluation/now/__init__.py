"""The metric of the NoW challenge (Sanyal et al. 2019, now.is.tue.mpg.de), its folder layout and its result files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sheap.evaluation.now.metric import evaluate_pair as evaluate_pair

__all__ = ["evaluate_pair"]


def __getattr__(name: str) -> Any:
    """`evaluate_pair`, loaded when it is asked for: the rest of this folder needs no compiled code."""
    if name in __all__:
        from sheap.evaluation.now import metric

        return getattr(metric, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
