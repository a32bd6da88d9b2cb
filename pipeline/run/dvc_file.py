"""Keeps dvc.yaml's dependencies true: `python -m pipeline.run.dvc_file` says what differs, `--write` rewrites them.

Code is what `code_dependencies` computes. Besides, a stage depends on every file or folder that its settings name: a
setting that is a `Path` names what the stage reads. DVC cannot depend on null, so such a line stands here only while its
setting has a value; a stage does not start where it is missing (`settings.require_listed`).
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from typing import Any

from ruamel.yaml import YAML

from pipeline.run.code_dependencies import PACKAGES, code_files, whole_folders
from pipeline.run.settings import DVC_FILE, StageError, StageParams, load_params, named_paths
from sheap.files import write_text


def params_type(stage: str) -> type[StageParams]:
    """The model of a stage's settings: `pipeline.STAGE` calls it `StageParams` with its own name."""
    return getattr(importlib.import_module(f"pipeline.{stage}"), f"{stage.capitalize()}Params")


def code_lines(stage: str) -> list[str]:
    """A stage's code as dvc.yaml lists it."""
    return [path.as_posix() for path in whole_folders(code_files(f"pipeline.{stage}"))]


def is_code(line: str) -> bool:
    return line.split("/")[0] in PACKAGES


def expected_lines(stage: str, written: list[str]) -> list[str]:
    """What dvc.yaml should list under `deps` of a stage: what its settings name, its data as `written`, its code."""
    named = [f"${{{name}}}" for name in named_paths(load_params(stage, params_type(stage)), stage)]
    data = [line for line in written if not is_code(line) and not line.startswith("${")]
    return [*sorted(named), *data, *code_lines(stage)]


def rewritten(text: str) -> str:
    """dvc.yaml with its dependencies made true; all else, comments included, stays."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    document: dict[str, Any] = yaml.load(text)
    for name, stage in document["stages"].items():
        stage["deps"] = expected_lines(name, list(stage.get("deps", ())))
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pipeline.run.dvc_file", description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="rewrite dvc.yaml instead of only comparing")
    write = parser.parse_args(arguments).write
    try:
        text = DVC_FILE.read_text(encoding="utf-8")
        wanted = rewritten(text)
    except (StageError, OSError) as error:
        print(f"dvc_file: error: {error}", file=sys.stderr)
        return 2
    if write:
        write_text(DVC_FILE, wanted)
        return 0
    is_true = wanted == text
    print(f"{DVC_FILE}: {'its dependencies are true' if is_true else 'differs; run it again with --write'}")
    return 0 if is_true else 1


if __name__ == "__main__":
    sys.exit(main())
