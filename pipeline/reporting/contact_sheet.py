"""A page to look at: every clip that was kept (or an even choice of them), and what was dropped, and why.

Clips stand in order of sharpness, the worst first: what is wrong with a corpus is seen at the top.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.reporting.pages import data_url, html_environment, jpeg_url
from sheap.data.manifest import Manifest
from sheap.data.reader import ShardReader
from sheap.data.schema import ClipRecord
from sheap.data.tar_writer import read_tar
from sheap.files import write_text

MAX_CLIPS = 400
FRAMES_A_CLIP = 3
THUMBNAIL = 96
JPEG_QUALITY = 80
_OUTLINE = (90, 230, 120)


@dataclass(frozen=True)
class ShownClip:
    """One kept clip on the page."""

    picture: NDArray[np.uint8]
    record: ClipRecord
    split: str

    @property
    def sharpness(self) -> float:
        return float(np.mean(self.record.sharpness))

    @property
    def most_yaw_deg(self) -> float:
        return max((abs(yaw) for yaw, _, _ in self.record.pose_deg), default=0.0)

    @property
    def head_px(self) -> float:
        return float(np.mean([side for _, _, side in self.record.boxes_px]))


def write_contact_sheet(shards_dir: Path, ingest_dir: Path | None, out: Path) -> int:
    """Writes one self-contained HTML page; returns how many clips it shows.

    ingest_dir: what ingestion left beside the shards; without it the page cannot show what was dropped. Raises
    ValueError when the shards do not verify.
    """
    manifest = Manifest.read(shards_dir)
    clips = sorted(shown_clips(shards_dir, manifest), key=lambda clip: (clip.sharpness, clip.record.clip_id))
    environment = html_environment()
    environment.filters["jpeg"] = partial(jpeg_url, quality=JPEG_QUALITY)
    videos, summary, dropped = ([], None, {}) if ingest_dir is None else what_was_dropped(ingest_dir)
    page = environment.get_template("contact_sheet.html.j2").render(
        clips=clips,
        num_clips=sum(info.num_clips for info in manifest.splits.values()),
        manifest=manifest,
        summary=summary,
        dropped=dropped,
        dropped_videos=[video for video in videos if video["status"] != "kept"],
        damaged_videos=[video for video in videos if video["damage"]],
    )
    write_text(out, page)
    return len(clips)


def shown_clips(shards_dir: Path, manifest: Manifest) -> Iterator[ShownClip]:
    """All clips, or an even choice of MAX_CLIPS: a few frames side by side with the outline of the mask."""
    total = sum(info.num_clips for info in manifest.splits.values())
    step = max(1.0, total / MAX_CLIPS)
    chosen = {int(step * number) for number in range(min(total, MAX_CLIPS))}
    first = 0
    for split in manifest.splits:
        with closing(ShardReader(shards_dir / split, verify_hashes=False)) as reader:
            for number in range(len(reader)):
                if first + number not in chosen:
                    continue
                frames = np.linspace(0, reader.num_frames(number) - 1, FRAMES_A_CLIP).round().astype(int)
                strip = [outlined(reader.image(number, int(t)), reader.mask(number, int(t))) for t in frames]
                yield ShownClip(np.concatenate(strip, axis=1), reader.record(number), split)
            first += len(reader)


def outlined(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A thumbnail of a crop with the outline of its foreground."""
    size = (THUMBNAIL, THUMBNAIL)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    inside = (cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 127).astype(np.uint8)
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.ascontiguousarray(small), outlines, -1, _OUTLINE, 1)


def what_was_dropped(ingest_dir: Path) -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, list[dict[str, str]]]]:
    """Reports of all videos, the counts, and pictures of what was dropped by reason."""
    document = json.loads((ingest_dir / "ingest.json").read_bytes())
    pictures: dict[str, list[dict[str, str]]] = {}
    for name, content in read_tar(ingest_dir / "dropped.tar"):
        number, reason, _ = name.split("-")
        video = document["videos"][int(number)]["video"]
        pictures.setdefault(reason, []).append({"picture": data_url(content), "video": video})
    return document["videos"], document["summary"], dict(sorted(pictures.items()))
