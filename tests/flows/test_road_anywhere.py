"""The whole road, from rendered people to the report, at its smallest settings, in places that are awkward."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.commands import environment_with_this_python
from flows.graph import stage_names
from flows.places import check_named_inputs
from pipeline.run.dvc_file import params_type
from pipeline.run.settings import load_params

REPOSITORY = Path(__file__).parents[2]
PARTS = ("sheap", "pipeline", "flows", ".dvc/config", ".dvcignore", "dvc.yaml", "params.yaml", "local", "pyproject.toml")

SMALLEST: dict[str, Any] = {
    "people": {"train_people": 4, "validation_people": 2, "frames": 9, "sizes": [[160, 160]]},
    "benchmark": {
        "subjects": 2, "multiview_neutral": 1, "multiview_expressions": 1, "multiview_occlusions": 1, "selfie": 1,
        "image_size": [160, 120], "scan_subdivisions": 0,
    },
    "corpus": {"carphone": False, "replay_people": 2},
    "ingest": {"image_size": 64, "num_workers": 1, "mask": {"backend": "grabcut"}, "filter": {"min_head_px": 32}},
    "train": {
        "validation_pairs": 2, "panel_pairs": 1, "wandb_mode": "disabled",
        "training": {
            "landmark_phase": {"steps": 2, "batch_size": 2},
            "rendered_phase": {"steps": 2, "batch_size": 2, "rendered_pairs": 1},
            "optimizer": {"warmup_steps": 1},
            "validate_every": 2, "panels_every": 4, "checkpoint_every": 2, "log_every": 1,
        },
    },
    "evaluate": {"carphone": False, "num_workers": 1},
    "report": {"panel_rows": 1, "contact_sheet": 4},
}  # fmt: skip


def merged(settings: Any, changes: Any) -> Any:
    if not isinstance(settings, dict) or not isinstance(changes, dict):
        return changes
    return {**settings, **{name: merged(settings.get(name), value) for name, value in changes.items()}}


def unpacked_archive(root: Path) -> Path:
    """The project's files without .git, beside an environment of its own, at its smallest settings."""
    for part in PARTS:
        source, target = REPOSITORY / part, root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    (root / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    params = yaml.safe_load((root / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump(merged(params, SMALLEST)))
    return root


def start_road(root: Path, **environment: str) -> subprocess.Popen[str]:
    """The flow, run by the checkout's own interpreter from the checkout."""
    python = root / ".venv" / Path(sys.executable).relative_to(sys.prefix)
    inherited = {name: value for name, value in environment_with_this_python().items() if name not in ("PATH", "PYTHONPATH")}
    chosen = {
        "PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]]), "PYTHONPATH": str(root),
        "PREFECT_HOME": str(root / ".prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",
    }  # fmt: skip
    return subprocess.Popen(
        [str(python), "-m", "flows.train_sheap"], cwd=root, env=inherited | chosen | environment, umask=0o077, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def check_road(process: subprocess.Popen[str], root: Path) -> None:
    output, _ = process.communicate(timeout=2400)
    assert process.returncode == 0, output[-4000:]
    assert (root / "data/report/report.html").is_file()
    assert "NoneType: None" not in output and "Traceback" not in output


@pytest.mark.parametrize("stage", stage_names(REPOSITORY))
def test_the_smallest_settings_are_settings(stage: str, tmp_path: Path) -> None:
    """The roads below take minutes and are run by hand; that each of their stages would start is seen here."""
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump(merged(yaml.safe_load((REPOSITORY / "params.yaml").read_text()), SMALLEST)))
    assert load_params(stage, params_type(stage), params)
    (tmp_path / "dvc.yaml").write_text((REPOSITORY / "dvc.yaml").read_text())
    check_named_inputs(tmp_path)


@pytest.mark.minutes
@pytest.mark.timeout(2500)
def test_the_road_in_an_odd_place_without_git_home_or_open_umask(tmp_path: Path) -> None:
    root = unpacked_archive(tmp_path / "a (b) 'c' ü")
    check_road(start_road(root, HOME="/proc/nowhere", LANG="C"), root)


@pytest.mark.minutes
@pytest.mark.timeout(2500)
def test_two_clones_at_once_do_not_meet(tmp_path: Path) -> None:
    roots = [unpacked_archive(tmp_path / name) for name in ("one", "two")]
    processes = [start_road(root) for root in roots]
    for process, root in zip(processes, roots, strict=True):
        check_road(process, root)


@pytest.mark.minutes
@pytest.mark.timeout(2500)
def test_the_road_with_little_shared_memory(tmp_path: Path) -> None:
    """In a mount namespace of its own with 4 MB of /dev/shm; who may not make one skips."""
    small = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=4m tmpfs /dev/shm && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*small, "true"], capture_output=True).returncode:
        pytest.skip("a mount namespace cannot be made here (needs root)")
    root = unpacked_archive(tmp_path / "little")
    python = root / ".venv/bin" / Path(sys.executable).name
    wrapper = root / "python"
    wrapper.write_text(f'#!/bin/sh\nexec {" ".join(small[:4])} \'{small[4]}\' sh {python} "$@"\n')
    wrapper.chmod(0o755)
    environment = environment_with_this_python() | {
        "PYTHONPATH": str(root), "PREFECT_HOME": str(root / ".prefect"), "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600", "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }  # fmt: skip
    process = subprocess.Popen(
        [str(wrapper), "-m", "flows.train_sheap"], cwd=root, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    check_road(process, root)
