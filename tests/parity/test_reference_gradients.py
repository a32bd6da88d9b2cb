"""The reference's gradients against finite differences, in float64.

Along random directions. The image jumps at an alpha of 1/255 and where a pixel ends: the loss looks at settled pixels
only, where no decision is close, so that a step of 1e-6 stays on one side.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.splat_parity import IMAGES, PARAMETERS, settled_pixels
from benchmarks.splat_scenes import NASTY_KINDS, nasty_scene
from sheap.render import Splats, rasterize_splats


@pytest.mark.parametrize("kind", NASTY_KINDS)
def test_finite_differences(kind: str):
    # Of these kinds few splats are seen.
    num_splats = 60 if kind in ("behind", "faint", "points") else 8
    splats, cameras, background = nasty_scene(kind, seed=40, num_splats=num_splats, height=18, width=10, num_colors=2)
    if kind == "coincident":
        # Equal depths stay equal only while no mean is moved: their own derivative does not exist.
        splats = splats.replace(means=splats.means + 1e-3 * torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
    settled = settled_pixels(splats, cameras)[..., None]
    assert settled.double().mean() > 0.8
    splats, cameras, background = splats.to(torch.float64), cameras.to(torch.float64), background.double()
    leaves = [getattr(splats, name).requires_grad_() for name in PARAMETERS]

    def images(*values: Tensor) -> Tensor:
        views = rasterize_splats(Splats(*values), cameras, background=background, backend="reference")
        return torch.cat([getattr(views, name) for name in IMAGES], -1) * settled

    assert float(images(*leaves)[..., 2].detach().max()) > (0.015 if kind == "faint" else 0.1), "it must be seen"
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(images(*leaves).shape, generator=generator, dtype=torch.float64)
    exact = torch.autograd.grad((images(*leaves) * weights).sum(), leaves)
    step = 1e-6
    for index, (name, gradient) in enumerate(zip(PARAMETERS, exact, strict=True)):
        assert float(gradient.abs().max()) > 0, name
        if kind == "points" and name == "scales":
            continue  # no ray meets a splat of no width: at a scale of exactly 0 the image jumps
        for _ in range(4):
            direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
            ends = []
            for sign in (1, -1):
                values = [leaf.detach() for leaf in leaves]
                values[index] = values[index] + sign * step * direction
                ends.append((images(*values) * weights).sum())
            numeric = float(ends[0] - ends[1]) / (2 * step)
            wanted = float((gradient * direction).sum())
            # Measured: at most 1.2e-5 of the gradient's length, over all kinds, parameters and directions.
            assert abs(numeric - wanted) < 1e-4 * float(gradient.norm()), (name, numeric, wanted)
