"""Stage `benchmark`: renders held-out people in the folder layout of the NoW challenge (see sheap.people.now_layout).

Their photos with an expression lie in `expressions/` once more, each with the true face of its moment, in the layout of
sheap.evaluation.expression_dataset.
Their identities come from another role than the training clips' people, so no seed can make them meet.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from pydantic import Field

from pipeline.run.settings import StageParams
from pipeline.run.stage import atomic_directory, cpu_count, stage_main
from sheap.evaluation.expression_dataset import ExpressionImage, ExpressionWriter
from sheap.evaluation.rendered_expressions import scan_expression
from sheap.people.cast import cast_member
from sheap.people.makehuman import shared_assets
from sheap.people.now_layout import CHALLENGES, NowWriter
from sheap.people.photo_session import photograph_person
from sheap.people.scans import ScanSettings, make_scan
from sheap.people.stage_set import shared_stage

OUTPUT = Path("data/benchmark")
EXPRESSIONS = "expressions"
LICENCE = "CC0-1.0"

log = logging.getLogger(__name__)


class BenchmarkParams(StageParams):
    """Settings of the rendered benchmark."""

    seed: int = Field(ge=0)
    subjects: int = Field(ge=1)
    # Photos of each subject by challenge.
    multiview_neutral: int = Field(ge=1)
    multiview_expressions: int = Field(ge=1)
    multiview_occlusions: int = Field(ge=1)
    selfie: int = Field(ge=1)
    image_size: tuple[int, int]
    """Height and width of the photos, px."""
    scan_subdivisions: int = Field(ge=0, le=4)
    """Each face of the head model becomes four, this many times."""
    scan_noise_mm: float = Field(ge=0)
    scan_pick_mm: float = Field(ge=0)
    scan_holes: int = Field(ge=0)
    assets: Path | None
    """As in `people`."""


def run(params: BenchmarkParams) -> None:
    """Renders all subjects in as many processes as there are cores."""
    shared_assets(str(params.assets or ""))  # A wrong folder is told before anything is rendered.
    begin = time.monotonic()
    with atomic_directory(OUTPUT) as folder:
        with ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(render_subject, params, folder, index) for index in range(params.subjects)]
            subjects = [future.result() for future in futures]
        lines = [line for subject in subjects for line in subject.pop("lines")]
        NowWriter(folder).write_image_list(lines)
        moments = [moment for subject in subjects for moment in subject.pop("moments")]
        ExpressionWriter(folder / EXPRESSIONS).write_list(moments)
        document = {"licence": LICENCE, "origin": "rendered by this project", "subjects": subjects}
        (folder / "benchmark.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    log.info("%d photos of %d subjects, %.0f s", len(lines), len(subjects), time.monotonic() - begin)


def render_subject(params: BenchmarkParams, folder: Path, index: int) -> dict:
    """Photos and scan of one subject; returns its entry for benchmark.json. Runs in a worker process."""
    stage = shared_stage()
    member = cast_member(params.seed, "benchmark", index, stage.head)
    writer, expression_writer = NowWriter(folder), ExpressionWriter(folder / EXPRESSIONS)
    photos: list[dict[str, str]] = []
    moments: list[ExpressionImage] = []
    counts = {challenge: getattr(params, challenge) for challenge in CHALLENGES}
    lines = []
    assets = shared_assets(str(params.assets or ""))
    looks = assets.choose(member.traits, member.rng(901)) if assets else None
    for photo in photograph_person(stage, member, counts, params.image_size, looks):
        lines.append(writer.add_image(member.name, photo.challenge, photo.name, photo.picture, photo.box))
        photos.append({"image": lines[-1], "accessory": photo.accessory})
        if photo.challenge == "multiview_expressions":
            moment = ExpressionImage(member.name, "feelings", f"{photo.name}.jpg")
            truth = scan_expression(stage.head, photo.params, params.scan_noise_mm, member.rng(950 + len(moments)))
            expression_writer.add(moment, photo.picture, *truth)
            moments.append(moment)
    settings = ScanSettings(params.scan_subdivisions, params.scan_noise_mm, params.scan_pick_mm, params.scan_holes)
    scan = make_scan(stage, member.shape, settings, member.rng(900))
    writer.add_scan(member.name, scan.vertices, scan.faces, scan.landmarks)
    return {
        "name": member.name,
        "seed": list(member.seed_path),
        "shape": [round(float(value), 6) for value in member.shape],
        "traits": asdict(member.traits),
        "assets": looks.names if looks else {},
        "scan": {"vertices": len(scan.vertices), "faces": len(scan.faces)},
        "photos": photos,
        "lines": lines,
        "moments": moments,
    }


if __name__ == "__main__":
    sys.exit(stage_main("benchmark", BenchmarkParams, run))
