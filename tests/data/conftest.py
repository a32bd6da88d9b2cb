from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sheap.data.manifest import MANIFEST_NAME, Manifest
from sheap.data.shard_writer import stored_order, write_split
from tests.data.made_clips import SIZE, make_clip


@pytest.fixture
def shard_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a complete shard folder of some clips and returns it."""

    def write(
        name: str = "shards", num_clips: int = 9, num_frames: int = 4, target_bytes: int = 60_000, truth: Any = None
    ) -> Path:
        folder = tmp_path / name
        clips = {
            f"clip{n}": make_clip(f"clip{n}", num_frames, identity=f"person{n // 2}", truth=truth) for n in range(num_clips)
        }
        info = write_split(
            folder / "train", (clips[c] for c in stored_order(clips, seed=3)), target_bytes=target_bytes
        )
        manifest = Manifest(image_size=SIZE, splits={"train": info}).sealed()
        (folder / MANIFEST_NAME).write_bytes(manifest.to_json())
        return folder

    return write
