"""How many clips and people a run has to adapt to, to replay, and to be judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sheap.data.manifest import Manifest
from sheap.data.reader import ShardReader


@dataclass(frozen=True)
class CorpusCounts:
    """clips, people: of the training split, those without truth; replayed_people: those with it, where some are replayed (else
    they are among `people`). own_held_out: clips without truth that validate."""

    clips: int
    people: int
    replayed_people: int
    own_held_out: int

    @classmethod
    def of_readers(cls, readers: Mapping[str, ShardReader], *, is_replaying: bool) -> CorpusCounts:
        """From the records of every clip of the splits `train` and, where there is one, `val`."""
        train, held_out = readers["train"], readers.get("val")
        own, replayed = set(), set()
        clips = 0
        for number in range(len(train)):
            is_own = not (is_replaying and train.has_truth(number))
            record = train.record(number)
            (own if is_own else replayed).add(record.person or record.identity)
            clips += is_own
        judges = 0 if held_out is None else sum(not held_out.has_truth(number) for number in range(len(held_out)))
        return cls(clips, len(own), len(replayed), judges)

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> CorpusCounts:
        """Where nothing is replayed and shards are only streamed: everybody is the corpus' own."""
        train, held_out = manifest.splits["train"], manifest.splits.get("val")
        return cls(train.num_clips, len(train.identities), 0, 0 if held_out is None else held_out.num_clips)
