"""A limit in seconds for one image: what a garbled mesh takes (minutes) must not keep the others waiting.

Counted is the process's own time at work, so that a busy machine makes no sound image a malformed one.
"""

from __future__ import annotations

import math
import time


class TookTooLong(ValueError):
    """The limit is used up."""


class TimeLimit:
    """Begins when made. seconds: of processor time; None never ends. Raises ValueError for a number that is not positive."""

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
            raise ValueError(f"image_timeout_s: expected a positive number of seconds, got {seconds}")
        self._seconds = seconds
        self._end = None if seconds is None else time.process_time() + seconds

    def check(self) -> None:
        """Raises TookTooLong when the time is up."""
        if self._end is not None and time.process_time() > self._end:
            raise TookTooLong(f"took longer than {self._seconds:g} s: a garbled mesh? (the limit is an option)")
