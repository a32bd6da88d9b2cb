"""`sheap predict`: one result a name, nothing of the user's written over, a manifest, a verdict, and exit codes that say so."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from pipeline.commands import cli
from pipeline.commands.exit_codes import DOUBTFUL, INCOMPLETE, MISTAKE
from sheap.evaluation.mesh_files import read_mesh
from sheap.evaluation.now.dataset import NowDataset
from sheap.files import write_array, write_picture
from sheap.people.now_layout import NowWriter
from sheap.results.run_manifest import RESULTS_NAME, RunManifest, file_sha256
from tests.pipeline.commands.made_predictor import MadePredictor, picture

BLACK, RED = (0, 0, 0), (200, 10, 10)


@pytest.fixture(scope="module")
def predictor() -> MadePredictor:
    return MadePredictor()


@pytest.fixture(autouse=True)
def made(predictor: MadePredictor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr("pipeline.files.trained_model.load_trained", lambda *_, **__: predictor)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sheap(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def photos(*names: str, colour: tuple[int, int, int] = (90, 120, 150)) -> list[Path]:
    for seed, name in enumerate(names):
        write_picture(name, picture(colour, seed))
    return [Path(name) for name in names]


def manifest(out: Path | str = "out") -> RunManifest:
    found = RunManifest.read(Path(out))
    assert found is not None
    return found


def test_one_name_one_result() -> None:
    given = photos("a/x.png", "b/x.png", "a/x.jpg", "a__x.png")
    result = sheap("predict", "images", *given, "./a/x.png", "--out", "out")
    assert result.exit_code == 0, result.output
    assert len(list(Path("out").glob("*.obj"))) == len(list(Path("out").glob("*_overlay.png"))) == 4
    listed = manifest()
    assert listed.counts == {"inputs": 4, "results": 4, "failed": 0, "sure": 4}
    for item, path in zip(listed.results, given, strict=True):
        assert item.input == str(path.absolute()) and item.input_sha256 == file_sha256(path)
        assert all(file_sha256(Path("out") / name) == sha256 for name, sha256 in item.files.items()) and len(item.files) == 3
    assert listed.model.weights_sha256 and listed.finished


def test_an_input_and_a_users_file_are_never_written_over() -> None:
    photos("x.png", "x_overlay.png", "y.png")
    Path("y.json").write_text("my notes")
    before = {path: path.read_bytes() for path in (Path("x.png"), Path("x_overlay.png"), Path("y.png"), Path("y.json"))}
    for _ in range(2):
        result = sheap("predict", "images", "x.png", "y.png", "--out", ".")
        assert result.exit_code == 0, result.output
        assert all(path.read_bytes() == content for path, content in before.items())
    assert {name for item in manifest(".").results for name in item.files} >= {"x.png.obj", "y.png.json"}
    assert len(list(Path().glob("*.obj"))) == 2, "the second run writes what the first one wrote"
    assert sheap("predict", "images", ".", "--out", ".").exit_code == 0
    assert manifest(".").counts["inputs"] == 3, "overlays of before are no pictures to predict"


def test_no_result_is_called_as_the_manifest_is() -> None:
    photos("sheap_results.png", "Sheap_Results.png")
    for number, name in enumerate(("sheap_results.png", "Sheap_Results.png")):
        assert sheap("predict", "images", name, "--out", f"out{number}").exit_code == 0
        [made] = manifest(f"out{number}").results
        assert f"{name}.json" in made.files and json.loads(Path(f"out{number}/{name}.json").read_text())["verdict"] == "sure"


def test_results_of_before_are_no_inputs_by_whichever_path_they_are_reached() -> None:
    photos("album/x.png")
    Path("link").symlink_to("album", target_is_directory=True)
    for places, out in ((["album"], "album"), (["link"], "album"), (["album"], "link"), (["link", "album"], "link")):
        assert sheap("predict", "images", *places, "--out", out).exit_code == 0
        assert manifest("album").counts["inputs"] == 1


def test_a_name_with_a_line_end_is_told_in_one_line() -> None:
    photos("two\nlines.png")
    result = sheap("predict", "images", "two\nlines.png", "--out", "out")
    assert result.exit_code == 0 and result.stdout.startswith("two\\nlines.png -> out/two\\nlines.obj: sure")
    assert Path("out/two\nlines.obj").is_file()


def test_a_second_run_keeps_what_the_first_one_made_of_others() -> None:
    photos("a/x.png", "b/x.png")
    assert sheap("predict", "images", "a/x.png", "--out", "out").exit_code == 0
    first = Path("out/x.obj").stat().st_ino
    assert sheap("predict", "images", "b/x.png", "--out", "out").exit_code == 0
    listed = manifest()
    assert Path("out/x.obj").stat().st_ino == first and len(listed.results) == len(listed.earlier) == 1
    assert listed.counts["results"] == 1 and listed.earlier[0].input.endswith("a/x.png") and listed.earlier[0].model


def test_a_killed_run_is_taken_up_under_the_same_names(predictor: MadePredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    photos("x.png", "y.png")

    def killed(image: np.ndarray) -> list:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(predictor._landmarker, "process", killed)
        sheap("predict", "images", "x.png", "y.png", "--out", "out")
    assert manifest().finished is None and manifest().results
    Path("out/x.obj").write_text("half a mesh")
    assert sheap("predict", "images", "x.png", "y.png", "--out", "out").exit_code == 0
    assert sorted(path.name for path in Path("out").glob("*.obj")) == ["x.obj", "y.obj"] and manifest().finished


def test_one_bad_picture_ends_nothing_and_is_counted() -> None:
    photos("good.png", "also.png")
    photos("empty.png", colour=BLACK)
    Path("text.png").write_text("hello")
    Path("phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    (Path("folder.png")).mkdir()
    result = sheap("predict", "images", "text.png", "good.png", "empty.png", "gone.png", "phone.HEIC", "also.png", "--out", "out")
    assert result.exit_code == INCOMPLETE
    for said in ("text.png: not a picture", "empty.png: image: no face found", "gone.png: not there", "heif-convert"):
        assert said in result.stderr, result.stderr
    listed = manifest()
    assert listed.counts == {"inputs": 6, "results": 2, "failed": 4, "sure": 2}
    assert any("no face" in reason for reason in listed.failed.values())
    assert sheap("predict", "images", "empty.png", "--out", "other").exit_code == MISTAKE


def test_folders_and_patterns_are_taken() -> None:
    photos("album/1.png", "album/deep/2.JPG".lower(), "more/3.png", "more/4.png")
    assert sheap("predict", "images", "album", "more/[3-9].png", "--out", "out").exit_code == 0
    assert manifest().counts["results"] == 4
    shutil.rmtree("album")
    result = sheap("predict", "images", "albun", "--out", "none")
    assert result.exit_code == MISTAKE and "albun: not there" in result.stderr


def test_a_doubtful_prediction_is_said_printed_and_counted() -> None:
    photos("sure.png")
    photos("red.png", colour=RED)
    result = sheap("predict", "images", "sure.png", "red.png", "--out", "out")
    assert result.exit_code == DOUBTFUL and "doubtful (a face is there with presence 0.60" in result.stdout
    assert manifest().counts == {"inputs": 2, "results": 2, "failed": 0, "doubtful": 1, "sure": 1}
    told = json.loads(Path("out/red.json").read_text())
    assert told["verdict"] == "doubtful" and told["presence"] == 0.6 and told["reasons"] and abs(told["yaw_deg"]) < 5
    assert 0 <= told["disagreement"] < 0.1


def test_a_box_says_which_face_in_a_stated_format() -> None:
    photos("x.png", "y.png")
    assert sheap("predict", "images", "x.png", "--out", "out", "--face-box", "20,20,80,80").exit_code == 0
    assert sheap("predict", "images", "x.png", "--out", "out", "--face-box", "20 20 60 60", "--box-format", "xywh").exit_code == 0
    for box, said in (("1,2,3", "four finite numbers"), ("0,0,5,5", "meets no face"), ("500,500,600,600", "lies outside")):
        result = sheap("predict", "images", "x.png", "--out", "out", "--face-box", box)
        assert result.exit_code == MISTAKE and said in result.stderr, result.output
    for arguments in (("x.png", "--face-box", "a,b,c,d"), ("x.png", "y.png", "--face-box", "1,2,30,40")):
        assert isinstance(sheap("predict", "images", *arguments, "--out", "out").exception, ValueError)


def test_transparent_pixels_are_not_looked_at(predictor: MadePredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    rgba = np.concatenate([picture(RED), np.zeros((96, 96, 1), np.uint8)], 2)
    Image.fromarray(rgba, "RGBA").save("ghost.png")
    seen = []
    monkeypatch.setattr(predictor._landmarker, "process", lambda image: seen.append(image) or [])
    assert sheap("predict", "images", "ghost.png", "--out", "out").exit_code == MISTAKE
    assert np.abs(seen[0].astype(int) - 128).max() <= 1
    with pytest.raises(ValueError, match="no face found"):
        predictor.predict_image(rgba)
    assert np.abs(seen[1].astype(int) - 128).max() <= 1


def test_what_the_mesh_is_stands_in_it_and_the_neutral_one_beside_it(predictor: MadePredictor) -> None:
    photos("x.png")
    assert sheap("predict", "images", "x.png", "--out", "out", "--neutral").exit_code == 0
    note = Path("out/x.obj").read_text().splitlines()[0]
    assert note.startswith("# The head as it was seen: posed") and "metres" in note and "camera" in note
    neutral = read_mesh(Path("out/x_neutral.obj"))
    assert np.allclose(neutral.vertices, predictor.head.template.numpy(), atol=1e-5)
    assert not np.allclose(read_mesh(Path("out/x.obj")).vertices, neutral.vertices, atol=1e-3)


def test_a_pipe_or_a_device_named_as_a_picture_ends_nothing() -> None:
    """Before, its hash was computed first, which waits for ever."""
    photos("x.png")
    os.mkfifo("pipe.png")
    Path("zero.png").symlink_to("/dev/zero")
    result = sheap("predict", "images", "pipe.png", "zero.png", "x.png", "--out", "out")
    assert result.exit_code == INCOMPLETE and manifest().counts["results"] == 1
    assert "pipe.png: a named pipe, not a file" in result.stderr and "zero.png: a device, not a file" in result.stderr


def test_a_place_that_cannot_be_written_is_named() -> None:
    photos("x.png")
    Path("file").write_text("")
    error = sheap("predict", "images", "x.png", "--out", "file").exception
    assert isinstance(error, OSError) and "file" in str(error) and "not written" in str(error)
    Path(f"out/{RESULTS_NAME}").parent.mkdir()
    Path(f"out/{RESULTS_NAME}").write_text('{"format": "mine"}')
    error = sheap("predict", "images", "x.png", "--out", "out").exception
    assert isinstance(error, ValueError) and "not a manifest of results" in str(error)
    Path("new").mkdir()
    Path("new/x_overlay.png").mkdir()
    assert sheap("predict", "images", "x.png", "--out", "new").exit_code == 0, "another name"
    assert Path("new/x.png_overlay.png").is_file()


@pytest.fixture
def benchmark(made: Path) -> NowDataset:
    """Three pictures of a benchmark in NoW's layout."""
    writer = NowWriter(made / "NOW")
    lines = [writer.add_image("ann", "selfie", f"{number}", picture(seed=number), (20, 20, 80, 80)) for number in range(3)]
    writer.write_image_list(lines)
    for path in (made / "NOW/detected_face").rglob("*.npy"):
        path.unlink()
    return NowDataset.open(made / "NOW")


def test_a_second_submission_does_not_count_the_first_ones_meshes(benchmark: NowDataset) -> None:
    command = ("predict", "now", "--dataset", benchmark.root, "--out", "out")
    result = sheap(*command)
    assert result.exit_code == 0, result.output
    assert "3 of 3 predictions are sound, 0 doubtful" in result.stdout and "3 of 3 images have a prediction" in result.stdout
    assert manifest().counts == {"inputs": 3, "results": 3, "failed": 0, "sure": 3}
    write_picture(benchmark.image_path(benchmark.images[1]), picture(BLACK), 100)
    result = sheap(*command)
    assert result.exit_code == INCOMPLETE, result.output
    assert "2 of 3 predictions are sound" in result.stdout and "1 stale" in result.stdout
    assert "stale: ann/selfie/1.jpg: ann/selfie/1.obj is of an earlier run" in result.stderr
    assert manifest().failed == {"ann/selfie/1.jpg": "no face found"} and len(manifest().earlier) == 1
    for path in Path("out/ann/selfie").glob("1.*"):
        path.unlink()
    result = sheap(*command)
    assert result.exit_code == INCOMPLETE and "missing: ann/selfie/1.jpg" in result.stderr


def test_a_submission_writes_over_nothing_of_the_users(
    benchmark: NowDataset, predictor: MadePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, predictions written into detected_face replaced the boxes of the same names."""
    write_array("NOW/detected_face/ann/selfie/1.npy", [1, 2, 3])
    Path("file").write_text("")
    before = Path("NOW/detected_face/ann/selfie/1.npy").read_bytes()
    monkeypatch.setattr(predictor._landmarker, "process", lambda image: pytest.fail("told after the work"))
    there = "1.npy: there already, and not made by"
    for out, said in (("NOW/detected_face", there), ("file", "not written"), ("file/x", "not written")):
        error = sheap("predict", "now", "--dataset", benchmark.root, "--out", out).exception
        assert isinstance(error, (ValueError, OSError)) and said in str(error)
    assert Path("NOW/detected_face/ann/selfie/1.npy").read_bytes() == before


def test_a_benchmarks_doubtful_predictions_are_counted(benchmark: NowDataset) -> None:
    write_picture(benchmark.image_path(benchmark.images[0]), picture(RED), 100)
    result = sheap("predict", "now", "--dataset", benchmark.root, "--out", "out")
    assert result.exit_code == 0 and "1 doubtful" in result.stdout, "hard pictures are what a benchmark is made of"
    assert manifest().counts["doubtful"] == 1 and manifest().results[0].figures["presence"] == 0.6


@pytest.mark.parametrize("arguments", [("predict", "images", ""), ("evaluate", "footage", ""), ("ingest", "", "--out", "out")])
def test_an_empty_argument_is_not_the_current_folder(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before, `predict images "$UNSET"` predicted everything below the current folder."""
    photos("x.png")
    monkeypatch.setattr("sys.argv", ["sheap", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == MISTAKE and "an empty argument" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["x.png"]


def test_the_version() -> None:
    assert sheap("--version").stdout.startswith("sheap 0.")
