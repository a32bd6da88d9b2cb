"""Ray on this machine alone, wherever the checkout lies.

Ray writes the path of its interpreter unquoted into a shell line when it starts a worker: from a folder whose name holds a
blank or a parenthesis no worker ever starts. A program that needs Ray is therefore started again through a link at a plain path.
"""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from pipeline.run.settings import StageError

_LINK_PREFIX = "sheap-python-"


def is_plain(path: str) -> bool:
    """Whether a shell takes a path for one word as it stands."""
    return shlex.quote(path) == path


def restart_at_plain_path() -> None:
    """Replaces this process by the same program, run through a link to its interpreter, where Ray needs that; else does nothing.

    For the first lines of a program. Raises StageError with the remedy when the folder for temporary files is not plain either.
    """
    prefix = Path(sys.prefix)
    if prefix.is_symlink() and prefix.parent.name.startswith(_LINK_PREFIX):
        atexit.register(shutil.rmtree, prefix.parent, ignore_errors=True)
        return
    if is_plain(sys.executable) or not Path(sys.executable).is_relative_to(prefix):
        return
    folder = Path(tempfile.mkdtemp(prefix=_LINK_PREFIX))
    if not is_plain(str(folder)):
        folder.rmdir()
        raise StageError(_problem(f"and so has the folder for temporary files, {folder.parent}; set TMPDIR to another one"))
    link = folder / "venv"
    link.symlink_to(prefix, target_is_directory=True)
    python = str(link / Path(sys.executable).relative_to(prefix))
    os.execv(python, [python, *sys.orig_argv[1:]])


def _problem(remedy: str) -> str:
    return f"{sys.executable}: the path has signs that Ray cannot start workers from (blanks, parentheses, quotes, ...), {remedy}"


def start_local_ray(num_cpus: int) -> None:
    """Ray of `num_cpus` for this process alone, without a file in the home folder.

    Raises StageError where no worker could start.
    """
    if not is_plain(sys.executable):
        raise StageError(_problem("move the checkout, or run the stage as a program (python -m pipeline.STAGE)"))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray keeps one below the home folder
    import ray  # four seconds: only those who need it wait

    ray.init(
        include_dashboard=False, _node_ip_address="127.0.0.1", num_cpus=num_cpus, log_to_driver=False,
        logging_level=logging.ERROR, configure_logging=True,
    )  # fmt: skip
