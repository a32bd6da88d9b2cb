"""What it costs to know a corpus already: listing it again, and looking for copies in it.

    python -m benchmarks.bookkeeping [--sizes 1000 4000 16000] [--new 100] [--no-files]

Made fingerprints and tiny files, no pixels: strangers' hashes are random, and every hundredth video is a copy of an earlier one
with 8 of 256 bits changed. Processor time of one core, so that other programs on the machine hardly count; peak memory of this
process.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.machine import commit, reset_peak_mb, status_mb
from pipeline.corpus import CorpusBuilder, VideoFacts, folder_files
from pipeline.run.known_hashes import KnownHashes
from pipeline.run.provenance import cpu_name
from sheap.video.copies import find_copies

HASHES_A_VIDEO = 12


def made_fingerprints(num_videos: int) -> tuple[list[list[str]], list[float]]:
    """Fingerprints as reports hold them, and durations of 4 to 20 seconds."""
    rng = np.random.default_rng(num_videos)
    fingerprints: list[list[str]] = []
    durations = rng.uniform(4, 20, num_videos).tolist()
    for number in range(num_videos):
        hashes = rng.integers(0, 256, (HASHES_A_VIDEO, 32), dtype=np.uint8)
        if number % 100 == 99:
            source = 100 * int(rng.integers(number // 100 + 1))  # no copy itself
            durations[number] = durations[source]
            original = [bytes.fromhex(item.partition(":")[2]) for item in fingerprints[source]]
            hashes = np.array([list(content) for content in original], np.uint8)
            hashes[:, int(rng.integers(32))] ^= 0xFF
        fingerprints.append([f"{time}:{content.tobytes().hex()}" for time, content in enumerate(hashes)])
    return fingerprints, durations


def measured(work: Callable[[], object]) -> tuple[float, float, object]:
    """Processor seconds, peak memory in MB beyond what was there, and the result."""
    before = reset_peak_mb()
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, status_mb("VmHWM") - before, result


def listed(folder: Path, database: Path) -> int:
    """Lists a folder as the stage `corpus` does; gives the number of videos."""
    with KnownHashes(database) as hashes:
        builder = CorpusBuilder(hashes)
        for path, name in folder_files(folder):
            builder.take(path, name, VideoFacts(), VideoFacts())
    return len(builder.finish().videos)


def listing_cost(size: int, num_new: int, file_kb: int) -> str:
    """Two cells: the first listing of `size` files, and a later one with `num_new` more."""
    with tempfile.TemporaryDirectory() as root:
        folder, database = Path(root) / "videos", Path(root) / "hashes.db"
        folder.mkdir()
        long_ago, first = time.time() - 60, 0.0
        for number in range(size + num_new):
            if number == size:
                first, _, _ = measured(lambda: listed(folder, database))
            path = folder / f"{number:07d}.mp4"
            path.write_bytes(number.to_bytes(8) * (128 * file_kb))
            os.utime(path, (long_ago, long_ago))
        again, _, count = measured(lambda: listed(folder, database))
    assert count == size + num_new
    return f"{first:.1f} | {again:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bookkeeping", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 4000, 16000], help="known videos")
    parser.add_argument("--new", type=int, default=100, help="videos that are added")
    parser.add_argument("--file-kb", type=int, default=64, help="size of a made video")
    parser.add_argument("--no-files", action="store_true", help="look for copies alone")
    arguments = parser.parse_args()
    print(f"{cpu_name()}, one core; commit {commit()}; files of {arguments.file_kb} KB\n")
    print("| known videos | copies: s | copies: MB | first listing: s | listing with new ones: s |")
    print("|---:|---:|---:|---:|---:|")
    for size in arguments.sizes:
        fingerprints, durations = made_fingerprints(size)
        seconds, megabytes, copies = measured(lambda: find_copies(fingerprints, durations, 0.05))  # noqa: B023
        assert len(copies) >= size // 100, "every made copy is found"  # type: ignore[arg-type]
        listing = "- | -" if arguments.no_files else listing_cost(size, arguments.new, arguments.file_kb)
        print(f"| {size:,} | {seconds:.1f} | {megabytes:.0f} | {listing} |", flush=True)


if __name__ == "__main__":
    main()
