"""`rasterize_splats`: the one door to the splat rasteriser, whichever backend runs behind it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from sheap.geometry.cameras import Cameras
from sheap.render import splat_cpu, splat_reference
from sheap.render.splat_reference import Images, SummedViews
from sheap.render.types import RenderedViews, Splats

Backend = Literal["auto", "gsplat", "cpu", "reference"]

_log = logging.getLogger(__name__)


def rasterize_splats(
    splats: Splats,
    cameras: Cameras,
    *,
    background: Tensor,
    backend: Backend = "auto",
    check_finite: bool = False,
) -> RenderedViews:
    """Render scenes of flat Gaussians from V cameras each, differentiably to every tensor of `splats` and `background`.

    splats: [..., G, ...]. cameras: [..., V] views of one image size; K's skew must be 0. The leading dims broadcast
    (one camera serves a batch of scenes). background: [D], [..., V, D] or [..., V, H, W, D]. What an image is, is
    defined in `splat_rules`. Half precision is rasterised in float32, also under autocast; float64 only by
    "reference".

    backend: "gsplat" (CUDA only), "cpu" (compiled kernel; tensors elsewhere travel to the CPU and back),
    "reference" (plain torch, slow, any device), or "auto": gsplat for CUDA tensors where it compiles, else the CPU
    kernel, and one log line that says which and why.
    check_finite: a debug switch, which costs a pass over the inputs: NaN or infinity raises ValueError. Without it
    a splat with a non-finite mean, rotation, scale or opacity is not drawn and has no gradient; a non-finite colour
    shows in the image.

    Raises ValueError that names the field for wrong shapes, dtypes, devices, or (see above) values.
    """
    batch = _check(splats, cameras, background)
    if check_finite:
        _check_finite(splats, cameras, background)
    num_splats, num_views = splats.means.shape[-2], cameras.K.shape[-3]
    height, width, num_colors = cameras.height, cameras.width, splats.colors.shape[-1]
    name = _choose(backend, splats.means.device)
    dtype = torch.float64 if name == "reference" and splats.means.dtype == torch.float64 else torch.float32

    num_scenes = math.prod(batch)

    def flat(tensor: Tensor, own_dims: int) -> Tensor:
        own = tensor.shape[tensor.dim() - own_dims :]
        return tensor.to(dtype).expand(*batch, *own).reshape(num_scenes, *own)

    scenes = Splats(
        flat(splats.means, 2), flat(splats.quats_wxyz, 2), flat(splats.scales, 2), flat(splats.opacities, 1),
        flat(splats.colors, 2),
    )  # fmt: skip
    device = splats.means.device
    world_to_cam, K = flat(cameras.world_to_cam.to(device), 3), flat(cameras.K.to(device), 3)
    wants_gradients = torch.is_grad_enabled() and any(getattr(splats, f.name).requires_grad for f in fields(splats))

    with torch.autocast(device.type, enabled=False):
        backdrop = background.to(device, dtype)
        if not _is_image(backdrop.shape, (*batch, num_views, height, width, num_colors)):
            backdrop = backdrop[..., None, None, :]
        pixels = backdrop.shape[-3:]  # [H, W, D] or [1, 1, D]
        backdrop = backdrop.expand(*batch, num_views, *pixels).reshape(num_scenes, num_views, *pixels)
        if num_scenes == 0 or num_splats == 0 or num_views == 0 or height == 0 or width == 0:
            drawn = _draw_nothing(scenes, num_views, height, width, backdrop, wants_gradients)
        else:
            drawn = _BACKENDS[name](scenes, world_to_cam, K, height, width, backdrop, wants_gradients)
    views = (*batch, num_views)
    color, alpha, depth, normal = (image.reshape(*views, height, width, image.shape[-1]) for image in drawn.images)
    return RenderedViews(
        color=color,
        alpha=alpha,
        depth=depth,
        normal=normal,
        get_contribution=lambda: drawn.get_contribution().reshape(*views, num_splats),
        get_positional_gradients=lambda: _reshape(drawn.get_positional_gradients(), (*views, num_splats, 2)),
    )


def _hide_non_finite(scenes: Splats) -> Splats:
    """Scenes in which a splat with a non-finite mean, rotation, scale or opacity is an invisible one at the origin.

    For the backends that leave NaN to what comparisons make of it. The CPU kernel asks for itself.
    """
    places = {"means": scenes.means, "quats_wxyz": scenes.quats_wxyz, "scales": scenes.scales}
    # A sum is finite only if every part is: the usual case in one cheap pass.
    if bool(torch.stack([tensor.detach().sum() for tensor in (*places.values(), scenes.opacities)]).isfinite().all()):
        return scenes
    is_finite = scenes.opacities.isfinite()
    for tensor in places.values():
        is_finite = is_finite & tensor.isfinite().all(-1)
    return scenes.replace(
        opacities=scenes.opacities.where(is_finite, torch.zeros_like(scenes.opacities)),
        **{name: tensor.where(is_finite[..., None], torch.zeros_like(tensor)) for name, tensor in places.items()},
    )


class Drawn(NamedTuple):
    """One backend's answer for scenes [B, G, ...]. images: color, alpha, depth, normal, [B, V, H, W, ...] each."""

    images: Images
    get_contribution: Callable[[], Tensor]
    get_positional_gradients: Callable[[], Tensor | None]


def _draw_with_reference(
    scenes: Splats, world_to_cam: Tensor, K: Tensor, height: int, width: int, backdrop: Tensor, wants_gradients: bool
) -> Drawn:
    offsets = _screen_offsets(scenes, K.shape[1], wants_gradients)
    scenes = _hide_non_finite(scenes)
    summed, contribution = splat_reference.rasterize(scenes, world_to_cam, K, height, width, offsets)
    return Drawn(summed.over(backdrop), lambda: contribution, lambda: offsets.grad)


def _draw_on_cpu(
    scenes: Splats, world_to_cam: Tensor, K: Tensor, height: int, width: int, backdrop: Tensor, wants_gradients: bool
) -> Drawn:
    offsets = _screen_offsets(scenes, K.shape[1], wants_gradients)
    images, contribution = splat_cpu.rasterize(scenes, world_to_cam, K, height, width, backdrop, offsets)
    return Drawn(images, lambda: contribution, lambda: offsets.grad)


def _draw_with_gsplat(
    scenes: Splats, world_to_cam: Tensor, K: Tensor, height: int, width: int, backdrop: Tensor, wants_gradients: bool
) -> Drawn:
    from sheap.render import splat_gsplat  # imported on use: its own import is slow, and needless without CUDA

    scenes = _hide_non_finite(scenes)
    summed, get_contribution, get_gradients = splat_gsplat.rasterize(
        scenes, world_to_cam, K, height, width, wants_gradients
    )
    return Drawn(summed.over(backdrop), get_contribution, get_gradients)


_BACKENDS: dict[str, Callable[..., Drawn]] = {
    "reference": _draw_with_reference,
    "cpu": _draw_on_cpu,
    "gsplat": _draw_with_gsplat,
}


def _draw_nothing(scenes: Splats, num_views: int, height: int, width: int, backdrop: Tensor, wants_gradients: bool) -> Drawn:
    """Images without splats, joined to the inputs so that a backward pass finds (empty) gradients."""
    num_scenes, num_splats, num_colors = scenes.colors.shape
    none = sum(getattr(scenes, field.name).sum() * 0 for field in fields(scenes))
    zeros = scenes.means.new_zeros(num_scenes, num_views, height, width, num_colors + 5) + none
    summed = SummedViews(*zeros.split([num_colors, 1, 1, 3], -1))
    contribution = scenes.means.new_zeros(num_scenes, num_views, num_splats)
    offsets = _screen_offsets(scenes, num_views, wants_gradients)
    gradients = offsets.detach() if wants_gradients else None
    return Drawn(summed.over(backdrop), lambda: contribution, lambda: gradients)


def _screen_offsets(scenes: Splats, num_views: int, wants_gradients: bool) -> Tensor:
    """Zero offsets [B, V, G, 2] of every splat on the image, whose `.grad` are the positional gradients."""
    num_scenes, num_splats = scenes.opacities.shape
    return scenes.means.new_zeros(1).expand(num_scenes, num_views, num_splats, 2).requires_grad_(wants_gradients)


def _choose(backend: Backend, device: torch.device) -> str:
    if backend not in ("auto", *_BACKENDS):
        raise ValueError(f'backend: expected "auto", "gsplat", "cpu" or "reference", got {backend!r}')
    if backend == "auto":
        return _best_backend(device.type)
    if backend == "gsplat" and device.type != "cuda":
        raise ValueError(f'backend: "gsplat" needs CUDA tensors, splats.means is on {device}')
    return backend


@lru_cache
def _best_backend(device_type: str) -> str:
    """Decided, and said, once for each kind of device."""
    if device_type != "cuda":
        _log.info("splat rasteriser: compiled CPU kernel, as the splats are on %s", device_type)
        return "cpu"
    reason = why_no_gsplat()
    if reason is None:
        _log.info("splat rasteriser: gsplat, as the splats are on CUDA")
        return "gsplat"
    _log.warning("splat rasteriser: compiled CPU kernel, slow for splats on CUDA, as gsplat does not work: %s", reason)
    return "cpu"


def why_no_gsplat() -> str | None:
    """None if gsplat's CUDA kernels are there or compile (minutes, the first time), else one line that says why not."""
    try:
        from gsplat.cuda import _backend
    except Exception as error:  # a failed build can raise anything; every reason leads to the same, spoken, choice
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return "no CUDA toolkit was found to compile it with" if _backend._C is None else None


def _reshape(tensor: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
    return None if tensor is None else tensor.reshape(shape)


def _check(splats: Splats, cameras: Cameras, background: Tensor) -> torch.Size:
    """Shapes, dtypes and devices. Returns the leading dims that splats and cameras share."""
    own_dims = {"means": 2, "quats_wxyz": 2, "scales": 2, "opacities": 1, "colors": 2}
    widths = {"means": 3, "quats_wxyz": 4, "scales": 2}
    num_splats = splats.means.shape[-2] if splats.means.dim() >= 2 else -1
    leading = []
    for name, dims in own_dims.items():
        tensor = getattr(splats, name)
        own = tensor.shape[tensor.dim() - dims :]
        wanted = "[..., G]" if dims == 1 else f"[..., G, {widths.get(name, 'D')}]"
        wrong_width = name in widths and own[-1:] != (widths[name],)
        if tensor.dim() < dims or wrong_width or own[0] != num_splats or (name == "colors" and own[-1] < 1):
            raise ValueError(f"splats.{name}: expected {wanted} with G = {num_splats}, got {tuple(tensor.shape)}")
        if not tensor.is_floating_point():
            raise ValueError(f"splats.{name}: expected floats, got {tensor.dtype}")
        if tensor.device != splats.means.device:
            raise ValueError(f"splats.{name}: on {tensor.device}, but splats.means is on {splats.means.device}")
        leading.append((f"splats.{name}", tensor.shape[: tensor.dim() - dims]))
    for name, shape in {"world_to_cam": (4, 4), "K": (3, 3)}.items():
        tensor = getattr(cameras, name)
        if tensor.dim() < 3 or tensor.shape[-2:] != shape or tensor.shape[-3] != cameras.K.shape[-3]:
            raise ValueError(f"cameras.{name}: expected [..., V, {shape[0]}, {shape[1]}], got {tuple(tensor.shape)}")
        if torch.is_grad_enabled() and tensor.requires_grad:
            raise ValueError(f"cameras.{name}: gradients to cameras are not computed; move the splats, or detach it")
        leading.append((f"cameras.{name}", tensor.shape[:-3]))
    if cameras.height < 0 or cameras.width < 0:
        raise ValueError(f"cameras: height and width must not be negative, got {cameras.height} x {cameras.width}")
    off_form = cameras.K.detach()[..., (0, 1, 2, 2, 2), (1, 0, 0, 1, 2)] - cameras.K.new_tensor([0, 0, 0, 0, 1])
    if bool((off_form != 0).any()):
        raise ValueError("cameras.K: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")
    batch = torch.Size()
    for name, shape in leading:
        if not shape or shape == batch:
            continue  # the usual case, and torch's answer takes a tenth of a millisecond
        try:
            batch = torch.broadcast_shapes(batch, shape)
        except RuntimeError:
            raise ValueError(f"{name}: leading dims {tuple(shape)} do not broadcast with {tuple(batch)}") from None
    num_views, num_colors = cameras.K.shape[-3], splats.colors.shape[-1]
    full = (*batch, num_views, cameras.height, cameras.width, num_colors)
    shape = background.shape
    plain = (*batch, num_views, num_colors)
    if not shape or shape[-1] != num_colors or not (_is_image(shape, full) or _fits(shape, plain)):
        raise ValueError(
            f"background: expected [{num_colors}], [..., {num_views}, {num_colors}] or [..., {num_views}, "
            f"{cameras.height}, {cameras.width}, {num_colors}], got {tuple(shape)}"
        )
    return batch


def _is_image(shape: torch.Size, full: tuple[int, ...]) -> bool:
    """Whether a background is images [..., V, H, W, D]. V must be spelt out: [H, W, D] could be [..., V, D]."""
    return len(shape) >= 4 and shape[-3:-1] == full[-3:-1] and _fits(shape, full)


def _fits(shape: torch.Size, target: tuple[int, ...]) -> bool:
    if len(shape) > len(target):
        return False
    return all(own in (1, wanted) for own, wanted in zip(reversed(shape), reversed(target)))


def _check_finite(splats: Splats, cameras: Cameras, background: Tensor) -> None:
    named = {f"splats.{field.name}": getattr(splats, field.name) for field in fields(splats)}
    named |= {"cameras.world_to_cam": cameras.world_to_cam, "cameras.K": cameras.K, "background": background}
    for name, tensor in named.items():
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise ValueError(f"{name}: {bad} of {tensor.numel()} values are NaN or infinite")
