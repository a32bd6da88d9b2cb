"""gsplat's CUDA kernels against the float64 reference: the same suite that the CPU backend passes. Needs a GPU.

`python -m benchmarks.rasterize_cuda` runs it outside pytest and prints times.
"""

from __future__ import annotations

import pytest
import torch

from benchmarks.rasterize_cuda import parity
from benchmarks.splat_parity import HEAD
from benchmarks.splat_scenes import NASTY_KINDS, head_splats
from sheap.geometry.cameras import published_camera
from sheap.render import rasterize_splats
from sheap.render.mesh_zbuffer import zbuffer_numba, zbuffer_torch
from sheap.render.splatting import why_no_gsplat

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True, scope="module")
def needs_gsplat() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    reason = why_no_gsplat()
    if reason is not None:
        pytest.skip(f"gsplat does not work here: {reason}")


@pytest.mark.parametrize("kind", [*NASTY_KINDS, HEAD])
def test_images_gradients_and_contributions_agree(kind: str):
    found = parity(kind, 4)
    assert found.passed, found


def test_auto_takes_gsplat_and_contributions_agree():
    splats, camera = head_splats(2000, batch=2), published_camera(96)
    on_cpu = rasterize_splats(splats, camera, background=torch.ones(3), backend="cpu")
    on_cuda = rasterize_splats(splats.to("cuda"), camera.to("cuda"), background=torch.ones(3, device="cuda"))
    assert on_cuda.color.is_cuda
    assert on_cuda.contribution.shape == (2, 1, 2000) and not on_cuda.contribution.requires_grad
    # Single pixels may fall on either side of a cut: means over the image and per splat, to a thousandth.
    assert float((on_cuda.color.cpu() - on_cpu.color).abs().mean()) < 1e-3
    total = on_cpu.contribution.sum(-1)
    assert torch.allclose(on_cuda.contribution.sum(-1).cpu(), total, rtol=1e-3)


def test_cpu_backend_takes_cuda_tensors_there_and_back():
    splats, camera = head_splats(500), published_camera(48)
    expected = rasterize_splats(splats, camera, background=torch.ones(3), backend="cpu")
    there = splats.to("cuda").replace(means=splats.means.cuda().requires_grad_())
    views = rasterize_splats(there, camera, background=torch.ones(3), backend="cpu")
    assert views.color.is_cuda and torch.equal(views.color.cpu(), expected.color)
    views.color.sum().backward()
    assert there.means.grad.is_cuda and views.splat_positional_gradients.is_cuda


def test_no_splat_in_sight():
    splats, camera = head_splats(10).to("cuda"), published_camera(32).to("cuda")
    away = splats.replace(means=(splats.means + 100).requires_grad_())
    views = rasterize_splats(away, camera, background=torch.ones(3, device="cuda"))
    assert (views.color == 1).all() and (views.alpha == 0).all()
    views.color.sum().backward()
    assert (away.means.grad == 0).all() and (views.splat_positional_gradients == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_mesh_zbuffer_agrees(seed: int):
    generator = torch.Generator().manual_seed(seed)
    vertices = 0.1 * torch.randn(2, 60, 3, generator=generator) + torch.tensor([0, 0, 1.0])
    faces = torch.randint(0, 60, (80, 3), generator=generator)
    K = published_camera(64).K.expand(2, 3, 3)
    expected = zbuffer_numba(vertices, faces, K, 64, 64)
    found = zbuffer_torch(vertices.cuda(), faces.cuda(), K.cuda(), 64, 64).cpu()
    # A pixel centre within rounding of an edge may differ.
    assert float((expected != found).double().mean()) < 1e-3
