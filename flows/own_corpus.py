"""This checkout's own corpus: a folder of videos in place of those that params.yaml names, without a change in committed files.

    python -m flows.own_corpus FOLDER

DVC has no optional settings file, but it reads every dvc.yaml that it finds. So local/dvc.yaml is written, with one stage that
watches the folder and runs this program, which writes local/corpus.yaml (pipeline.run.settings reads it); and the stage
`corpus` depends on the folder local/.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import yaml

from pipeline.run.settings import OWN_CORPUS_FILE

OWN_DVC_FILE = OWN_CORPUS_FILE.with_name("dvc.yaml")
OWN_STAGE = f"{OWN_DVC_FILE}:videos"
"""The stage's name for DVC."""

REMARK = f"# Written by `make demo CORPUS=...`: see {OWN_CORPUS_FILE.with_name('README.md')}.\n"


def use_corpus(folder: Path, project: Path) -> None:
    """Makes DVC take this folder of videos, and nothing else, as the corpus."""
    stage = {
        "wdir": "..",
        "cmd": f"python -m flows.own_corpus {shlex.quote(str(folder))}",
        "deps": [str(folder)],
        "outs": [{str(OWN_CORPUS_FILE): {"cache": False}}],
    }
    text = yaml.safe_dump({"stages": {"videos": stage}}, sort_keys=False, allow_unicode=True)
    (project / OWN_DVC_FILE).parent.mkdir(exist_ok=True)
    (project / OWN_DVC_FILE).write_text(REMARK + text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.own_corpus", description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER")
    settings = {"folder": parser.parse_args(arguments).folder, "carphone": False}
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    OWN_CORPUS_FILE.write_text(REMARK + text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
