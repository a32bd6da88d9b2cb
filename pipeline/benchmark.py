"""Stage `benchmark`: renders held-out people in the folder layout of the NoW challenge (see sheap.people.now_layout).

Their photos with an expression lie in `expressions/` once more, each with the true face of its moment, in the layout of
sheap.evaluation.expression_dataset.
Their identities come from another role than the training clips' people, so no seed can make them meet.

Where ICT Face Model Light is named, as many people with its shapes lie in `ict/`, in NoW's layout too; `evaluate.now_dir`
may point there. Their shapes lie partly outside the open head's basis: no coefficients are the truth, and `ict/` has no
benchmark.json.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from pipeline.run.settings import StageError, StageParams
from pipeline.run.stage import atomic_directory, cpu_count, stage_main
from sheap.evaluation.expression_dataset import ExpressionImage, ExpressionWriter
from sheap.evaluation.rendered_expressions import scan_expression
from sheap.files import write_json
from sheap.head.ict import read_ict
from sheap.people.cast import CastMember, cast_member
from sheap.people.ict_people import IctPeople
from sheap.people.makehuman import AssetLooks, shared_assets
from sheap.people.now_layout import CHALLENGES, NowWriter
from sheap.people.photo_session import Photo, photograph_person
from sheap.people.scans import ScanSettings, make_scan
from sheap.people.studio import shared_studio

OUTPUT = Path("data/benchmark")
EXPRESSIONS = "expressions"
ICT = "ict"
LICENCE = "CC0-1.0"
ICT_LICENCE = "CC0-1.0; the people's shapes are of ICT Face Model Light (USC ICT, MIT licence)"

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
    ict: Path | None
    """ICT-FaceKit's folder, or an .npz of ICT Face Model Light's arrays: adds people with its shapes; null: none."""


def run(params: BenchmarkParams) -> None:
    """Checks what is named, then renders."""
    # Wrong files are told before anything is rendered.
    shared_assets(str(params.assets or ""))
    if params.ict is not None:
        try:
            read_ict(params.ict)
        except (OSError, ValueError) as error:
            raise StageError(f"benchmark.ict: {error}") from None
    with atomic_directory(OUTPUT) as folder:
        render(params, folder)


def render(params: BenchmarkParams, folder: Path) -> None:
    """All subjects into a folder that is there, in as many processes as there are cores."""
    begin = time.monotonic()
    with ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(render_subject, params, folder, index) for index in range(params.subjects)]
        of_ict = range(params.subjects if params.ict is not None else 0)
        ict_futures = [pool.submit(render_ict_subject, params, folder / ICT, index) for index in of_ict]
        subjects = [future.result() for future in futures]
        ict_subjects = [future.result() for future in ict_futures]
    moments = [moment for subject in subjects for moment in subject.pop("moments")]
    ExpressionWriter(folder / EXPRESSIONS).write_list(moments)
    photos = _write_lists(folder, "benchmark.json", LICENCE, subjects)
    if ict_subjects:
        photos += _write_lists(folder / ICT, "ict_people.json", ICT_LICENCE, ict_subjects)
    log.info("%d photos of %d subjects, %.0f s", photos, len(subjects + ict_subjects), time.monotonic() - begin)


def _write_lists(folder: Path, name: str, licence: str, subjects: list[dict]) -> int:
    """The image list and the record of a folder's subjects; returns how many photos they have."""
    lines = [photo["image"] for subject in subjects for photo in subject["photos"]]
    NowWriter(folder).write_image_list(lines)
    document = {"licence": licence, "origin": "rendered by this project", "subjects": subjects}
    write_json(folder / name, document)
    return len(lines)


def render_subject(params: BenchmarkParams, folder: Path, index: int) -> dict:
    """Photos and scan of one subject; returns its entry for benchmark.json. Runs in a worker process."""
    studio = shared_studio()
    member = cast_member(params.seed, "benchmark", index, studio.head)
    expression_writer = ExpressionWriter(folder / EXPRESSIONS)
    moments: list[ExpressionImage] = []

    def keep_moment(photo: Photo) -> None:
        if photo.challenge == "multiview_expressions":
            moment = ExpressionImage(member.name, "feelings", f"{photo.name}.jpg")
            truth = scan_expression(studio.head, photo.params, params.scan_noise_mm, member.rng(950 + len(moments)))
            expression_writer.add(moment, photo.picture, *truth)
            moments.append(moment)

    entry = _render(params, folder, member, None, keep_moment)
    return entry | {"shape": [round(float(value), 6) for value in member.shape], "moments": moments}


def render_ict_subject(params: BenchmarkParams, folder: Path, index: int) -> dict:
    """As `render_subject`, with a shape of ICT's: looks are those of somebody the benchmark does not have, drawn without
    regard to the shape."""
    member, residual = ict_member(params, index)
    return _render(params, folder, member, residual, lambda photo: None)


def ict_member(params: BenchmarkParams, index: int) -> tuple[CastMember, NDArray[np.float32]]:
    """A person with ICT's shape: the best fit within the basis, and what it lacks [N, 3] (m)."""
    assert params.ict is not None
    head = shared_studio().head
    member = cast_member(params.seed, "benchmark", params.subjects + index, head)
    drawn = _ict_people(params.ict).draw(member.rng(903))
    residual = drawn.vertices - head.neutral(torch.from_numpy(drawn.shape)).numpy()
    return replace(member, name=f"ict-{index:04d}", shape=drawn.shape), residual


@lru_cache(maxsize=1)
def _ict_people(path: Path) -> IctPeople:
    return IctPeople(shared_studio().head, read_ict(path))


def scan_settings(params: BenchmarkParams) -> ScanSettings:
    return ScanSettings(params.scan_subdivisions, params.scan_noise_mm, params.scan_pick_mm, params.scan_holes)


def _render(
    params: BenchmarkParams,
    folder: Path,
    member: CastMember,
    residual: NDArray[np.float32] | None,
    each_photo: Callable[[Photo], None],
) -> dict:
    """Writes a member's photos and scan in NoW's layout; returns what is known of them. each_photo sees every photo."""
    studio, writer = shared_studio(), NowWriter(folder)
    assets = shared_assets(str(params.assets or ""))
    looks: AssetLooks | None = assets.choose(member.traits, member.rng(901)) if assets else None
    counts = {challenge: getattr(params, challenge) for challenge in CHALLENGES}
    photos: list[dict[str, str]] = []
    for photo in photograph_person(studio, member, counts, params.image_size, looks, residual):
        line = writer.add_image(member.name, photo.challenge, photo.name, photo.picture, photo.box)
        photos.append({"image": line, "accessory": photo.accessory})
        each_photo(photo)
    scan = make_scan(studio, member.shape, scan_settings(params), member.rng(900), residual)
    writer.add_scan(member.name, scan.vertices, scan.faces, scan.landmarks)
    return {
        "name": member.name,
        "seed": list(member.seed_path),
        "traits": asdict(member.traits),
        "assets": looks.names if looks else {},
        "scan": {"vertices": len(scan.vertices), "faces": len(scan.faces)},
        "photos": photos,
    }


if __name__ == "__main__":
    sys.exit(stage_main("benchmark", BenchmarkParams, run))
