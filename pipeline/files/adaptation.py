"""What a training run that began from a predictor did with it: written by `train`, carried into metrics.json, told everywhere.

Light on purpose: the demo reads it too.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]

TERMS = {
    "landmarks": "landmarks", "truth_shape": "true identity error", "truth_fused_shape": "true identity error of two pictures",
    "truth_motion": "true error of the face's motion",
}  # fmt: skip
"""Terms of held-out pairs in words; others by their names."""


SHIPPED = "shipped"
"""`train.start_from` of the predictor that comes with the package."""


class Judgement(BaseModel):
    """What early stopping found. ratios: of the kept weights' terms on held-out pairs to the start's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kept_start: bool
    best_step: Count
    validations: Count
    ratios: dict[str, float]


class Adaptation(BaseModel):
    """start: where training began. clips, people: the corpus' own; replayed_people: those taught by their truth beside them.
    own_held_out: clips without truth that judged. judgement: None without early stopping."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: str
    steps: Count
    clips: Count
    people: Count
    replayed_people: Count
    own_held_out: Count
    judgement: Judgement | None

    @property
    def start_name(self) -> str:
        """What the start is called where methods are compared."""
        return SHIPPED if self.start == SHIPPED else "start"

    def sentence(self) -> str:
        """One line for logs, the demo, the report and the card."""
        corpus = f"{_counted(self.clips, 'clip')} of {_counted(self.people, 'person', 'people')}"
        if self.replayed_people:
            corpus += f" (beside {_counted(self.replayed_people, 'rendered person', 'rendered people')}, replayed)"
        found = self.judgement
        if found is None:
            return f"Adapted by {corpus} in {self.steps} steps; without early stopping nothing has judged whether it helped."
        judges = "" if self.own_held_out else "; none of the corpus' own people was held out, so rendered people judged alone"
        if found.kept_start:
            tried = _counted(found.validations, "validation")
            return (
                f"Adapting did not help: {corpus}, none of {tried} on held-out pairs better than the start, so the saved model "
                f"is the start{judges}."
            )
        figures = ", ".join(f"{TERMS.get(name, name)} {100 * (ratio - 1):+.1f} %" for name, ratio in found.ratios.items())
        return (
            f"Adapting helped on held-out pairs: {corpus}, best at step {found.best_step} of {self.steps} "
            f"({figures} against the start){judges}."
        )


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
