"""Folders as people have them: lists and tables of other programs, arrays under a false name, one bad file among good ones."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pipeline.commands import cli
from sheap.evaluation.affectnet import read_affectnet
from sheap.evaluation.expression_dataset import ExpressionDataset, ExpressionImage, ExpressionWriter
from sheap.evaluation.expression_error import evaluate_expressions
from sheap.evaluation.landmark_files import read_landmarks, read_picked_points
from sheap.evaluation.mesh_files import TriangleMesh, write_obj
from sheap.evaluation.now import subject
from sheap.evaluation.now.dataset import NowDataset
from sheap.evaluation.now.evaluation import evaluate_methods
from sheap.evaluation.now.submission import SubmissionFolder, write_prediction
from sheap.evaluation.time_limit import TimeLimit, TookTooLong
from sheap.video.carphone import find_carphone

FAULTS = Path(__file__).resolve().parents[2].parent / "shared" / "faults"
ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")


def sheap(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def mistake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What `sheap ARGUMENTS` prints to stderr as it ends with exit code 2."""
    monkeypatch.setattr(sys, "argv", ["sheap", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    return capsys.readouterr().err


# --- lists and tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_now_lists_as_editors_save_them(benchmark: Path, encoding: str) -> None:
    path = benchmark / "imagepathsvalidation.txt"
    plain = NowDataset.open(benchmark)
    path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    assert NowDataset.open(benchmark) == plain


def test_a_now_list_in_latin_1_names_file_line_and_encoding(benchmark: Path) -> None:
    path = benchmark / "imagepathsvalidation.txt"
    path.write_bytes(path.read_bytes() + "bär/selfie/IMG_4.jpg\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"imagepathsvalidation\.txt line 4: not UTF-8 .*latin-1"):
        NowDataset.open(benchmark)
    with pytest.raises(ValueError, match=r"image_set: unknown 'nonsense' \(known: val, test\)"):
        NowDataset.open(benchmark, "nonsense")  # type: ignore[arg-type]


@pytest.mark.skipif(not FAULTS.is_dir(), reason=f"{FAULTS} is absent")
@pytest.mark.parametrize("name", ["list_with_bom.txt", "list_utf16.txt"])
def test_the_collected_lists(tmp_path: Path, name: str) -> None:
    (tmp_path / "imagepaths.txt").write_bytes((FAULTS / name).read_bytes())
    images = ExpressionDataset.open(tmp_path).images
    assert images and all(image.subject.isprintable() and image.name.endswith(".jpg") for image in images)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_expression_lists_as_editors_save_them(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "imagepaths.txt").write_bytes("ann/shout/0.jpg\r\n".encode(encoding))
    assert ExpressionDataset.open(tmp_path).images == (ExpressionImage("ann", "shout", "0.jpg"),)


HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
ROW = "12/a.jpg,10,20,30,40,1;2;3;4,6,-0.5,0.8"


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    (tmp_path / "12").mkdir()
    (tmp_path / "12/a.jpg").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize("encoding", ("utf-8", *ENCODINGS))
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_as_spreadsheets_save_them(faces: Path, encoding: str, separator: str) -> None:
    row = ROW.replace("1;2;3;4", "1|2").replace(",", separator)
    (faces / "validation.csv").write_bytes(f"{HEADER.replace(',', separator)}\r\n{row}\r\n".encode(encoding))
    [found] = read_affectnet(faces, "val")
    assert found.path == faces / "12/a.jpg" and (found.emotion, found.valence, found.face.left) == (6, -0.5, 10)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}\n{ROW}\n12/ä.jpg\n".encode("latin-1"), "line 3: not UTF-8 .*latin-1"),
        (f"{HEADER.replace('valence', 'Valenz')}\n{ROW}\n".encode(), "line 1: no column valence"),
        (f"{ROW}\n".encode(), "line 1: no column subDirectory_filePath"),
        (b"", "line 1: no column"),
        (f"{HEADER}\n{ROW.replace('10,20', 'nan,20')}\n".encode(), "line 2: a face box of nan"),
        (f"{HEADER}\n{ROW.replace(',6,', ',99999999999999999999x,')}\n".encode(), "line 2: ValueError"),
        (f"{HEADER}\n{ROW.replace('-0.5', '1e999')}\n".encode(), "line 2: .*out of range"),
        (f"{HEADER}\n12/a.jpg,10\n".encode(), "line 2: TypeError"),
        (f"{HEADER}\n{ROW.replace('1;2', 'x' * 200_000)}\n".encode(), "not a readable table"),
        (f"{HEADER}\n{ROW}\n".encode() + b"\0" * 10, "line 3: not text"),
    ],
)
def test_tables_that_are_none_are_named_in_one_line(faces: Path, content: bytes, message: str) -> None:
    (faces / "validation.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"validation\.csv .*{message}") as caught:
        read_affectnet(faces, "val")
    assert "\n" not in str(caught.value)


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, landmarks=np.zeros((7, 3)))
    return buffer.getvalue()


CLAIMS = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (3000000000, 7), }".ljust(127) + b"\n"


FALSE_ARRAYS = [(npz(), "an .npz"), (CLAIMS, "the header claims"), (b"1 2 3", "not an .npy file")]


@pytest.mark.parametrize(("content", "message"), FALSE_ARRAYS)
def test_arrays_under_a_false_name(faces: Path, content: bytes, message: str) -> None:
    for name in ("marks.npy", "MARKS.NPY"):
        (faces / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"(?i)marks\.npy: {message}"):
            read_landmarks(faces / name)
    folder = faces / "val_set/annotations"
    folder.mkdir(parents=True)
    (folder / "7_exp.npy").write_bytes(content)
    with pytest.raises(ValueError, match=rf"7_exp\.npy: not a number \({message}"):
        read_affectnet(faces, "val")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5])
def test_annotations_that_are_no_emotion(faces: Path, value: float) -> None:
    folder = faces / "val_set/annotations"
    folder.mkdir(parents=True)
    np.save(folder / "7_exp.npy", np.array(value))
    with pytest.raises(ValueError, match=r"7_exp\.npy: .*not a (whole )?number"):
        read_affectnet(faces, "val")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_landmarks_as_editors_save_them(tmp_path: Path, encoding: str) -> None:
    points = np.arange(21.0).reshape(7, 3)
    (tmp_path / "a.txt").write_bytes("\r\n".join(" ".join(map(str, row)) for row in points).encode(encoding))
    np.testing.assert_array_equal(read_landmarks(tmp_path / "a.txt"), points)
    picked = "".join(f'<point x="{x}" y="{y}" z="{z}"/>\n' for x, y, z in points)
    (tmp_path / "a.pp").write_bytes(picked.encode(encoding))
    np.testing.assert_array_equal(read_picked_points(tmp_path / "a.pp"), points)


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["nonrigid", "true-error"])
def test_an_unknown_image_set_names_the_option(measure, monkeypatch, capsys, tmp_path) -> None:
    error = mistake(monkeypatch, capsys, "evaluate", measure, "--dataset", tmp_path, "--image-set", "nonsense")
    assert error == "sheap: error: --image-set nonsense: Input should be 'val' or 'test'\n"


@pytest.mark.parametrize("fps", ["0", "-5", "nan", "1e9"])
def test_a_rate_out_of_range_names_the_option(fps, monkeypatch, capsys, tmp_path) -> None:
    error = mistake(monkeypatch, capsys, "ingest", tmp_path, "--out", tmp_path / "out", "--fps", fps)
    assert error.startswith("sheap: error: --fps ") and error.count("\n") == 1 and "http" not in error


@pytest.mark.parametrize("content", [b"no bundle", b"", b"PK\x05\x06" + bytes(18)])
def test_a_bad_landmark_model_is_told_once(content, monkeypatch, capsys, tmp_path) -> None:
    (tmp_path / "bad.task").write_bytes(content)
    pictures = [tmp_path / f"{number}.png" for number in range(3)]
    for path in pictures:
        cv2.imwrite(str(path), np.zeros((40, 40, 3), np.uint8))
    common = ("predict", "images", *pictures, "--out", tmp_path / "out")
    error = mistake(monkeypatch, capsys, *common, "--landmark-model", tmp_path / "bad.task")
    assert [line for line in error.splitlines() if "bad.task" in line] == error.splitlines()[-1:]
    assert error.splitlines()[-1].startswith("sheap: error: ")


# --- one bad file among good ones -------------------------------------------------------------------------------------


def break_meshes(predictions: Path, dataset: NowDataset) -> dict[str, str]:
    """A huge index, and landmarks that are an .npz, for two of the three images."""
    first, second, _ = dataset.images
    path = predictions / f"{first.stem}.obj"
    path.write_text(path.read_text() + "f 1 2 99999999999999999999\n")
    (predictions / f"{second.stem}.npy").write_bytes(npz())
    return {str(first): "faces: index 9", str(second): "an .npz"}


def test_evaluate_now_goes_on_past_broken_predictions(benchmark: Path, predictions: Path) -> None:
    broken = break_meshes(predictions, NowDataset.open(benchmark))
    result = sheap("evaluate", "now", "--dataset", benchmark, "--predictions", predictions)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "overall" in result.stdout
    for image, reason in broken.items():
        assert f"not evaluated: {image}: " in result.stderr and reason in result.stderr
    assert "3/3" in result.stderr  # the progress


def write_faces(root: Path, scan, count: int) -> list[ExpressionImage]:
    images = [ExpressionImage("ann", "shout", f"{number}.jpg") for number in range(count)]
    writer = ExpressionWriter(root)
    for image in images:
        writer.add(image, np.zeros((8, 8, 3), np.uint8), scan.vertices, scan.landmarks)
    writer.write_list(images)
    return images


def test_evaluate_expressions_goes_on_past_broken_predictions(scan, prediction, tmp_path: Path) -> None:
    images = write_faces(tmp_path / "faces", scan, 2)
    for image in images:
        write_prediction(tmp_path / "ours", image, TriangleMesh(prediction.vertices, prediction.faces), prediction.landmarks)
    (tmp_path / "ours/ann/shout/0.obj").write_text("v 0 0 0\nf 1 1 99999999999999999999\n")
    result = sheap("evaluate", "expressions", "--dataset", tmp_path / "faces", "--predictions", tmp_path / "ours")
    assert "overall" in result.stdout and "not evaluated: ann/shout/0.jpg: " in result.stderr and "2/2" in result.stderr
    # In a stage, a prediction that cannot be used is an error.
    with pytest.raises(ValueError, match=r"ann/shout/0\.jpg: .*0\.obj"):
        evaluate_expressions(ExpressionDataset.open(tmp_path / "faces"), {"ours": SubmissionFolder(tmp_path / "ours")})


def carphone_picture() -> np.ndarray:
    try:
        video = cv2.VideoCapture(str(find_carphone()))
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return video.read()[1]


def test_predict_now_and_expressions_go_on_past_unreadable_pictures(benchmark: Path, scan, tmp_path: Path) -> None:
    picture = carphone_picture()
    dataset = NowDataset.open(benchmark)
    write_faces(tmp_path / "faces", scan, 3)
    places = {
        "now": (benchmark, [benchmark / "iphone_pictures" / str(image) for image in dataset.images]),
        "expressions": (tmp_path / "faces", [tmp_path / f"faces/images/ann/shout/{number}.jpg" for number in range(3)]),
    }
    for command, (root, paths) in places.items():
        for path, content in zip(paths, (None, b"no picture", b""), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                cv2.imwrite(str(path), picture)
            else:
                path.write_bytes(content)
        paths[2].unlink()
        result = sheap("predict", command, "--dataset", root, "--out", tmp_path / command)
        assert result.exit_code == 3 and "1 cropped by landmarks" in result.stdout and "2 unreadable" in result.stdout
        assert f"not predicted: {paths[1]}: not a picture" in result.stderr
        assert f"{paths[2]}: missing" in result.stderr
        assert len(list((tmp_path / command).rglob("*.obj"))) == 1


def test_pictures_whose_names_are_not_utf8_are_predicted(monkeypatch, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"m\xfcller.png")
    path.write_bytes(cv2.imencode(".png", carphone_picture())[1].tobytes())
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", printed)
    monkeypatch.setattr(sys, "argv", ["sheap", "predict", "images", str(path), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (0, None)
    printed.flush()
    assert b"m\\xfcller.png ->" in printed.buffer.getvalue()
    assert len(list((tmp_path / "out").glob("*_overlay.png"))) == 1


# --- time -------------------------------------------------------------------------------------------------------------


def garbled(path: Path) -> None:
    """Faces between any two places, as many as take seconds to search."""
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(20_000, 3)) * 60
    write_obj(path, TriangleMesh(vertices, rng.integers(0, len(vertices), (60_000, 3))))


def test_a_garbled_mesh_is_given_up_and_the_rest_goes_on(benchmark: Path, predictions: Path) -> None:
    dataset = NowDataset.open(benchmark)
    garbled(predictions / f"{dataset.images[0].stem}.obj")
    seen: list[tuple[int, int]] = []
    options = {"image_timeout_s": 2.5, "progress": lambda *count: seen.append(count)}
    found = evaluate_methods(dataset, {"ours": SubmissionFolder(predictions)}, **options)["ours"]
    assert list(found.malformed) == [str(dataset.images[0])]
    assert "took longer than 2.5 s" in found.malformed[str(dataset.images[0])]
    assert len(found.evaluated) == 2 and seen == [(1, 3), (2, 3), (3, 3)]


def test_workers_keep_the_limit_and_tell_of_every_image(benchmark: Path, predictions: Path) -> None:
    dataset = NowDataset.open(benchmark)
    seen: list[tuple[int, int]] = []
    options = {"image_timeout_s": 1e-6, "num_workers": 2, "progress": lambda *count: seen.append(count)}
    found = evaluate_methods(dataset, {"ours": SubmissionFolder(predictions)}, **options)["ours"]
    assert set(found.malformed) == {str(image) for image in dataset.images}
    assert all("took longer than 1e-06 s" in reason for reason in found.malformed.values())
    assert seen[-1] == (3, 3) and [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_commands_take_the_limit(benchmark: Path, predictions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []
    monkeypatch.setattr(subject, "TimeLimit", lambda seconds: limits.append(seconds) or TimeLimit(seconds))
    for given in (("--image-timeout", 30), ("--image-timeout", 0), ()):
        sheap("evaluate", "now", "--dataset", benchmark, "--predictions", predictions, "--workers", 1, *given)
    assert limits == [30] * 3 + [None] * 3 + [60] * 3
    result = sheap("evaluate", "now", "--dataset", benchmark, "--predictions", predictions, "--image-timeout", -1)
    assert result.exit_code != 0


def test_a_limit_ends_and_a_wrong_one_is_named() -> None:
    TimeLimit(None).check()
    TimeLimit(100).check()
    ended = TimeLimit(1e-9)
    with pytest.raises(TookTooLong, match="took longer than 1e-09 s"):
        while True:
            ended.check()
    for seconds in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="image_timeout_s: expected a positive number"):
            TimeLimit(seconds)
