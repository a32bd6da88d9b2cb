"""Jinja as all pages and cards use it."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from sheap.data.codecs import encode_jpeg

TEMPLATES = Path(__file__).with_name("templates")


def html_environment() -> Environment:
    """Everything is escaped: names of files, people and origins are a user's and may hold anything."""
    environment = _environment(autoescape=True)
    environment.filters["words"] = lambda name: str(name).replace("_", " ")
    return environment


def markdown_environment() -> Environment:
    """Nothing is escaped: a card's cells are (pipeline.register)."""
    return _environment(autoescape=False)


def jpeg_url(picture: NDArray[np.uint8], quality: int) -> str:
    """A picture [H,W,3] uint8 RGB inside a page."""
    return data_url(encode_jpeg(picture, quality))


def data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _environment(*, autoescape: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
