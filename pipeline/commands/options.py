"""Options that commands share: which model, and the files that it needs beside it."""

from __future__ import annotations

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
