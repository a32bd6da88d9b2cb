"""The champion's place in git: versions and stages as gto's tags, and what a remote knows of them.

A tag `sheap@v0.0.2` names a commit's model, a tag `sheap#champion#5` on a commit says that its version was the fifth to be
assigned. The champion is the version that was assigned last, whatever its number, as for `dvc artifacts get --stage champion`.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipeline.run.settings import StageError
from pipeline.run.stage import STATE_DIR
from sheap.files import write_json

ARTIFACT = "sheap"
"""The name under `artifacts:` in dvc.yaml."""

BUNDLE_DIR = Path("data/registry/sheap")
"""Its path there: what the stage `register` writes."""

FETCHED_DIR = STATE_DIR / "registered"

REMOTE = "origin"
ROLLBACK = "rollback from "
"""How the message of a rollback's tag begins."""


@dataclass(frozen=True)
class Assignment:
    """One promotion or rollback: the number-th version to hold the stage; when is ISO 8601, why the tag's first line."""

    number: int
    version: str
    when: str
    why: str


def assignments(stage: str) -> list[Assignment]:
    """Every assignment of the stage, the first one first. Raises StageError for one whose commit bears no version."""
    form = "%(refname:short)%09%(*objectname)%09%(creatordate:iso-strict)%09%(contents:subject)"
    found = []
    for line in (git("for-each-ref", f"--format={form}", f"refs/tags/{ARTIFACT}#*") or "").splitlines():
        tag, commit, when, why = line.split("\t", 3)
        match = re.fullmatch(rf"{ARTIFACT}#{re.escape(stage)}#(\d+)", tag)
        if match is None:
            continue
        versions = versions_of(commit)
        if not versions:
            raise StageError(f"tag {tag}: its commit bears no version ({ARTIFACT}@v...); fetch the tags: git fetch --tags")
        found.append(Assignment(int(match[1]), versions[-1], when, why))
    return sorted(found, key=lambda item: item.number)


def rolled_back(known: list[Assignment]) -> dict[str, str]:
    """Versions that a rollback has left, with the words of its tag, unless they were assigned again later."""
    left: dict[str, str] = {}
    for before, after in itertools.pairwise(known):
        left.pop(after.version, None)
        if after.why.startswith(ROLLBACK):
            left[before.version] = after.why
    return left


def champion(stage: str) -> Assignment | None:
    """The assignment that stands."""
    return (assignments(stage) or [None])[-1]


def versions_of(commit: str) -> list[str]:
    """Versions of a commit, the last one last; gto gives one a commit."""
    tags = (git("tag", "--points-at", commit, "--sort=version:refname") or "").splitlines()
    return [tag.split("@", 1)[1] for tag in tags if tag.startswith(f"{ARTIFACT}@") and not tag.endswith("!")]


def known_versions() -> list[str]:
    """All versions, the lowest first."""
    tags = (git("tag", "--list", f"{ARTIFACT}@*", "--sort=version:refname") or "").splitlines()
    return [tag.split("@", 1)[1] for tag in tags if not tag.endswith("!")]


def has_remote() -> bool:
    return REMOTE in (git("remote") or "").split()


def learn_from_remote() -> None:
    """Fetches what the remote knows of versions and champions, so that nobody is crowned who has not met the champion.

    Raises StageError where this clone cannot know: shallow without a remote, a remote that does not answer, a tag that is
    another there.
    """
    shallow = git("rev-parse", "--is-shallow-repository") == "true"
    if not has_remote():
        if shallow:
            raise StageError(
                f"this clone is shallow and has no remote '{REMOTE}', so it cannot know the champion; name the remote "
                f"(git remote add {REMOTE} URL) or clone all of it"
            )
        return
    unshallow = ["--unshallow"] if shallow else []
    problem = run_git("fetch", "--tags", *unshallow, REMOTE)
    if problem is None:
        return
    if "clobber" in problem:
        own = ", ".join(re.findall(r"\S*[#@]\S*(?= +-> )", problem)) or "a tag"
        raise StageError(
            f"{own} is another on '{REMOTE}': somebody promoted first; drop yours (git tag --delete) and promote again"
        )
    said = problem.strip().splitlines()[-1]
    raise StageError(
        f"remote '{REMOTE}' does not answer ({said}), and the champion may have changed there; try again, or remove the remote"
    )


def assign(version: str, stage: str, why: str) -> list[str]:
    """Makes a version the champion here; gives the tags that say so, for a push."""
    import gto.api  # half a second: only those who tag wait for it

    require_version(version)
    gto.api.assign(".", ARTIFACT, stage, version=version, message=why, force=True)
    number = assignments(stage)[-1].number
    return [f"{ARTIFACT}@{version}", f"{ARTIFACT}#{stage}#{number}"]


def require_version(version: str) -> None:
    """Raises StageError for a version that does not exist, naming those that do."""
    if version not in known_versions():
        raise StageError(f"{ARTIFACT}@{version}: no such version (there are: {', '.join(known_versions()) or 'none'})")


def fetch_registered(version: str) -> Path:
    """A registered version's bundle in a folder of its own, out of the DVC cache or remote; it is fetched once.

    The folder tells a model's training as data/model does, so that it can be measured and trained on like that.
    Raises StageError for a version that does not exist or whose files are gone.
    """
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    require_version(version)
    folder = FETCHED_DIR / version
    if folder.exists():
        return folder
    temporary = folder.with_name(f".{version}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        DVCFileSystem(rev=f"{ARTIFACT}@{version}").get(BUNDLE_DIR.as_posix(), str(temporary), recursive=True)
    except (DvcException, DataIndexDirError, OSError) as error:
        cause = " ".join(str(error).split())
        raise StageError(f"{ARTIFACT}@{version}: its files are neither in the DVC cache nor on a remote ({cause})") from None
    provenance = json.loads((temporary / "provenance.json").read_bytes())
    write_json(temporary / "train.json", provenance["training"], indent=2)
    temporary.rename(folder)
    return folder


def push_tags(tags: list[str]) -> None:
    """Sends tags to the remote, all or none. Raises StageError, and takes them back here, where somebody was first."""
    problem = run_git("push", "--atomic", REMOTE, *(f"refs/tags/{tag}" for tag in tags))
    if problem is not None:
        git("tag", "--delete", *tags)
        lines = problem.strip().splitlines() or ["no reason given"]
        said = next((line for line in lines if "rejected" in line), lines[-1])
        refused = f"'{REMOTE}' did not take {' and '.join(tags)} ({' '.join(said.split())})"
        raise StageError(f"{refused}; they are taken back, try again")


def push_command(tags: list[str]) -> str:
    """What a person types to send tags."""
    return f"git push --atomic {REMOTE} {' '.join(repr(tag) for tag in tags)}"


def git(*arguments: str) -> str | None:
    """Output of a git command, None when it fails or git is not there."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=300)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.rstrip("\n")


def run_git(*arguments: str) -> str | None:
    """None when a git command succeeds, else what it said."""
    try:
        # What git says is read here, so it must be English.
        english = os.environ | {"LC_ALL": "C"}
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=600, env=english)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return None if done.returncode == 0 else done.stderr or "git failed"
