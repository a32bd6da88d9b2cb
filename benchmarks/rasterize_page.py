"""The figures of `benchmarks.rasterize` in words and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]

PASSES = {
    "project": "forward: every splat into the camera, its coefficients and its box of pixels (float64)",
    "count": "forward: how many tiles each splat reaches",
    "fill": "forward: sort by depth, lists of the tiles",
    "composite": "forward: pixels, tile by tile, front to back",
    "sum_weights": "forward: each splat's contribution",
    "back_composite": "backward: pixels, tile by tile, back to front",
    "back_project": "backward: from each splat's sums to its parameters (float64)",
}
"""The passes of the kernel, as `sheap.render.splat_cpu` names them."""


def summary(rows: Sequence[Row]) -> list[str]:
    """The ratios and times that were asked for, one a line, of those rows that are there."""
    lines = []
    for size in sorted({row["size"] for row in rows}):
        for threads in (1, 2):
            wanted = {"size": size, "batch": 1, "threads": threads, "num_splats": 20_000}
            fast, slow = _find(rows, backend="cpu", **wanted), _find(rows, backend="reference", **wanted)
            if fast and slow:
                ratio = _both(slow) / _both(fast)
                lines.append(f"side {size}, {_threads(threads)}: {ratio:.0f} times as fast as the tiled reference")
        for batch in (1, 8):
            wanted = {"size": size, "batch": batch, "backend": "cpu", "num_splats": 20_000}
            one, two = _find(rows, threads=1, **wanted), _find(rows, threads=2, **wanted)
            if one and two:
                lines.append(f"side {size}, batch {batch}: {_both(one) / _both(two):.2f} times as fast on two threads")
    for threads in (1, 2):
        row = _find(rows, size=224, batch=1, threads=threads, backend="cpu", num_splats=20_000)
        if row:
            times = f"forward {row['forward_ms']:.1f} ms, backward {row['backward_ms']:.1f} ms"
            lines.append(f"side 224, {_threads(threads)}: {times}")
    return lines


def page(report: dict[str, Any]) -> str:
    """Markdown."""
    machine, rows = report["machine"], report["rows"]
    head = [row for row in rows if row["backend"] == "cpu" and row["num_splats"] == 20_000]
    counts = [row for row in rows if row["backend"] == "cpu" and row["threads"] == row["batch"] == 1]
    counts = sorted((row for row in counts if row["size"] == 224), key=lambda row: row["num_splats"])
    fields = ("forward_ms", "backward_ms", "forward_cpu_ms", "backward_cpu_ms", "peak_mb")
    named = ("forward ms", "backward ms", "forward, processor ms", "backward, processor ms", "peak MB")
    parts = [
        "# The splat rasteriser on the CPU",
        "Written by `python -m benchmarks.rasterize --output docs/benchmarks`. "
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']:.1f} at the start; "
        f"torch {machine['torch']}, numba {machine['numba']}; commit {machine['commit']}, {machine['date']}.",
        "Scenes: splats spread evenly over the open head, as wide as their share of its surface, opacity 0.05 to 1, "
        "before the published camera; gradients of colour, alpha, depth and normal flow back to every parameter. "
        "Times are the least of several runs; where the load is high, those of the processor are the ones to read. Peak "
        "memory is above the inputs.",
        "\n".join(f"- {line}" for line in report["summary"]),
        "## 20,000 splats",
        _table(("side", "batch", "threads", *named), head, ("size", "batch", "threads", *fields)),
        "## The tiled torch reference on the same scenes",
        _table(
            ("side", "threads", *named),
            [row for row in rows if row["backend"] == "reference"],
            ("size", "threads", *fields),
        ),
        "## Against the number of splats (side 224, one thread)",
        _table(("splats", *named), counts, ("num_splats", *fields)),
        "## Where the time goes (20,000 splats, side 224, one thread)",
        _passes(_find(rows, size=224, batch=1, threads=1, backend="cpu", num_splats=20_000)),
        "## The head's mesh: z-buffer and depth image",
        _table(
            ("side", "batch", "threads", *named),
            [row for row in rows if row["backend"] == "mesh"],
            ("size", "batch", "threads", *fields),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _passes(row: Row | None) -> str:
    if row is None:
        return "Not measured."
    rest = _both(row) - sum(row["parts_ms"].values())
    lines = [(PASSES[name], ms) for name, ms in row["parts_ms"].items()]
    lines.append(("the rest: checks of the inputs, allocation, autograd", rest))
    body = [f"| {what} | {ms:.1f} | {100 * ms / _both(row):.0f}% |" for what, ms in lines]
    return "\n".join(["| pass | ms | share |", "|---|---:|---:|", *body])


def _table(names: Iterable[str], rows: Iterable[Row], keys: Sequence[str]) -> str:
    names = tuple(names)
    lines = [f"| {' | '.join(names)} |", f"|{'---:|' * len(names)}"]
    for row in rows:
        cells = (f"{row[key]:,}" if isinstance(row[key], int) else f"{row[key]:.1f}" for key in keys)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _find(rows: Iterable[Row], **wanted: Any) -> Row | None:
    return next((row for row in rows if all(row[key] == value for key, value in wanted.items())), None)


def _both(row: Row) -> float:
    """Milliseconds of forward and backward."""
    return row["forward_ms"] + row["backward_ms"]


def _threads(number: int) -> str:
    return "one thread" if number == 1 else "two threads"
