"""A part of the report that may be missing: what it shows, or why it is not there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.run.settings import StageError

log = logging.getLogger("report")

Content = TypeVar("Content")


@dataclass(frozen=True)
class Part(Generic[Content]):
    """A part of the page, or the reason why it is not there."""

    content: Content | None
    reason: str = ""

    @classmethod
    def of(cls, name: str, make: Callable[[], Content | None], otherwise: str) -> Part[Content]:
        """What `make` returns; `otherwise` is the reason when that is None or empty. Problems are logged, too."""
        try:
            content = make()
        except (StageError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())
            log.warning("%s: not available: %s", name, reason)
            return cls(None, reason)
        return cls(content) if content else cls(None, otherwise)
