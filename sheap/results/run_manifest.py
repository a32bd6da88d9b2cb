"""What a run made of what, and with which model: one manifest beside the results.

A folder may see several runs. The manifest lists the last one's results and, under `earlier`, those of before that are still as
they were made; whatever is in the folder and in neither list is somebody else's and is never written over. It is written before
the first result (all files planned) and after the last, so a killed run does not leave files that nobody knows.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import sheap
from sheap.files import require_writable, write_json
from sheap.reading.regular_file import read_bytes, require_regular
from sheap.results.names import alike, printable

RESULTS_NAME = "sheap_results.json"


class HeadOfRun(BaseModel):
    """The head model that answers are in: what it is, the file or folder it was read from, its licence, its files' SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    name: str
    licence: str
    sha256: str

    def sentence(self) -> str:
        """For a comment in a mesh file."""
        return f"Head model: {self.kind} ({self.name}); licence: {self.licence}."


class ModelOfRun(BaseModel):
    """Where the model was loaded from, the hashes in its config.json, and the head model that it answers in (None: in manifests
    of before that said so)."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    folder: str
    weights_sha256: str | None
    settings_sha256: str | None
    head: HeadOfRun | None = None


class Result(BaseModel):
    """One input's files: hashes by their paths below the manifest's folder; None: planned, not yet written."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    input: str
    input_sha256: str | None
    files: dict[str, str | None]
    figures: dict[str, Any] = {}
    """What is said of the result: its verdict (sheap.evaluation.verdict) and whatever else the run knows."""
    model: ModelOfRun | None = None
    """Of earlier runs' results; the manifest's own where it is None."""


class RunManifest(BaseModel):
    """`sheap_results.json`. finished: None while the run goes on, and for ever where it was killed."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format: Literal["sheap-results-1"] = "sheap-results-1"
    version: str
    command: str
    model: ModelOfRun
    finished: str | None
    counts: dict[str, int]
    results: list[Result]
    failed: dict[str, str]
    """Why there is no result, by input."""
    earlier: list[Result]

    @classmethod
    def read(cls, folder: Path) -> RunManifest | None:
        """None where there is none. Raises ValueError naming the file when it is something else."""
        path = folder / RESULTS_NAME
        try:
            return cls.model_validate_json(read_bytes(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "file"
            raise ValueError(f"{path}: not a manifest of results ({where}: {first['msg']}); move it away") from None

    def by_file(self) -> dict[str, tuple[Result, bool]]:
        """Every listed file with its result, and whether it is one of the last run's."""
        listed = {name: (result, False) for result in self.earlier for name in result.files}
        return listed | {name: (result, True) for result in self.results for name in result.files}


class RunRecord:
    """Keeps a run's manifest.

    inputs_of_run: files that the run reads and must therefore not write. Raises ValueError when the folder's manifest is broken.
    """

    def __init__(self, folder: Path, command: str, model: ModelOfRun, inputs_of_run: frozenset[str] = frozenset()) -> None:
        self.folder, self._command, self._model = folder, command, model
        self._inputs = inputs_of_run
        before = RunManifest.read(folder)
        self._before = {} if before is None else before.by_file()
        self._before_model = model if before is None else before.model
        self._results: dict[str, Result] = {}
        self.failed: dict[str, str] = {}

    def is_taken(self, path: Path, file: str) -> bool:
        """Whether a file of this name is the manifest, an input, somebody else's, or an earlier result of another input."""
        if alike(file) == alike(RESULTS_NAME):
            return True
        place = self.folder / file
        if os.path.realpath(place) in self._inputs:
            return True
        if not os.path.lexists(place):
            return False
        known = self._before.get(file)
        return known is None or known[0].input != input_name(path) or not _is_as_made(place, known[0].files[file])

    def is_folder_taken(self, path: Path, name: str) -> bool:
        """Whether a folder of this name must be left as it is: it is a file, or there is something in it that is an input,
        somebody else's, or of another input. What a killed run left in a folder that it had planned is this input's."""
        place = self.folder / name
        if not os.path.lexists(place):
            return False
        if place.is_symlink() or not place.is_dir():
            return True
        planned = self._before.get(f"{name}/")
        is_own = planned is not None and planned[0].input == input_name(path)
        for there in place.rglob("*"):
            if there.is_dir() and not there.is_symlink():
                continue
            file = there.relative_to(self.folder).as_posix()
            is_input = os.path.realpath(there) in self._inputs
            if is_input or (self.is_taken(path, file) and not (is_own and file not in self._before)):
                return True
        return False

    def kept(self, name: str, input_sha256: str, options: Mapping[str, Any]) -> Result | None:
        """What an earlier run made of an input in the same way, if all of it still stands as it was made: it is listed as this
        run's, and need not be made again. options: as they stand in the figures."""
        for result, is_last in {id(result): (result, is_last) for result, is_last in self._before.values()}.values():
            model = result.model or (self._before_model if is_last else None)
            is_same = (result.input, result.input_sha256, model) == (name, input_sha256, self._model)
            if not (is_same and result.figures.get("options") == dict(options) and result.files):
                continue
            if all(sha256 is not None and _is_as_made(self.folder / file, sha256) for file, sha256 in result.files.items()):
                self._results[name] = result.model_copy(update={"model": None})
                return self._results[name]
        return None

    def require_free(self, files: Iterable[str]) -> None:
        """For layouts that leave no other name. Raises ValueError naming a file that is there and that no earlier run made,
        NotWritten where nothing can be written."""
        require_writable(self.folder / RESULTS_NAME)
        for file in files:
            if file not in self._before and os.path.lexists(self.folder / file):
                raise ValueError(f"{self.folder / file}: there already, and not made by an earlier run; choose another folder")

    def was_made(self, path: Path) -> bool:
        """Whether an earlier run left this file in the folder: a result is no input."""
        folder = os.path.realpath(path.parent)  # a link may lead to the results
        return os.path.relpath(os.path.join(folder, path.name), os.path.realpath(self.folder)) in self._before

    def plan(self, inputs: Mapping[str, list[str]]) -> None:
        """Says which files the run is going to make of which input, and writes it down."""
        for name, files in inputs.items():
            self._results[name] = Result(input=name, input_sha256=None, files=dict.fromkeys(files))
        self._write(None)

    def made(
        self, name: str, input_sha256: str, figures: Mapping[str, Any] | None = None, names: Sequence[str] | None = None
    ) -> Result:
        """That the planned files of an input are written. names: which they are, where only their folder was planned."""
        written = self._results[name].files if names is None else names
        files = {file: file_sha256(self.folder / file) for file in written}
        self._results[name] = Result(input=name, input_sha256=input_sha256, files=dict(files), figures=dict(figures or {}))
        return self._results[name]

    def fail(self, name: str, reason: str) -> None:
        """That nothing could be made of an input."""
        self._results.pop(name, None)
        self.failed[name] = printable(reason)

    @property
    def results(self) -> list[Result]:
        """What is made so far."""
        return [result for result in self._results.values() if result.input_sha256 is not None]

    def counts(self) -> dict[str, int]:
        """inputs, results, failed, and how often each verdict was given."""
        verdicts = Counter(str(result.figures["verdict"]) for result in self.results if "verdict" in result.figures)
        made = len(self.results)
        return {"inputs": made + len(self.failed), "results": made, "failed": len(self.failed), **dict(sorted(verdicts.items()))}

    def save(self) -> None:
        """Writes the manifest as far as the run has come: what is made is not lost if the run is killed."""
        self._write(None)

    def finish(self) -> dict[str, int]:
        """Writes the manifest; gives its counts."""
        self._write(datetime.now(UTC).isoformat(timespec="seconds"))
        return self.counts()

    def _write(self, finished: str | None) -> None:
        listed = {file for result in self._results.values() for file in result.files}
        manifest = RunManifest(
            version=sheap.__version__,
            command=self._command,
            model=self._model,
            finished=finished,
            counts=self.counts(),
            results=list(self._results.values()) if finished is None else self.results,
            failed=self.failed,
            earlier=self._earlier(listed),
        )
        write_json(self.folder / RESULTS_NAME, manifest.model_dump(mode="json"))

    def _earlier(self, listed: set[str]) -> list[Result]:
        """Results of before of which some file still is as it was made."""
        found: dict[int, Result] = {}
        for file, (result, is_last) in self._before.items():
            if id(result) not in found and file not in listed and _is_as_made(self.folder / file, result.files[file]):
                left = {name: value for name, value in result.files.items() if name not in listed}
                model = result.model or (self._before_model if is_last else None)
                found[id(result)] = result.model_copy(update={"files": left, "model": model})
        return list(found.values())


def input_name(path: Path) -> str:
    """How an input is called in manifests: by its whole path."""
    return printable(os.path.abspath(path))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file. Raises OSError, or ValueError for a pipe, a socket or a device."""
    require_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_as_made(path: Path, sha256: str | None) -> bool:
    """Whether a file is the one that a run made; one that was only planned may be half of anything."""
    return path.is_file() and (sha256 is None or file_sha256(path) == sha256)
