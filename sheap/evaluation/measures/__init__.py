"""All measures, in the order in which they are made and shown.

The evaluate stage, `sheap evaluate`, metrics.json and the report loop over MEASURES and know none of them by name.
"""

from __future__ import annotations

from typing import Any

from sheap.evaluation.measures.base import Measure
from sheap.evaluation.measures.emotions import EmotionMeasure
from sheap.evaluation.measures.expressions import ExpressionMeasure
from sheap.evaluation.measures.footage import FootageMeasure
from sheap.evaluation.measures.nonrigid import NonrigidMeasure
from sheap.evaluation.measures.now import NowMeasure
from sheap.evaluation.measures.true_error import TrueErrorMeasure

MEASURES: list[Measure[Any]] = [
    NowMeasure(),
    TrueErrorMeasure(),
    NonrigidMeasure(),
    ExpressionMeasure(),
    FootageMeasure(),
    EmotionMeasure(),
]
