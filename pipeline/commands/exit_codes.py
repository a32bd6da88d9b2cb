"""What the command line's exit codes say; docs/robustness.md has the table."""

from __future__ import annotations

MISTAKE = 2
"""Nothing, or nothing usable, was made: a user's mistake, told in one line."""
INCOMPLETE = 3
"""Results were made, but not of everything that was asked for, or not all that is there belongs to it."""
DOUBTFUL = 4
"""Everything was made; at least one prediction may not be of that face (sheap.evaluation.verdict)."""
