"""Photos of rendered people a second on one core, and what their time goes into.

    python -m benchmarks.people [--people 24] [--photos 3] [--sizes 128 224] [--output docs/benchmarks]

Each person is built once and photographed a few times (sheap.people.photos), as for a training set. Times are the
processor's, of one thread. Parts are timed where they happen, each without the parts inside it that have a line of
their own. With --output a page and a JSON file are written there.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import torch

from benchmarks.machine import commit
from pipeline.run.provenance import cpu_name
from sheap.people import clothes, eyes, person, photos, skin
from sheap.people.cast import cast_member
from sheap.people.photos import PhotoSettings, training_photos
from sheap.people.scene import Scene
from sheap.people.studio import shared_studio

PARTS: tuple[tuple[str, Any, str], ...] = (
    ("person: skin textures", skin, "paint_skin"),
    ("person: hair", person, "grow_hair"),
    ("person: cloth", clothes, "paint_cloth"),
    ("person: eyes", eyes, "paint_eye"),
    ("person: what light gets past hair and things", person.Person, "_measure_visibility"),
    ("person: the rest of assembling the scene", person.Person, "_assemble"),
    ("person: head at rest and the rest", person.Person, "__init__"),
    ("photo: posing", person.Person, "pose"),
    ("photo: light on every vertex", person.Person, "pose_blocks"),
    ("photo: z-buffer and shading", Scene, "render"),
    ("photo: background", photos, "sample_background"),
    ("photo: lens", photos, "photograph"),
)
"""Lines of the table: name, and the function whose time it is."""
REST = "photo: pose, light, labels and landmarks drawn or tested"


class Stopwatch:
    """Processor seconds by part; a part inside another one counts for itself alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside: list[float] = [0.0]

    def around(self, name: str, work: Callable) -> Callable:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            self._inside.append(0.0)
            try:
                return work(*args, **kwargs)
            finally:
                passed = time.process_time() - start
                self.seconds[name] += passed - self._inside.pop()
                self._inside[-1] += passed

        return timed


@contextmanager
def watched(parts: tuple[tuple[str, Any, str], ...]) -> Iterator[Stopwatch]:
    """Times the functions of the parts while they are used."""
    watch = Stopwatch()
    patches = [
        patch.object(place, attribute, watch.around(name, getattr(place, attribute))) for name, place, attribute in parts
    ]
    for one in patches:
        one.start()
    try:
        yield watch
    finally:
        for one in patches:
            one.stop()


def measure(people: int, count: int, size: int) -> dict[str, Any]:
    """Photos a second and the parts' milliseconds a photo for crops of `size` px."""
    studio = shared_studio()
    settings = PhotoSettings(size)

    def photograph(first: int, number: int) -> int:
        members = (cast_member(0, "train", index, studio.head) for index in range(first, first + number))
        return sum(1 for member in members for _ in training_photos(studio, member, count, settings))

    photograph(people, 2)  # compiles, and fills what all people share
    start = time.process_time()
    photographed = photograph(0, people)
    seconds = time.process_time() - start
    with watched(PARTS) as watch:
        start = time.process_time()
        photograph(0, people)
        total = time.process_time() - start
    parts = dict.fromkeys((name for name, _, _ in PARTS), 0.0) | watch.seconds
    parts[REST] = total - sum(watch.seconds.values())
    return {
        "size": size,
        "people": people,
        "photos": photographed,
        "photos_per_second": photographed / seconds,
        "parts_ms": {name: 1e3 * value / photographed for name, value in parts.items()},
    }


def page(result: dict[str, Any]) -> str:
    runs = result["sizes"]
    lines = [
        "# Photos of rendered people",
        "",
        f"Written by `{result['command']}`. {result['cpu']}, load {result['load']:.1f} at the start; "
        f"commit {result['commit']}, {result['date']}.",
        "",
        f"One thread, processor time; {runs[0]['people']} people, {runs[0]['photos'] // runs[0]['people']} photos of each, "
        "each person built once.",
        "",
    ]
    lines += [f"- crops of {run['size']} px: {run['photos_per_second']:.1f} photos a second" for run in runs]
    lines += ["", "| part | " + " | ".join(f"{run['size']} px: ms a photo | share" for run in runs) + " |"]
    lines += ["|---|" + "---:|---:|" * len(runs)]
    for name in runs[0]["parts_ms"]:
        cells = [f"{run['parts_ms'][name]:.1f} | {run['parts_ms'][name] / sum(run['parts_ms'].values()):.0%}" for run in runs]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--photos", type=int, default=3, help="of each person")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 224], help="sides of the crops, px")
    parser.add_argument("--output", type=Path, help="folder for people.md and people.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    command = "python -m benchmarks.people" + (f" --output {args.output}" if args.output else "")
    result: dict[str, Any] = {
        "command": command, "cpu": cpu_name(), "load": os.getloadavg()[0], "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }  # fmt: skip
    result["sizes"] = [measure(args.people, args.photos, size) for size in args.sizes]
    text = page(result)
    print(text)
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
        (args.output / "people.md").write_text(text, encoding="utf-8")
        (args.output / "people.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
