"""Names of results: no two inputs share a file, nothing that is there is written over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheap.results.names import distinct_files, distinct_labels, printable, result_names

ENDINGS = (".obj", ".json", "_overlay.png")


def names(*paths: str, taken: tuple[str, ...] = ()) -> list[str]:
    return result_names([Path(path) for path in paths], ENDINGS, lambda path, file: file in taken)


def test_a_picture_alone_is_called_by_its_stem() -> None:
    assert names("/p/a/x.png") == ["x"]
    assert names("/p/a/x.png", "/p/b/y.png", "/p/archive.tar.png") == ["x", "y", "archive.tar"]


def test_what_tells_inputs_apart_is_in_their_names() -> None:
    assert names("/p/a/x.png", "/p/b/x.png") == ["a__x", "b__x"]
    assert names("/p/x.png", "/p/x.jpg", "/p/y.png") == ["x.png", "x.jpg", "y"]
    assert names("/p/a/x.png", "/p/b/x.png", "/p/a/x.jpg") == ["a__x", "b__x", "x.jpg"]
    assert names("/p/1/a/x.png", "/p/2/a/x.png") == ["1__a__x", "2__a__x"]


def test_names_that_some_disks_take_for_one_are_told_apart() -> None:
    assert len({name.casefold() for name in names("/p/X.png", "/p/x.png", "/p/x.PNG", "/q/x.png")}) == 4
    composed, decomposed = "/p/\u00e9.png", "/p/e\u0301.png"
    assert len(set(names(composed, decomposed))) == 2


def test_a_derived_name_meets_no_other_input() -> None:
    for paths in (("/p/a/x.png", "/p/b/x.png", "/p/a__x.png"), ("/p/x.png", "/p/x.jpg", "/p/x.png.png", "/x.jpg.jpg")):
        found = names(*paths)
        assert len(set(found)) == len(paths), found
    overlay = names("/p/x.png", "/p/x_overlay.png")
    assert overlay == ["x", "x_overlay"], "x_overlay.png and x_overlay_overlay.png are two files"


def test_files_that_are_there_are_left_alone() -> None:
    assert names("/p/x.png", taken=("x_overlay.png",)) == ["x.png"]
    assert names("/p/x.png", taken=("x.obj", "x.png.json")) == ["p__x"]


def test_long_paths_stay_short_enough_for_a_disk() -> None:
    deep = ["/".join(["", *["folder" * 8] * 9, end, "x" * 150 + ".png"]) for end in ("a", "b")]
    found = names(*deep, "/" + "ü" * 127 + ".png")
    assert len(set(found)) == 3
    assert all(len(os.fsencode(name + "_overlay.png")) <= 255 for name in found)


PARTS = st.sampled_from(["a", "A", "b", "a__b", "x", "x.png", "x_overlay"])


@given(st.lists(st.lists(PARTS, min_size=1, max_size=4), max_size=9))
def test_no_file_belongs_to_two_inputs(parts: list[list[str]]) -> None:
    paths = sorted({Path("/", *part[:-1], part[-1] + end) for part in parts for end in (".png", ".jpg")})
    found = result_names(paths, ENDINGS, lambda path, file: file == "x.obj")
    made = [(name + ending).casefold() for name in found for ending in ENDINGS]
    assert len(set(made)) == len(made) and "x.obj" not in [name + end for name in found for end in ENDINGS]


def test_an_input_given_twice_is_one(tmp_path: Path) -> None:
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link.png").symlink_to("x.png")
    given = [tmp_path / "x.png", tmp_path / "." / "x.png", tmp_path / "link.png", tmp_path / "y.png"]
    assert distinct_files(given) == [tmp_path / "x.png", tmp_path / "y.png"]
    with pytest.raises(ValueError, match="given twice"):
        result_names([tmp_path / "x.png", tmp_path / "x.png"], ENDINGS)


def test_labels_tell_files_apart() -> None:
    assert distinct_labels([Path("/v/a.mp4"), Path("/v/b.mp4")]) == ["a.mp4", "b.mp4"]
    assert distinct_labels([Path("/v/a/x.mp4"), Path("/v/b/x.mp4"), Path("/v/y.mp4")]) == ["a/x.mp4", "b/x.mp4", "y.mp4"]
    assert printable(os.fsdecode(b"/v/\xff.mp4")) == "/v/\\xff.mp4"
    assert printable("/v/two\nlines\x1b[2J\u2028ü.mp4") == "/v/two\\nlines\\x1b[2J\\u2028ü.mp4"
    assert len(set(distinct_labels([Path(os.fsdecode(b"/v/\xff.mp4")), Path("/v/\\xff.mp4")]))) == 2
