"""What goes into and comes out of the splat rasteriser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sheap.records import TensorRecord


@dataclass(frozen=True)
class Splats(TensorRecord):
    """Scenes of G flat Gaussians each, in the world. Leading dims `...` are scenes.

    means: [..., G, 3] metres. quats_wxyz: [..., G, 4], any length (a zero one is the identity): the rotation's
    first two columns span the splat's plane, the third is its normal. scales: [..., G, 2] metres, one sigma along
    the first two columns. opacities: [..., G] in [0, 1]. colors: [..., G, D], any D >= 1.
    """

    means: Tensor
    quats_wxyz: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor


@dataclass(frozen=True)
class RenderedViews:
    """Images of V views of every scene, float32 (float64 from the reference backend on float64 splats).

    color: [..., V, H, W, D], over the background. alpha: [..., V, H, W, 1] in [0, 1). depth: [..., V, H, W, 1] metres,
    the alpha-weighted mean of the splats' depths (0 where alpha is 0). normal: [..., V, H, W, 3] world, the
    weighted sum of unit normals that face the camera (its length is at most alpha).
    """

    color: Tensor
    alpha: Tensor
    depth: Tensor
    normal: Tensor
    get_contribution: Callable[[], Tensor]
    get_positional_gradients: Callable[[], Tensor | None]

    @property
    def contribution(self) -> Tensor:
        """[..., V, G]: what each splat added to the image, the sum of its weights over all pixels. No gradient."""
        return self.get_contribution()

    @property
    def splat_positional_gradients(self) -> Tensor:
        """[..., V, G, 2]: the loss's gradient per pixel (x, y) that a splat moves across the image, for densification.

        Filled by `backward()`, and summed over several; zero for splats that are not seen. Includes both ways in which
        a splat's place matters: where rays meet its plane, and the centre of its pixel filter.

        Raises RuntimeError before a backward pass, or if no splat tensor required a gradient.
        """
        gradients = self.get_positional_gradients()
        if gradients is None:
            raise RuntimeError(
                "splat_positional_gradients: no backward pass has reached these images (call loss.backward(), with "
                "splats that require a gradient, before reading it)"
            )
        return gradients
