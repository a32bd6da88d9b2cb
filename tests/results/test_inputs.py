"""Files, folders and patterns; mistyped ones are named, with what may have been meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from sheap.results.inputs import expanded_places, named_files, not_there

SUFFIXES = frozenset({".jpg", ".png"})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a/x.png", "a/deep/Y.JPG", "a/notes.txt", "a/.hidden.png", "b/x.png", "b/[1].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def found(photos: Path, *places: str) -> list[str]:
    named = named_files([photos / place for place in places], SUFFIXES, "pictures")
    return [path.relative_to(photos).as_posix() for path in named.all_there()]


def test_folders_patterns_and_files(photos: Path) -> None:
    assert found(photos, "a") == ["a/deep/Y.JPG", "a/x.png"]
    assert found(photos, "*/*.png") == ["a/x.png", "b/[1].png", "b/x.png"]
    assert found(photos, "**/*.JPG") == ["a/deep/Y.JPG"]
    assert found(photos, "a/notes.txt") == ["a/notes.txt"], "what is named by itself is taken"
    assert found(photos, "b/[1].png") == ["b/[1].png"], "a file's own name is no pattern"
    assert found(photos, "a/x.png", "a", "*/x.png") == ["a/x.png", "a/deep/Y.JPG", "b/x.png"], "each once"


def test_what_is_not_there_is_named(photos: Path) -> None:
    with pytest.raises(ValueError, match=r".*/a/z\.png: not there; did you mean .*/a/x\.png\?"):
        found(photos, "a/x.png", "a/z.png")
    with pytest.raises(ValueError, match=r"nor is .*/elsewhere\)"):
        found(photos, "elsewhere/x.png")
    with pytest.raises(ValueError, match=r"no pictures match this pattern"):
        found(photos, "*.webp")
    (photos / "empty").mkdir()
    with pytest.raises(ValueError, match=r"/empty: no pictures in this folder \(looked for .jpg, .png\)"):
        found(photos, "empty")
    with pytest.raises(ValueError, match="and 1 more"):
        found(photos, *(f"gone/{number}.png" for number in range(5)))


def test_the_others_go_on_where_that_is_wanted(photos: Path) -> None:
    places = [photos / "a/x.png", photos / "gone.png", photos / "b"]
    named = named_files(places, SUFFIXES, "pictures", lambda path: "[1]" in path.name)
    assert [path.parent.name for path in named.files] == ["a", "b"] and list(named.problems) == [str(photos / "gone.png")]


def test_links_that_lead_nowhere(photos: Path) -> None:
    (photos / "a/link.png").symlink_to("gone.png")
    assert found(photos, "a") == ["a/deep/Y.JPG", "a/x.png"]
    with pytest.raises(ValueError, match=r"a link to gone\.png, which is not there"):
        found(photos, "a/link.png")
    assert "is a file, not a folder" in not_there(photos / "a/x.png/y.png")


def test_the_home_folder_in_a_quoted_pattern(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(photos))
    monkeypatch.chdir(photos)
    for place in ("~/a/*.png", "~/a/x.png"):
        assert named_files([Path(place)], SUFFIXES, "pictures").all_there() == [photos / "a/x.png"]
        assert expanded_places([Path(place)], "pictures") == [photos / "a/x.png"]
    (photos / "~").mkdir()
    (photos / "~/own.png").write_bytes(b"")
    assert named_files([Path("~/*.png")], SUFFIXES, "pictures").all_there() == [Path("~/own.png")], "a folder called so"


def test_a_name_that_no_disk_takes_ends_nothing(photos: Path) -> None:
    long = "x" * 300 + ".png"
    named = named_files([photos / "a/x.png", photos / long, photos / long / "y.png"], SUFFIXES, "pictures")
    assert named.files == (photos / "a/x.png",) and len(named.problems) == 2
    with pytest.raises(ValueError, match="not there"):
        expanded_places([photos / long], "pictures")
