"""Head models that users name, with what was made of them: found once and kept by content below .sheap/heads."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.run.code_dependencies import code_hash
from pipeline.run.stage import STATE_DIR
from sheap.head.door import head_sha256
from sheap.results.names import printable
from sheap.results.run_manifest import HeadOfRun

if TYPE_CHECKING:
    from sheap.head import HeadModel
    from sheap.transfer.parameters import HeadTransfer

HEADS_DIR = STATE_DIR / "heads"

log = logging.getLogger("head")


def head_of_run(head: HeadModel) -> HeadOfRun | None:
    """A head model as results name it; None for one that was not read from a file."""
    source = head.source
    if source is None:
        return None
    return HeadOfRun(kind=source.kind, name=printable(source.name), licence=source.licence, sha256=source.sha256)


def prepared_head(path: Path | None) -> Path | None:
    """The head model with what it lacked made (sheap.completion), as a file of ours; the path itself where nothing is missing.

    Raises ValueError and OSError as HeadModel.load does, and ValueError when no face is found in pictures of it.
    """
    if path is None:
        return None
    from sheap.completion.complete import completed, is_complete
    from sheap.completion.landmarks import mediapipe_detector
    from sheap.head import HeadModel
    from sheap.head.data import write_head

    kept = HEADS_DIR / f"{head_sha256(path)[:16]}-{code_hash('sheap.completion.complete')[:8]}.safetensors"
    if kept.is_file():
        return kept
    head = HeadModel.load(path)
    if is_complete(head):
        return path
    log.info("%s: looking for what this head model lacks (landmarks, hidden parts), once", path)
    write_head(completed(head, mediapipe_detector).data, kept)
    return kept


def prepared_transfer(a: HeadModel, target: Path) -> HeadTransfer:
    """From head `a`'s parameters to those of the head model at `target`. Raises ValueError as prepared_head does."""
    from sheap.head import HeadModel

    return prepared_transfer_between(a, HeadModel.load(prepared_head(target)))


def prepared_transfer_between(a: HeadModel, b: HeadModel) -> HeadTransfer:
    """The same for a head model that was read and has everything."""
    from sheap.transfer.correspondence_file import read_correspondence, write_correspondence
    from sheap.transfer.parameters import HeadTransfer
    from sheap.transfer.registration import register

    assert a.source is not None and b.source is not None, "heads that were read have sources"
    code = code_hash("sheap.transfer.registration")[:8]
    kept = HEADS_DIR / f"{a.source.sha256[:12]}-{b.source.sha256[:12]}-{code}.safetensors"
    if not kept.is_file():
        log.info("%s: laid on %s, once", b.source.name, a.source.name)
        write_correspondence(register(a, b), kept)
    return HeadTransfer(a, b, read_correspondence(kept))
