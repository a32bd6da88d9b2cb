"""A tiny project with the shape of the real one: three quick stages in a DVC graph that the flow can run."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

STAGE_PROGRAM = '''
"""Stand-in for `python -m pipeline.STAGE`: what it does is written in params.yaml."""
import json, os, pathlib, subprocess, sys, time
sys.path.insert(0, REPOSITORY)
from pipeline.run.settings import read_params_file

name = sys.argv[1]
params = read_params_file()[name]
with open(f"ran_{name}.log", "a") as log:
    log.write("ran\\n")
attempts = len(open(f"ran_{name}.log").readlines())
if params.get("mistake"):
    print(f"{name}: error: {params['mistake']}", file=sys.stderr)
    sys.exit(2)
if attempts <= params.get("crashes", 0):
    print(f"{name}: failed: RuntimeError: crash {attempts}", file=sys.stderr)
    sys.exit(1)
if params.get("sleep_s"):
    # One child in the group, one in a session of its own (as Ray starts some of its helpers).
    nap = [sys.executable, "-c", f"import time; time.sleep({params['sleep_s']})"]
    children = [subprocess.Popen(nap), subprocess.Popen(nap, start_new_session=True)]
    pids = [os.getpid()] + [child.pid for child in children]
    pathlib.Path("pids.tmp").write_text(" ".join(map(str, pids)))
    os.replace("pids.tmp", "pids.txt")
    time.sleep(params["sleep_s"])
print(f"{name}: value {params['value']}")
pathlib.Path(f"read_{name}.json").write_text(json.dumps(params))
pathlib.Path("data").mkdir(exist_ok=True)
pathlib.Path(f"data/{name}.txt").write_text(str(params["value"]))
'''

COMMANDS = '''
"""Stand-in for `sheap`: keeps a list of corpora, decides as params.yaml says, and notes what it was asked."""
import json, pathlib, sys
import yaml

words = sys.argv[1:]
with open("ran_commands.log", "a") as log:
    log.write(" ".join(words) + "\\n")
path = pathlib.Path("params.yaml")
params = yaml.safe_load(path.read_text())
if words[:2] == ["corpus", "list"]:
    print(json.dumps([{"folder": params["corpus"]["folder"]}, *params["corpus"]["further"]], indent=1))
elif words[:2] == ["corpus", "add"]:
    assert "further: []" in path.read_text()
    path.write_text(path.read_text().replace("further: []", "further: [{folder: " + words[-1] + "}]"))
elif words[0] == "promote":
    decision = {"command": "promote", "promoted": params["promote"]["promoted"], "reason": "so it was decided", "tags": []}
    pathlib.Path(".sheap/promotion.json").write_text(json.dumps(decision))
'''

DVC_YAML = """
stages:
  corpus:
    cmd: python stage_program.py corpus
    deps: ["${corpus.folder}", local]
    params: [corpus]
    outs: [data/corpus.txt]
  train:
    cmd: python stage_program.py train
    deps: [data/corpus.txt]
    params: [train]
    outs: [data/train.txt]
  report:
    cmd: python stage_program.py report
    deps: [data/train.txt]
    params: [report]
    outs: [data/report.txt]
"""

PARAMS_YAML = """\
# Settings of the stand-in project.
flow:
  retries: {train: 1}  # one more try after a crash
  retry_delay_s: 0.1

retrain: {onto_branch: promoted, push: true}

promote: {promoted: true}  # what the stand-in of `sheap promote` decides

corpus:
  # Which videos.
  folder: videos
  carphone: true
  further: []
  value: 1

train:
  value: 2
  crashes: 0

report: {value: 3}
"""


def make_project(root: Path) -> Path:
    """Writes the project into `root` and initialises DVC without git; returns `root`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "stage_program.py").write_text(textwrap.dedent(STAGE_PROGRAM).replace("REPOSITORY", repr(str(REPOSITORY))))
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "params.yaml").write_text(PARAMS_YAML)
    (root / "local").mkdir()
    (root / "local" / "README.md").write_text("This checkout's own.\n")
    (root / "videos").mkdir()
    (root / "videos" / "talk.mp4").write_bytes(b"not decoded here")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=root, check=True)
    for name in ("core.analytics", "core.check_update"):
        subprocess.run([sys.executable, "-m", "dvc", "config", name, "false"], cwd=root, check=True)
    return root


def add_commands(root: Path) -> None:
    """Puts a `sheap` of its own into the project, in place of the real one."""
    (root / "pipeline" / "commands").mkdir(parents=True)
    for folder in (root / "pipeline", root / "pipeline" / "commands"):
        (folder / "__init__.py").touch()  # so that it comes before the real one
    (root / "pipeline" / "commands" / "cli.py").write_text(COMMANDS)


def commit_to_git(root: Path) -> Path:
    """Makes the project a git checkout with one commit; returns `root`."""
    ignored = ("/data/", "/.sheap", "/ran_*.log", "/read_*.json", "/pids.*", "/.dvc/config.local", "/.dvc/tmp", "/.dvc/cache")
    (root / ".gitignore").write_text("".join(f"{name}\n" for name in ignored))
    call(root, sys.executable, "-m", "dvc", "config", "core.no_scm", "false")
    call(root, "git", "init", "-q", "-b", "main")
    call(root, "git", "config", "user.name", "A Person")
    call(root, "git", "config", "user.email", "person@example.org")
    call(root, "git", "add", "--all")
    call(root, "git", "commit", "-q", "-m", "A project")
    return root


def call(folder: Path, *command: str) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def times_run(root: Path, stage: str) -> int:
    """How often the stage's program started."""
    log = root / f"ran_{stage}.log"
    return len(log.read_text().splitlines()) if log.exists() else 0
