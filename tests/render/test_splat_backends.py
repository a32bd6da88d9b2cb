"""Which backend runs, and what is said about it."""

from __future__ import annotations

import importlib
import logging
import sys
import types

import gsplat.cuda
import pytest
import torch

from sheap.geometry.cameras import published_camera
from sheap.render import rasterize_splats, splatting
from tests.render.made_splats import BLACK, camera, splat


def test_backend_is_checked():
    with pytest.raises(ValueError, match="backend"):
        rasterize_splats(splat(), camera(), background=BLACK, backend="opengl")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="CUDA"):
        rasterize_splats(splat(), camera(), background=BLACK, backend="gsplat")


def test_auto_says_once_which_backend_and_why(caplog: pytest.LogCaptureFixture):
    splatting._best_backend.cache_clear()
    with caplog.at_level(logging.INFO, logger="sheap.render.splatting"):
        for _ in range(3):
            views = rasterize_splats(splat(), published_camera(8), background=BLACK)
    assert [record.getMessage() for record in caplog.records] == [
        "splat rasteriser: compiled CPU kernel, as the splats are on cpu"
    ]
    assert views.color.shape == (1, 8, 8, 3)


def test_auto_on_cuda_without_gsplat_falls_back_aloud(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    splatting._best_backend.cache_clear()
    monkeypatch.setattr(splatting, "why_no_gsplat", lambda: "no CUDA toolkit was found to compile it with")
    with caplog.at_level(logging.INFO, logger="sheap.render.splatting"):
        assert splatting._choose("auto", torch.device("cuda")) == "cpu"
    assert "no CUDA toolkit" in caplog.text and caplog.records[0].levelno == logging.WARNING
    splatting._best_backend.cache_clear()


def test_auto_on_cuda_takes_gsplat_and_says_so_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    splatting._best_backend.cache_clear()
    asked = []
    monkeypatch.setattr(splatting, "why_no_gsplat", lambda: asked.append("once"))
    with caplog.at_level(logging.INFO, logger="sheap.render.splatting"):
        for index in (0, 1, 0):
            assert splatting._choose("auto", torch.device("cuda", index)) == "gsplat"
    assert [record.getMessage() for record in caplog.records] == ["splat rasteriser: gsplat, as the splats are on CUDA"]
    assert asked == ["once"]
    splatting._best_backend.cache_clear()


def test_why_no_gsplat_is_one_line_whatever_breaks(monkeypatch: pytest.MonkeyPatch):
    """A build of gsplat's kernels can fail with anything, in many lines."""
    broken = types.ModuleType("gsplat.cuda._backend")
    monkeypatch.setitem(sys.modules, "gsplat.cuda._backend", broken)
    monkeypatch.setattr(gsplat.cuda, "_backend", broken, raising=False)
    broken._C = None
    assert splatting.why_no_gsplat() == "no CUDA toolkit was found to compile it with"
    broken._C = object()
    assert splatting.why_no_gsplat() is None

    def fail(*_: object) -> None:
        raise RuntimeError("Error building extension 'gsplat_cuda'\nnvcc fatal: a page of output")

    monkeypatch.delitem(sys.modules, "gsplat.cuda._backend")
    monkeypatch.delattr(gsplat.cuda, "_backend")
    monkeypatch.setattr(importlib._bootstrap, "_find_spec", fail)
    assert splatting.why_no_gsplat() == "RuntimeError: Error building extension 'gsplat_cuda'"
