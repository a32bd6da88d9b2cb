"""Videos to people, and `sheap predict` for pictures and videos: what is written, what goes on, and what is said."""

from __future__ import annotations

import json
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pygltflib as gltf
import pytest
import torch
from typer.testing import CliRunner, Result

from pipeline.commands import cli
from pipeline.commands.exit_codes import INCOMPLETE, MISTAKE
from sheap.evaluation.mesh_files import read_mesh
from sheap.files import write_picture
from sheap.prediction.camera import record_camera
from sheap.prediction.outputs import DEFAULT_KINDS, KINDS
from sheap.prediction.predict import predict_picture, predict_video
from sheap.results.run_manifest import RESULTS_NAME, RunManifest, file_sha256
from sheap.transfer.arkit import ARKIT_NAMES
from sheap.video.decoding import VideoReader
from tests.pipeline.commands.made_predictor import SIZE
from tests.prediction.made_video_predictor import MadeVideoPredictor, frame
from tests.video.made_videos import write_video

ANN, BOB, NOBODY = (90, 120, 60), (120, 90, 200), (0, 0, 0)
"""Their blue says their shape."""


@pytest.fixture(scope="module")
def predictor() -> MadeVideoPredictor:
    return MadeVideoPredictor()


@pytest.fixture(autouse=True)
def made(predictor: MadeVideoPredictor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("pipeline.files.trained_model.load_trained", lambda *_, **__: predictor)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sheap(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def clip(name: str, *shots: tuple[tuple[int, int, int], ...], frames: int = 12, **options) -> Path:
    """Shots of people side by side."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    images = [frame(*people, seed=number) for people in shots for number in range(frames)]
    return write_video(Path(name), images, **options)


def manifest(out: str = "out") -> RunManifest:
    found = RunManifest.read(Path(out))
    assert found is not None
    return found


def test_a_person_is_one_through_cuts_and_two_are_two(predictor: MadeVideoPredictor) -> None:
    path = clip("x.mp4", (ANN, BOB), (NOBODY, NOBODY), (BOB, NOBODY))
    found = predict_video(predictor, path)
    assert (found.num_frames, found.with_face, found.shots) == (36, 24, 3) and found.rate == 25
    assert [person.number for person in found.people] == [0, 1]
    bob, ann = found.people  # he is seen longer
    assert len(bob.rows) == 24 and len(bob.tracks) == 2 and len(ann.rows) == 12
    assert bob.rows.frames.tolist() == [*range(12), *range(24, 36)]
    assert (bob.rows.params.shape == bob.rows.params.shape[:1]).all() and bob.rows.params.shape[0, 0] > 0.9
    assert ann.rows.params.shape[0, 0] < 0 and found.is_sure


def test_a_picture_gives_everybody_and_a_box_one(predictor: MadeVideoPredictor) -> None:
    found = predict_picture(predictor, frame(ANN, NOBODY, BOB))
    assert len(found.people) == 2 and found.width == 3 * SIZE and found.kind == "picture"
    with pytest.raises(ValueError, match="no face found"):
        predict_picture(predictor, frame(NOBODY))


def test_all_outputs_of_a_picture_and_a_video() -> None:
    write_picture("a.png", frame(ANN, BOB))
    clip("v.mkv", (ANN, BOB))
    result = sheap("predict", "a.png", "v.mkv", "--out", "out", "--write", "params,cameras,obj,ply,glb,overlay,side-by-side")
    assert result.exit_code == 0, result.output
    listed = manifest()
    assert listed.counts == {"inputs": 2, "results": 2, "failed": 0, "sure": 2} and listed.finished
    for item in listed.results:
        assert all(file_sha256(Path("out") / name) == sha256 for name, sha256 in item.files.items())
    of_picture = {path.name for path in Path("out/a").iterdir()}
    assert of_picture == {
        *("params.npz", "params.parquet", "cameras.npz", "overlay.png", "side_by_side.png"),
        *(f"person{k}{end}" for k in (0, 1) for end in (".obj", ".ply", "_neutral.obj", "_neutral.ply", ".glb")),
    }
    assert {path.name for path in Path("out/v").iterdir()} == {
        *("params.npz", "params.parquet", "cameras.npz", "overlay.mp4", "side_by_side.mp4"),
        *(f"person{k}{end}" for k in (0, 1) for end in ("_neutral.obj", "_neutral.ply", ".glb")),
    }
    obj, ply = read_mesh(Path("out/a/person0.obj")), read_mesh(Path("out/a/person0.ply"))
    np.testing.assert_allclose(obj.vertices, ply.vertices, atol=1e-6)
    assert (obj.faces == ply.faces).all()
    clip_of = gltf.GLTF2().load_binary("out/v/person1.glb")
    times = clip_of.accessors[clip_of.animations[0].samplers[0].input]
    assert times.count == 12 and times.max == pytest.approx([11 / 25], abs=1e-4)


def test_the_tables_say_the_same_by_name() -> None:
    import pyarrow.parquet

    clip("v.mp4", (ANN, BOB))
    assert sheap("predict", "v.mp4", "--out", "out", "--write", "params,cameras").exit_code == 0
    arrays = np.load("out/v/params.npz")
    table = pyarrow.parquet.read_table("out/v/params.parquet")
    assert table.num_rows == 24 and arrays["arkit"].shape == (24, 52)
    columns = {name: np.asarray(table.column(name)) for name in table.column_names}
    np.testing.assert_array_equal(columns["shape_000"], arrays["shape"][:, 0])
    np.testing.assert_array_equal(columns["jaw_rotvec_y"], arrays["jaw_rotvec"][:, 1])
    np.testing.assert_array_equal(columns["eyelid_right"], arrays["eyelids"][:, 1])
    np.testing.assert_array_equal(columns["crop_side"], arrays["crop"][:, 2])
    assert list(arrays["arkit_names"]) == list(ARKIT_NAMES) and "arkit_jawOpen" in columns
    assert set(columns["person"]) == {0, 1} and list(columns["frame"]) == [*range(12), *range(12)]
    assert set(columns["verdict"]) == {"sure"} and 0.5 < columns["confidence"].min() <= columns["confidence"].max() <= 1
    cameras = np.load("out/v/cameras.npz")
    assert cameras["K_picture"].shape == (24, 3, 3) and list(cameras["picture_size"]) == [2 * SIZE, SIZE]
    np.testing.assert_allclose(cameras["K_picture"][:, 0, 2], arrays["crop"][:, 0])


def test_an_overlay_keeps_the_times_of_an_uneven_rate() -> None:
    times = [0, 1, 2, 3, 10, 11, 20, 21, 22, 23, 24, 60]
    write_video(Path("vfr.mkv"), [frame(ANN, seed=k) for k in range(12)], times=times)
    result = sheap("predict", "vfr.mkv", "--out", "out", "--write", "overlay,params,glb")
    assert result.exit_code == 0, result.output
    with VideoReader(Path("out/vfr/overlay.mp4")) as video:
        np.testing.assert_allclose([found.time_s for found in video.frames(1000)], np.array(times) / 25, atol=2e-3)
    np.testing.assert_allclose(np.load("out/vfr/params.npz")["time_s"], np.array(times) / 25, atol=2e-3)


def test_content_decides_what_is_a_picture() -> None:
    shutil.move(clip("v.mp4", (ANN,)), "video.jpg")
    write_picture("p.png", frame(ANN))
    shutil.move("p.png", "picture.mp4")
    result = sheap("predict", "video.jpg", "picture.mp4", "--out", "out", "--write", "overlay")
    assert result.exit_code == 0, result.output
    assert Path("out/video/overlay.mp4").is_file() and Path("out/picture/overlay.png").is_file()


def test_one_bad_file_ends_nothing_and_each_is_one_line() -> None:
    clip("mix/good.mp4", (ANN,))
    whole = clip("mix/cut.mkv", (ANN,), frames=40).read_bytes()
    Path("mix/cut.mkv").write_bytes(whole[: len(whole) // 2])
    clip("mix/nobody.mp4", (NOBODY,))
    Path("mix/junk.mp4").write_bytes(b"hello" * 100)
    Path("mix/empty.mov").write_bytes(b"")
    Path("mix/text.png").write_text("hello")
    Path("mix/notes.txt").write_text("no picture, no video: not looked at")
    os.mkfifo("mix/pipe.mp4")
    result = sheap("predict", "mix", "gone.mp4", "mix/pipe.mp4", "--out", "out", "--write", "params")
    assert result.exit_code == INCOMPLETE, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("sheap: ")]
    told = ("nobody.mp4: no face found in 12 frames", "junk.mp4: unreadable", "empty.mov: empty_file")
    for said in (*told, "text.png: not a picture", "gone.mp4: not there", "pipe.mp4: a named pipe"):
        assert sum(said in line for line in lines) == 1, (said, lines)
    assert len(lines) == 6 and manifest().counts == {"inputs": 8, "results": 2, "failed": 6, "sure": 2}
    cut = next(item for item in manifest().results if item.input.endswith("cut.mkv"))
    assert 5 < cut.figures["frames"] < 40, "a video that breaks off is predicted as far as it goes"
    assert sheap("predict", "mix/junk.mp4", "--out", "other").exit_code == MISTAKE


def test_inputs_of_one_name_get_folders_of_their_own_and_nothing_of_the_users_is_touched() -> None:
    for name in ("a/x.mp4", "b/x.mp4"):
        clip(name, (ANN,))
    write_picture("a/x.png", frame(ANN))
    Path("out/x").mkdir(parents=True)
    Path("out/x/overlay.mp4").write_text("mine")
    for _ in range(2):
        result = sheap("predict", "a/x.mp4", "b/x.mp4", "a/x.png", "--out", "out", "--write", "overlay")
        assert result.exit_code == 0, result.output
        assert Path("out/x/overlay.mp4").read_text() == "mine"
        assert {path.name for path in Path("out").iterdir()} == {RESULTS_NAME, "x", "x.png", "a__x", "b__x"}


def test_a_run_that_was_cut_off_goes_on(predictor: MadeVideoPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    clip("1.mp4", (ANN,))
    clip("2.mp4", (BOB,))
    arguments = ("predict", "1.mp4", "2.mp4", "--out", "out", "--write", "params,overlay")
    original, seen = predictor.sight, []

    def killed(images: torch.Tensor):
        seen.append(len(images))
        if len(seen) == 2:
            Path("out/2").mkdir()
            Path("out/2/params.npz").write_text("half of something")
            raise KeyboardInterrupt
        return original(images)

    with monkeypatch.context() as patch:
        patch.setattr(predictor, "sight", killed)
        sheap(*arguments)
    assert manifest().finished is None and len(seen) == 2
    inode = Path("out/1/params.npz").stat().st_ino
    result = sheap(*arguments)
    assert result.exit_code == 0 and "1: made before, kept" in result.stdout
    assert Path("out/1/params.npz").stat().st_ino == inode and np.load("out/2/params.npz")["person"].size == 12
    assert manifest().finished and manifest().counts["results"] == 2
    assert {path.name for path in Path("out").iterdir()} == {RESULTS_NAME, "1", "2"}
    result = sheap(*arguments, "--no-smooth")
    assert "kept" not in result.stdout, "asked for otherwise, it is made anew"
    write_video(Path("1.mp4"), [frame(BOB, seed=k) for k in range(9)])
    result = sheap(*arguments, "--no-smooth")
    assert result.stdout.count("kept") == 1 and np.load("out/1/params.npz")["person"].size == 9


def test_a_disk_that_fills_is_said_in_a_line_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(Path("v.mp4"), [frame(ANN, seed=k, noise_to=30) for k in range(40)])
    write_picture("a.png", frame(ANN, noise_to=30))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, before[1]))
    try:
        result = sheap("predict", "v.mp4", "a.png", "--out", "out", "--write", "cameras,side-by-side")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.exit_code == MISTAKE, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("sheap: ")]
    assert len(lines) == 2 and "out/v/side_by_side.mp4: not written: it would be larger" in lines[0], lines
    assert [path for path in Path("out").rglob("*") if path.is_file()] == [Path("out", RESULTS_NAME)]


class FakeCamera:
    """Gives so many pictures, and then is unplugged."""

    def __init__(self, pictures: int) -> None:
        self.left, self.is_released = pictures, False

    def isOpened(self) -> bool:
        return True

    def get(self, what: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, frame(ANN, seed=self.left)[..., ::-1]) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.is_released = True


def test_a_camera_is_recorded_for_so_long_or_until_it_is_unplugged() -> None:
    ticks = iter(np.arange(0, 100, 0.02))
    camera = FakeCamera(10)
    assert record_camera(0, Path("a.mp4"), 60, opened=lambda number: camera, clock=lambda: next(ticks)) == 10
    assert camera.is_released
    assert record_camera(0, Path("b.mp4"), 1.0, opened=lambda number: FakeCamera(500), clock=lambda: next(ticks)) == 25
    with VideoReader(Path("a.mp4")) as video:
        found = list(video.frames(1000))
    assert np.diff([one.time_s for one in found]).tolist() == pytest.approx([0.04] * 9, abs=1e-3)
    np.testing.assert_allclose(found[0].image.mean((0, 1)), np.add(ANN, 2), atol=4)  # red and blue are not exchanged
    with pytest.raises(ValueError, match="camera:3: gives no picture"):
        record_camera(3, Path("c.mp4"), 1, opened=lambda number: FakeCamera(0))
    assert not Path("c.mp4").exists()


def test_a_camera_is_an_input_and_one_that_is_absent_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def recorded(number: int, path: Path, seconds: float) -> int:
        if number == 99:
            return record_camera(number, path, seconds)  # OpenCV's own answer
        return record_camera(number, path, seconds, opened=lambda number: FakeCamera(9))

    monkeypatch.setattr("pipeline.predict_batch.record_camera", recorded)
    result = sheap("predict", "camera:0", "camera:99", "--out", "out", "--write", "params")
    assert result.exit_code == INCOMPLETE and "camera:0: 9 frames in out/camera0_" in result.stdout, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("sheap: ")]
    assert lines == ["sheap: camera:99: no such camera, or no permission to use it (on Linux it is /dev/video99)"]
    assert np.load(next(Path("out").glob("camera0_*/params.npz")))["person"].size == 9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--write", "meshes"), "there is no 'meshes' (known: params, cameras, obj"),
        (("--write", ","), "names nothing"),
        (("--face", "second"), "none of: all, largest"),
    ],
)
def test_an_option_that_means_nothing_is_named(arguments: tuple[str, str], said: str) -> None:
    result = sheap("predict", "x.png", *arguments)
    assert isinstance(result.exception, ValueError) and said in str(result.exception)


def test_the_page_names_every_kind_of_file_and_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "predict.md").read_text()
    assert all(f"`{kind}`" in page for kind in KINDS) and set(DEFAULT_KINDS) <= set(KINDS)
    for option in ("--face", "--write", "--no-smooth", "--fps", "--seconds", "--model", "--head", "--landmark-model"):
        assert f"`{option}" in page


def test_the_named_commands_are_still_there() -> None:
    assert "Predict everybody" in sheap("predict", "files", "--help").stdout
    assert all(name in sheap("predict", "--help").stdout for name in ("files", "images", "now", "expressions"))
    write_picture("now.png", frame(ANN))
    assert sheap("predict", "images", "now.png", "--out", "out").exit_code == 0
    told = json.loads(Path("out", RESULTS_NAME).read_text())
    assert told["command"] == "predict images"
