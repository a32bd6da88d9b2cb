"""Options that commands share: which model, and the files that it needs beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    Path | None, typer.Option(help="A registered bundle or a data/model folder; the shipped predictor where none is named.")
]
HeadFile = Annotated[Path | None, typer.Option(help="The head model, where it is not the one that train.json names.")]
AnswerHead = Annotated[
    Path | None,
    typer.Option("--head", help="FLAME's, GNM's or ICT's files: answer in that head's parameters and mesh."),
]
LandmarkFile = Annotated[Path | None, typer.Option(help="MediaPipe's landmark bundle, where not the one of training.")]
ImageTimeout = Annotated[
    float, typer.Option(min=0, help="Seconds of work an image may take (sound ones take less than one); 0 for any.")
]
IMAGE_TIMEOUT_S = 60.0


def seconds_or_none(seconds: float) -> float | None:
    """What 0 stands for."""
    return None if seconds == 0 else seconds


@contextmanager
def progress_bar(name: str, unit: str = "image") -> Iterator[Callable[[int, int | None], None]]:
    """`progress(images done, total)`, shown on stderr with the time that is left, where the total is known."""
    from tqdm import tqdm

    bar: tqdm | None = None  # not before there is something to show: a mistake ends in one line

    def show(done: int, total: int | None) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(desc=name, total=total, unit=unit, mininterval=0.5)
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()
