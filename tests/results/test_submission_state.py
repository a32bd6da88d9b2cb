"""Old is not new, part is not whole: what of a submission folder is the last run's, and what is not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from sheap.files import write_text
from sheap.results.run_manifest import RESULTS_NAME, ModelOfRun, RunManifest, RunRecord, file_sha256
from sheap.results.submission_state import SubmissionState, submission_state

MODEL = ModelOfRun(folder="a model", weights_sha256="ab" * 32, settings_sha256=None)


@dataclass(frozen=True)
class Image:
    name: str

    @property
    def stem(self) -> PurePosixPath:
        return PurePosixPath(self.name).with_suffix("")

    def __str__(self) -> str:
        return self.name


IMAGES = [Image(f"ann/selfie/{number}.jpg") for number in range(3)]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for image in IMAGES:
        write_text(tmp_path / "pictures" / image.name, image.name)
    return tmp_path / "pictures"


def run(folder: Path, pictures: Path, images: list[Image], content: str = "mesh", finish: bool = True) -> None:
    """What `sheap predict now` does with these of the images."""
    record = RunRecord(folder, "predict now", MODEL)
    record.plan({str(image): [f"{image.stem}.obj", f"{image.stem}.npy"] for image in images})
    for image in images:
        for ending in (".obj", ".npy"):
            write_text(folder / f"{image.stem}{ending}", content + image.name)
        record.made(str(image), file_sha256(pictures / image.name))
    if finish:
        record.finish()


def state(folder: Path, pictures: Path, images: list[Image] = IMAGES) -> SubmissionState:
    return submission_state(folder, images, IMAGES, lambda image: pictures / str(image))


def test_a_whole_run_is_whole(tmp_path: Path, pictures: Path) -> None:
    run(tmp_path / "out", pictures, IMAGES)
    found = state(tmp_path / "out", pictures)
    assert found.is_whole and found.lines() == [] and "3 of 3" in str(found)


def test_an_earlier_runs_meshes_are_not_the_last_ones(tmp_path: Path, pictures: Path) -> None:
    run(tmp_path / "out", pictures, IMAGES)
    run(tmp_path / "out", pictures, IMAGES[:1], "better ")
    found = state(tmp_path / "out", pictures)
    assert set(found.stale) == {"ann/selfie/1.jpg", "ann/selfie/2.jpg"} and not found.missing
    assert "of an earlier run" in found.stale["ann/selfie/1.jpg"]
    manifest = RunManifest.read(tmp_path / "out")
    assert manifest is not None and len(manifest.results) == 1 and len(manifest.earlier) == 2
    run(tmp_path / "out", pictures, IMAGES[1:2], "third ")
    found = state(tmp_path / "out", pictures)
    assert set(found.stale) == {"ann/selfie/0.jpg", "ann/selfie/2.jpg"}
    run(tmp_path / "out", pictures, IMAGES)
    assert state(tmp_path / "out", pictures).is_whole


def test_what_was_changed_or_is_of_another_picture_is_stale(tmp_path: Path, pictures: Path) -> None:
    run(tmp_path / "out", pictures, IMAGES)
    write_text(tmp_path / "out/ann/selfie/0.obj", "by hand")
    write_text(pictures / "ann/selfie/1.jpg", "another picture")
    found = state(tmp_path / "out", pictures)
    assert "changed since" in found.stale["ann/selfie/0.jpg"] and "another than the one" in found.stale["ann/selfie/1.jpg"]
    (pictures / "ann/selfie/2.jpg").unlink()
    assert "ann/selfie/2.jpg" not in state(tmp_path / "out", pictures).stale, "scans alone are enough to evaluate"


def test_what_the_run_did_not_make_is_stale_or_foreign(tmp_path: Path, pictures: Path) -> None:
    run(tmp_path / "out", pictures, IMAGES[:2])
    for ending in (".ply", ".txt"):
        write_text(tmp_path / f"out/ann/selfie/2{ending}", "from elsewhere")
    write_text(tmp_path / "out/bob/selfie/0.obj", "of another benchmark")
    write_text(tmp_path / "out/results/RECON.npy", "an evaluation")
    found = state(tmp_path / "out", pictures)
    assert found.stale == {"ann/selfie/2.jpg": "the last run did not make ann/selfie/2.ply"}
    assert found.foreign == ("bob/selfie/0.obj",)
    assert "1 stale, 1 foreign" in str(found) and len(found.lines()) == 2
    assert state(tmp_path / "out", pictures, IMAGES[:1]).foreign == ("bob/selfie/0.obj",)


def test_a_folder_without_a_manifest_is_counted_too(tmp_path: Path, pictures: Path) -> None:
    write_text(tmp_path / "theirs/ann/selfie/0.obj", "")
    write_text(tmp_path / "theirs/ann/selfie/0.txt", "")
    write_text(tmp_path / "theirs/ann/selfie/1.obj", "landmarks forgotten")
    found = state(tmp_path / "theirs", pictures)
    assert found.missing == ("ann/selfie/1.jpg", "ann/selfie/2.jpg") and not found.stale and not found.foreign
    assert state(tmp_path / "nowhere", pictures).missing == tuple(map(str, IMAGES))


def test_a_run_that_did_not_finish(tmp_path: Path, pictures: Path) -> None:
    run(tmp_path / "out", pictures, IMAGES, finish=False)
    assert "did not finish" in state(tmp_path / "out", pictures).stale["ann/selfie/0.jpg"]


def test_a_manifest_that_is_none_is_named(tmp_path: Path) -> None:
    for content in ("", "[]", '{"format": "sheap-results-9"}', "\xff"):
        (tmp_path / RESULTS_NAME).write_text(content)
        with pytest.raises(ValueError, match=rf"{RESULTS_NAME}: not a manifest of results"):
            RunManifest.read(tmp_path)


def test_long_lists_are_cut() -> None:
    many = SubmissionState(30, tuple(str(number) for number in range(30)), {}, ())
    assert len(many.lines()) == 11 and many.lines()[-1] == "missing: and 20 more"
