"""This checkout's own corpus: a folder of videos in place of those that params.yaml names, without a change in committed files.

DVC has no optional settings file, but it reads every dvc.yaml that it finds and git does not ignore. So local/dvc.yaml is
written, with one stage that watches the folder and writes local/corpus.yaml, which pipeline.run.settings reads; and the stage
`corpus` depends on the folder local/.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import yaml

from pipeline.run.settings import OWN_CORPUS_FILE

OWN_DVC_FILE = OWN_CORPUS_FILE.with_name("dvc.yaml")
OWN_STAGE = f"{OWN_DVC_FILE}:videos"
"""The stage's name for DVC."""


def use_corpus(folder: Path, project: Path) -> None:
    """Makes DVC take this folder of videos, and nothing else, as the corpus."""
    stage = {
        "wdir": "..",
        "cmd": f"python -m pipeline.commands.own_corpus {shlex.quote(str(folder))}",
        "deps": [str(folder)],
        "outs": [{str(OWN_CORPUS_FILE): {"cache": False}}],
    }
    text = yaml.safe_dump({"stages": {"videos": stage}}, sort_keys=False, allow_unicode=True, width=4096)
    (project / OWN_DVC_FILE).parent.mkdir(exist_ok=True)
    (project / OWN_DVC_FILE).write_text(f"# Written by `make demo CORPUS=...`: see README.md.\n{text}", encoding="utf-8")
