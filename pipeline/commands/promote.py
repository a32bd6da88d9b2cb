"""Tags the registered model as the new champion, if it is better than the present one on the same benchmark.

    sheap promote [--push]
    sheap rollback [VERSION] [--push]

A version is a git tag made by gto (`sheap@v0.0.1`, then `sheap#champion#1` on it), so it needs a commit that holds
dvc.lock. The champion's figures are read from its own version, out of the DVC cache or remote.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import dvc.api
import gto.api
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_data.index import DataIndexDirError
from filelock import FileLock
from pydantic import Field

from pipeline.commands.evaluate_registered import evaluate_registered, measured_again
from pipeline.metrics import METRICS_NAME, OVERALL, Metrics, parse_metrics, read_metrics
from pipeline.register import PROVENANCE_NAME
from pipeline.run.champions import (
    ARTIFACT,
    BUNDLE_DIR,
    ROLLBACK,
    assign,
    assignments,
    git,
    has_remote,
    learn_from_remote,
    push_command,
    push_tags,
    rolled_back,
    versions_of,
)
from pipeline.run.settings import StageError, StageParams, load_params
from pipeline.run.stage import STATE_DIR, require_input
from sheap.files import write_json


class PromoteParams(StageParams):
    """Params section `promote`: the policy."""

    stage: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    """The gto stage that marks the best version."""
    least_gain_mm: float = Field(ge=0)
    """How much lower the median must be; above the noise of training seeds, a promotion means something."""
    guards: dict[str, Annotated[float, Field(ge=0)]]
    """Further figures of metrics.json by dotted name, lower is better, and by how much each may get worse."""
    least_images: int = Field(ge=1)
    """Images that the benchmark must have."""
    least_train_clips: int = Field(ge=0)
    """Clips that the model must have been trained on."""


@dataclass(frozen=True)
class Decision:
    """Whether the candidate was tagged, in one line why or why not, and the tags that say so, which a remote should get."""

    is_promoted: bool
    reason: str
    tags: tuple[str, ...] = ()


def promote(params: PromoteParams, *, measure: bool = False) -> Decision:
    """Compares and tags, in the current folder (DVC reads its targets against that).

    measure: where the champion's figures are of another benchmark, it is measured on the candidate's first.

    Raises StageError when the question cannot be put: no bundle, no commit, uncommitted changes, a remote that is not reached.
    """
    document = read_document(require_input(BUNDLE_DIR / METRICS_NAME, "register"))
    candidate = read_metrics(BUNDLE_DIR / METRICS_NAME)
    _require_committed()
    with one_at_a_time():
        learn_from_remote()
        lacking = _lacks_data(candidate, params)
        if lacking is not None:
            return Decision(False, lacking)
        known = assignments(params.stage)
        for version, why in rolled_back(known).items():
            if version in versions_of("HEAD"):
                return Decision(False, f"{version} was left ({why}); to have it back: sheap rollback {version}")
        if not known:
            decision = _beats_mean_head(candidate, params)
        else:
            present = known[-1]
            theirs = _document_of(present.version)
            benchmark = candidate.benchmark.sha256
            if theirs["benchmark"]["sha256"] != benchmark:
                if measure and measured_again(present.version, benchmark) is None:
                    evaluate_registered(present.version)
                theirs = measured_again(present.version, benchmark) or theirs
            decision = _beats_champion(candidate, document, present.version, theirs, params)
        if not decision.is_promoted:
            return decision
        version = _register_version()
        tags = assign(version, params.stage, decision.reason)
    return Decision(True, f"{ARTIFACT}@{version} is the new {params.stage}: {decision.reason}", tuple(tags))


def roll_back(params: PromoteParams, version: str | None, reason: str | None = None) -> Decision:
    """Makes an earlier champion, or a version by name, the champion again.

    version: None takes the one that was champion before the present one. Raises StageError where there is none.
    """
    if git("rev-parse", "--verify", "HEAD") is None:
        raise StageError("a rollback tags a git commit, and this folder is no git checkout with one")
    with one_at_a_time():
        learn_from_remote()
        known = assignments(params.stage)
        if not known:
            raise StageError(f"there is no {params.stage} yet, so none to go back to; 'sheap promote' makes the first")
        present = known[-1].version
        if version is None:
            # Those before the present one's own reign: a second rollback goes one further back, not forth again.
            begun = next(item.number for item in known if item.version == present)
            before = [item.version for item in known if item.number < begun]
            if not before:
                raise StageError(f"{present} is the first {params.stage}; name a version: sheap rollback VERSION")
            version = before[-1]
        version = version.removeprefix(f"{ARTIFACT}@")
        if version == present:
            raise StageError(f"{version} is the {params.stage} already")
        why = f"{ROLLBACK}{present}" + (f": {reason}" if reason else "")
        tags = assign(version, params.stage, why)
    return Decision(True, f"{ARTIFACT}@{version} is the {params.stage} again ({why})", tuple(tags))


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Of two promotions in one repository, also from different checkouts, the second waits and then meets the first one's."""
    common = git("rev-parse", "--path-format=absolute", "--git-common-dir")
    assert common is not None, "the caller is in a checkout"
    with FileLock(Path(common) / "sheap-promotion.lock"):
        yield


def _lacks_data(candidate: Metrics, params: PromoteParams) -> str | None:
    """Why too little is known of the candidate, or None."""
    if candidate.benchmark.num_images < params.least_images:
        return f"measured on {candidate.benchmark.num_images} images, fewer than promote.least_images ({params.least_images})"
    if params.least_train_clips:
        provenance = read_document(require_input(BUNDLE_DIR / PROVENANCE_NAME, "register"))
        clips = provenance["training"]["train_clips"]
        if clips < params.least_train_clips:
            return f"trained on {clips} clips, fewer than promote.least_train_clips ({params.least_train_clips})"
    return None


def _beats_mean_head(candidate: Metrics, params: PromoteParams) -> Decision:
    """The bar for the first version, which has no champion to beat."""
    ours, baseline = candidate.model[OVERALL].median_mm, candidate.mean_head[OVERALL].median_mm
    if ours < baseline - params.least_gain_mm:
        return Decision(True, f"first version; median {ours:.3f} mm, mean head {baseline:.3f} mm")
    return Decision(
        False, f"no champion yet, and the median {ours:.3f} mm does not beat the mean head's {baseline:.3f} mm"
    )


def _beats_champion(
    candidate: Metrics, document: dict[str, Any], version: str, their_document: dict[str, Any], params: PromoteParams
) -> Decision:
    present = parse_metrics(json.dumps(their_document).encode("utf-8"), f"{ARTIFACT}@{version}:{METRICS_NAME}")
    if candidate.benchmark.sha256 != present.benchmark.sha256:
        return Decision(
            False,
            f"measured on another benchmark ({candidate.benchmark.sha256[:12]}) than the champion {version} "
            f"({present.benchmark.sha256[:12]}), so the figures cannot be compared; measure that one too: "
            f"sheap evaluate-registered {version}",
        )
    ours, theirs = candidate.model[OVERALL].median_mm, present.model[OVERALL].median_mm
    margin = f" by the {params.least_gain_mm} mm asked for" if params.least_gain_mm else ""
    if not ours < theirs - params.least_gain_mm:
        return Decision(False, f"median {ours:.3f} mm does not beat the champion {version}'s {theirs:.3f} mm{margin}")
    for name, tolerance in params.guards.items():
        own, other = _figure(document, name, "the candidate"), _figure(their_document, name, f"the champion {version}")
        if own > other + tolerance:
            return Decision(
                False,
                f"median {ours:.3f} mm beats the champion {version}'s {theirs:.3f} mm, but {name} rises from {other:g} to "
                f"{own:g}, more than promote.guards allows ({tolerance:g})",
            )
    return Decision(True, f"median {ours:.3f} mm, champion {version} {theirs:.3f} mm")


def _figure(document: dict[str, Any], name: str, whose: str) -> float:
    """A number of metrics.json by its dotted name. Raises StageError where there is none."""
    place: Any = document
    for part in name.split("."):
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, (int, float)):
        raise StageError(f"params.yaml: promote.guards: {whose} has no figure '{name}' in its {METRICS_NAME}")
    return float(place)


def _require_committed() -> None:
    """A tag names a commit, so what is promoted must be in one."""
    if git("rev-parse", "--is-inside-work-tree") is None:
        raise StageError("promotion tags a git commit, and this folder is no git checkout: git init, then commit")
    if git("rev-parse", "--verify", "HEAD") is None:
        raise StageError("promotion tags a git commit, and there is none yet: git add --all && git commit")
    if git("ls-files", "--error-unmatch", "dvc.lock") is None:
        raise StageError("dvc.lock is not committed; it says which model this is: git add dvc.lock && git commit")
    changed = git("status", "--porcelain", "--untracked-files=no")
    if changed:
        files = ", ".join(line[3:] for line in changed.splitlines()[:3])
        raise StageError(f"uncommitted changes ({files}): commit them first, so that the tag names what was measured")
    with Repo() as dvc_repo:
        if dvc_repo.status(targets=["register"]):
            raise StageError("the registered model is not what dvc.lock says: dvc repro register, then commit dvc.lock")


def _document_of(version: str) -> dict[str, Any]:
    """A version's metrics.json. Raises StageError where neither cache nor remote has it."""
    path = BUNDLE_DIR / METRICS_NAME
    tag = f"{ARTIFACT}@{version}"
    try:
        content = dvc.api.read(str(path), rev=tag)
    except (DvcException, DataIndexDirError, OSError) as error:
        cause = " ".join(str(error).split())
        raise StageError(f"{tag}: its {METRICS_NAME} is neither in the DVC cache nor on a remote ({cause})") from None
    return json.loads(content)


def read_document(path: Path) -> dict[str, Any]:
    """A JSON file's object. Raises ValueError naming the file when it is none."""
    document = json.loads(path.read_bytes())
    if not isinstance(document, dict):
        raise ValueError(f"{path}: expected an object")
    return document


def _register_version() -> str:
    """The version of this commit; gto allows one a commit, so an existing one is used again."""
    head = git("rev-parse", "HEAD")
    assert head is not None, "checked by _require_committed"
    existing = versions_of(head)
    return existing[-1] if existing else gto.api.register(".", ARTIFACT, head).version


def main(
    *, back: bool = False, version: str | None = None, reason: str | None = None, push: bool = False, measure: bool = False
) -> int:
    """Exit code 0: tagged or not, and why; 2: the question could not be put."""
    name = "rollback" if back else "promote"
    try:
        params = load_params("promote", PromoteParams)
        decision = roll_back(params, version, reason) if back else promote(params, measure=measure)
        if decision.tags and push:
            push_tags(list(decision.tags))
    except (StageError, ValueError, OSError) as error:
        print(f"{name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"{name}: {'' if decision.is_promoted else 'not promoted: '}{decision.reason}")
    if decision.tags and not push and has_remote():
        print(f"others see it after: {push_command(list(decision.tags))} (and 'dvc push', for the files)")
    note_decision(name, decision)
    return 0


def note_decision(name: str, decision: Decision) -> None:
    """The last decision, for flows and `sheap status`: .sheap/promotion.json."""
    document = {"command": name, "promoted": decision.is_promoted, "reason": decision.reason, "tags": decision.tags}
    write_json(STATE_DIR / "promotion.json", document)
