"""The flow `retrain-on-new-corpus`: a corpus joins the others, a challenger is trained, and the champion stays or is replaced.

Everything happens in a checkout of its own (flows.run_checkout), so the served model and the project's files stay as they are
until the decision, and after it, unless the policy (section `retrain` of params.yaml) puts the result on the project's branch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.commands import run_on_leash
from flows.run_checkout import RunCheckout, dvc, git
from flows.train_sheap import checked_corpus, record_params, run_stages
from pipeline.run.settings import PARAMS_FILE, StageError, StageParams, load_params
from pipeline.run.stage import STATE_DIR

DECISION_FILE = STATE_DIR / "promotion.json"
REMOTE = "origin"


class RetrainParams(StageParams):
    """The `retrain` section of params.yaml: what becomes of a finished retraining."""

    onto_branch: Literal["promoted", "always", "never"]
    """When its commit goes onto the branch that the project has checked out: with a new champion, always, or by hand."""
    push: bool
    """Whether branch, tags and files are sent to the remotes, where there are any."""


@flow(name="retrain-on-new-corpus", log_prints=True)
def retrain_on_new_corpus(
    corpus: str | None = None,
    name: str | None = None,
    licence: str = "not stated",
    origin: str = "not stated",
    consent: str = "not stated",
    params: dict[str, Any] | None = None,
) -> State[Any]:
    """Trains on all corpora with `corpus` added, measures, and promotes the result or keeps the champion, saying why.

    corpus: a folder of videos; None trains on what the list holds, e.g. for a schedule. name, licence, origin, consent: kept with
    it. params: settings of this run, by dotted name. Ends Completed either way (named ChampionKept when it stays), Failed with
    one line when something is in the way.
    """
    logger = get_run_logger()
    project = Path.cwd()
    try:
        policy = load_params("retrain", RetrainParams, project / PARAMS_FILE)
        folder = None if corpus is None else checked_corpus(corpus).resolve()
        checkout = RunCheckout.make(project, params or {}, purpose=f"retrain {folder or ''}")
        if left_out := checkout.uncommitted():
            logger.warning("not committed, so no part of this run: %s", ", ".join(left_out))
        if params:
            record_params(checkout, params)
        if folder is not None and not is_listed(checkout.folder, folder):
            facts = {"name": name, "licence": licence, "origin": origin, "consent": consent}
            options = [word for fact, value in facts.items() if value for word in (f"--{fact}", value)]
            command(checkout.folder, "corpus", "add", *options, "--", str(folder))
        state = run_stages(checkout.folder)
        if not state.is_completed():
            return state
        return settle(checkout, policy, what=f"Retrained on {folder}" if folder else "Retrained")
    except StageError as error:
        logger.error("%s", error)
        return Failed(message=str(error))


def is_listed(checkout: Path, folder: Path) -> bool:
    """Whether a folder is one of the corpora: then only what is new in it is work."""
    listed = json.loads("".join(command(checkout, "corpus", "list")))
    return str(folder) in {str((checkout / item["folder"]).resolve()) for item in listed}


def settle(checkout: RunCheckout, policy: RetrainParams, what: str) -> State[Any]:
    """Commits what was made, decides, and sends what the policy says."""
    logger = get_run_logger()
    command(checkout.folder, "corpus", "publish")
    branch = checkout.commit_results(what)
    has_git_remote = policy.push and REMOTE in git(checkout.project, "remote").split()
    if policy.push and dvc(checkout.folder, "remote", "list").strip():
        dvc(checkout.folder, "push", "--quiet")
    if has_git_remote:
        git(checkout.folder, "push", "--quiet", "--force", REMOTE, branch)
    command(checkout.folder, "promote", "--measure", *(["--push"] if has_git_remote else []))
    decision = json.loads((checkout.folder / DECISION_FILE).read_bytes())
    logger.info("%s", decision["reason"])
    said = decision["reason"]
    if policy.onto_branch == "always" or (policy.onto_branch == "promoted" and decision["promoted"]):
        said += f"; {put_onto_branch(checkout, branch, push=has_git_remote)}"
    else:
        said += f"; the run is on branch {branch}"
    verdict = "A new champion" if decision["promoted"] else "The champion stays"
    create_markdown_artifact(f"**{verdict}.** {said}", key="sheap-decision", description=what)
    checkout.remove()
    return Completed(message=said, name="Completed" if decision["promoted"] else "ChampionKept")


def put_onto_branch(checkout: RunCheckout, branch: str, *, push: bool) -> str:
    """Moves the project's branch forward to the run's commit, if nothing else has moved it; says what was done.

    The files under data/ stay: whoever serves them takes the new ones by `dvc checkout`, when it suits.
    """
    present = git(checkout.project, "branch", "--show-current")
    try:
        git(checkout.project, "merge", "--quiet", "--ff-only", branch)
    except StageError as error:
        return f"the run is on branch {branch}, for {present or 'a detached HEAD'} cannot move to it ({error})"
    if push:
        git(checkout.project, "push", "--quiet", REMOTE, present)
    return f"{present} has moved to it; 'dvc checkout' brings its files"


def command(folder: Path, *arguments: str) -> list[str]:
    """Output of a `sheap` command in a checkout, line by line, each as it comes to the log as well.

    Raises StageError with the command's own last line.
    """
    logger = get_run_logger()
    lines: list[str] = []

    def on_line(line: str) -> None:
        logger.info("%s", line)
        lines.append(line)

    if run_on_leash([sys.executable, "-m", "pipeline.commands.cli", *arguments], folder, on_line):
        said = lines[-1] if lines else "it said nothing"
        raise StageError(f"{arguments[0]}: {said.partition('error: ')[2] or said}")
    return lines
