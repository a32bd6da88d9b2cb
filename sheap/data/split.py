"""Which clips train and which validate: by identity, so that nobody is on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sheap.data.schema import ClipRecord


@dataclass(frozen=True)
class SplitPlan:
    """Clip ids of each side, and remarks for the manifest."""

    train: list[str]
    val: list[str]
    notes: list[str]


def plan_split(records: Sequence[ClipRecord], *, val_fraction: float, min_identities: int, seed: int) -> SplitPlan:
    """Splits clips by identity.

    An identity that the corpus assigns (`record.split`) stays where it is assigned. Of the others, `val_fraction`
    (rounded up) is drawn for validation by a hash of seed and name: adding people moves few of the old ones. Fewer than
    `min_identities` unassigned ones all train. Raises ValueError when one identity is assigned to both sides.
    """
    if not 0 <= val_fraction < 1:
        raise ValueError(f"val_fraction: expected 0 to below 1, got {val_fraction}")
    assigned: dict[str, str | None] = {}
    for record in records:
        before = assigned.setdefault(record.identity, record.split)
        if before != record.split:
            raise ValueError(
                f"identity {record.identity!r}: the corpus puts it into {before or 'no split'} and into "
                f"{record.split or 'no split'}; one person belongs to one side"
            )
    notes = []
    free = sorted(
        (name for name, split in assigned.items() if split is None),
        key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest(),
    )
    val = {name for name, split in assigned.items() if split == "val"}
    if free and len(free) >= min_identities:
        count = -int(-val_fraction * len(free) // 1)
        val.update(free[:count])
    elif free and not val:
        notes.append(
            f"no validation split: {len(free)} unassigned identities are fewer than the {min_identities} that are "
            "needed; all train, none is used twice"
        )
    train_ids = sorted(record.clip_id for record in records if record.identity not in val)
    val_ids = sorted(record.clip_id for record in records if record.identity in val)
    return SplitPlan(train_ids, val_ids, notes)
