"""Files at addresses: whatever webdataset or fsspec knows."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import IO, cast

import fsspec
import webdataset

from sheap.data.manifest import MANIFEST_NAME, Manifest
from sheap.data.remote import is_address


def open_address(address: str) -> IO[bytes]:
    """webdataset's own way of opening where it has one (paths, http, gs, hf, pipe, ...), else fsspec's (s3, abfs, ...)."""
    scheme = address.partition(":")[0]
    if not is_address(address) or scheme == "file" or scheme in webdataset.gopen_schemes:
        return cast(IO[bytes], webdataset.gopen(address))
    filesystem, path = fsspec.url_to_fs(address)
    return filesystem.open(path, "rb")


def read_address(address: str) -> bytes:
    """A whole small file. Raises ValueError naming the address."""
    try:
        with closing(open_address(address)) as stream:
            content = stream.read()
    except FileNotFoundError:
        raise ValueError(f"{address}: not found") from None
    except (ImportError, OSError, ValueError) as error:
        raise ValueError(f"{address}: cannot be read ({' '.join(str(error).split())})") from None
    if not content:
        raise ValueError(f"{address}: empty or not found")  # what curl and other commands leave of an absent file
    return content


def read_manifest(shards: Path | str) -> Manifest:
    """The manifest of a shard folder or of the address of one. Raises ValueError naming it."""
    if not is_address(shards):
        return Manifest.read(Path(shards))
    where = f"{str(shards).rstrip('/')}/{MANIFEST_NAME}"
    return Manifest.from_json(read_address(where), where)
