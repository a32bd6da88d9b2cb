"""Tags the registered model as the new champion, if it is better than the present one on the same benchmark.

    sheap promote

A version is a git tag made by gto (`sheap@v0.0.1`, then `sheap#champion#1` on it), so it needs a commit that holds
dvc.lock. The champion's figures are read from its own version, out of the DVC cache or remote.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import dvc.api
import gto.api
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_data.index import DataIndexDirError
from gto.exceptions import ArtifactNotFound
from pydantic import Field

from pipeline.metrics import METRICS_NAME, OVERALL, Metrics, parse_metrics, read_metrics
from pipeline.register import BUNDLE_DIR
from pipeline.run.settings import StageError, StageParams, load_params
from pipeline.run.stage import require_input

ARTIFACT = "sheap"
"""The name under `artifacts:` in dvc.yaml."""


class PromoteParams(StageParams):
    """Params section `promote`."""

    stage: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    """The gto stage that marks the best version."""
    least_gain_mm: float = Field(ge=0)
    """How much lower the median must be; above the noise of training seeds, a promotion means something."""


@dataclass(frozen=True)
class Decision:
    """Whether the candidate was tagged, and in one line why or why not."""

    is_promoted: bool
    reason: str


def promote(params: PromoteParams) -> Decision:
    """Compares and tags, in the current folder (DVC reads its targets against that).

    Raises StageError when the question cannot be put: no bundle, no commit, uncommitted changes.
    """
    candidate = read_metrics(require_input(BUNDLE_DIR / METRICS_NAME, "register"))
    _require_committed()
    champion = _champion(params.stage)
    if champion is None:
        decision = _beats_mean_head(candidate, params)
    else:
        decision = _beats_champion(candidate, champion, _metrics_of(champion), params)
    if not decision.is_promoted:
        return decision
    version = _register_version()
    gto.api.assign(".", ARTIFACT, params.stage, version=version, message=decision.reason)
    return Decision(True, f"{ARTIFACT}@{version} is the new {params.stage}: {decision.reason}")


def _beats_mean_head(candidate: Metrics, params: PromoteParams) -> Decision:
    """The bar for the first version, which has no champion to beat."""
    ours, baseline = candidate.model[OVERALL].median_mm, candidate.mean_head[OVERALL].median_mm
    if ours < baseline - params.least_gain_mm:
        return Decision(True, f"first version; median {ours:.3f} mm, mean head {baseline:.3f} mm")
    return Decision(
        False, f"no champion yet, and the median {ours:.3f} mm does not beat the mean head's {baseline:.3f} mm"
    )


def _beats_champion(candidate: Metrics, version: str, champion: Metrics, params: PromoteParams) -> Decision:
    if candidate.benchmark.sha256 != champion.benchmark.sha256:
        return Decision(
            False,
            f"measured on another benchmark ({candidate.benchmark.sha256[:12]}) than the champion {version} "
            f"({champion.benchmark.sha256[:12]}): the figures cannot be compared; evaluate both on one",
        )
    ours, theirs = candidate.model[OVERALL].median_mm, champion.model[OVERALL].median_mm
    if ours < theirs - params.least_gain_mm:
        return Decision(True, f"median {ours:.3f} mm, champion {version} {theirs:.3f} mm")
    margin = f" by the {params.least_gain_mm} mm asked for" if params.least_gain_mm else ""
    return Decision(False, f"median {ours:.3f} mm does not beat the champion {version}'s {theirs:.3f} mm{margin}")


def _require_committed() -> None:
    """A tag names a commit, so what is promoted must be in one."""
    if _git("rev-parse", "--is-inside-work-tree") is None:
        raise StageError("promotion tags a git commit, and this folder is no git checkout: git init, then commit")
    if _git("rev-parse", "--verify", "HEAD") is None:
        raise StageError("promotion tags a git commit, and there is none yet: git add --all && git commit")
    if _git("ls-files", "--error-unmatch", "dvc.lock") is None:
        raise StageError("dvc.lock is not committed; it says which model this is: git add dvc.lock && git commit")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    if changed:
        files = ", ".join(line[3:] for line in changed.splitlines()[:3])
        raise StageError(f"uncommitted changes ({files}): commit them first, so that the tag names what was measured")
    with Repo() as dvc_repo:
        if dvc_repo.status(targets=["register"]):
            raise StageError("the registered model is not what dvc.lock says: dvc repro register, then commit dvc.lock")


def _champion(stage: str) -> str | None:
    """The version that holds the stage, None when there is none."""
    try:
        found = gto.api.find_versions_in_stage(".", ARTIFACT, stage)
    except ArtifactNotFound:
        return None
    return found[0].version if found else None


def _metrics_of(version: str) -> Metrics:
    path = BUNDLE_DIR / METRICS_NAME
    tag = f"{ARTIFACT}@{version}"
    try:
        content = dvc.api.read(str(path), rev=tag)
    except (DvcException, DataIndexDirError, OSError) as error:
        cause = " ".join(str(error).split())
        raise StageError(f"{tag}: its {METRICS_NAME} is neither in the DVC cache nor on a remote ({cause})") from None
    return parse_metrics(content.encode("utf-8"), f"{tag}:{path}")


def _register_version() -> str:
    """The version of this commit; gto allows one a commit, so an existing one is used again."""
    head = _git("rev-parse", "HEAD")
    tags = (_git("tag", "--points-at", "HEAD") or "").splitlines()
    existing = [tag.split("@", 1)[1] for tag in tags if tag.startswith(f"{ARTIFACT}@") and not tag.endswith("!")]
    if existing:
        return existing[-1]
    assert head is not None, "checked by _require_committed"
    return gto.api.register(".", ARTIFACT, head).version


def _git(*arguments: str) -> str | None:
    """Output of a git command, None when it fails or git is not there."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.rstrip("\n")


def main() -> int:
    """Exit code 0: promoted or not, and why; 2: the question could not be put."""
    try:
        decision = promote(load_params("promote", PromoteParams))
    except (StageError, ValueError, OSError) as error:
        print(f"promote: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print(f"promote: {'' if decision.is_promoted else 'not promoted: '}{decision.reason}")
    return 0
