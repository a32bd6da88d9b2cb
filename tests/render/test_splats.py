"""What an image of splats is: closed forms, and every edge case with its defined answer, for both CPU backends."""

from __future__ import annotations

import logging
import math
import threading

import pytest
import torch
from torch import Tensor

from benchmarks.splat_scenes import nasty_scene
from sheap.geometry.cameras import Cameras, published_camera
from sheap.geometry.rotations import rotvec_to_matrix
from sheap.render import RenderedViews, Splats, rasterize_splats, splatting

BLACK = torch.zeros(3)
FIELDS = ("means", "quats_wxyz", "scales", "opacities", "colors")


@pytest.fixture(params=["cpu", "reference"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


def camera(height: int = 24, width: int = 24, focal: float = 100.0, num_views: int = 1) -> Cameras:
    """At the origin, looking along +z, the principal point in the middle of a pixel."""
    K = torch.tensor([[focal, 0, width // 2 + 0.5], [0, focal, height // 2 + 0.5], [0, 0, 1]])
    return Cameras(torch.eye(4).repeat(num_views, 1, 1), K.repeat(num_views, 1, 1), height, width)


def splat(**changes: object) -> Splats:
    """One splat a metre in front of the camera, facing it, 4 x 2 pixels of sigma, red, opacity 0.8."""
    values: dict[str, object] = {
        "means": [[0.0, 0.0, 1.0]],
        "quats_wxyz": [[1.0, 0.0, 0.0, 0.0]],
        "scales": [[0.04, 0.02]],
        "opacities": [0.8],
        "colors": [[1.0, 0.0, 0.0]],
    }
    return Splats(**{name: torch.as_tensor(value) for name, value in (values | changes).items()})


def joined(*splats: Splats) -> Splats:
    return Splats(
        *(torch.cat([getattr(one, name) for one in splats], -2 if name != "opacities" else -1) for name in FIELDS)
    )


def offsets(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Pixels from the principal point, x and y: [H, W] each."""
    y, x = torch.meshgrid(torch.arange(cameras.height), torch.arange(cameras.width), indexing="ij")
    return (x - cameras.width // 2).float(), (y - cameras.height // 2).float()


def leaves(splats: Splats) -> Splats:
    return Splats(*(getattr(splats, name).detach().clone().requires_grad_() for name in FIELDS))


def loss(views: RenderedViews) -> Tensor:
    return views.color.square().sum() + views.alpha.sum() + views.depth.sum() + views.normal.square().sum()


def assert_same_views(a: RenderedViews, b: RenderedViews, **tolerance: float) -> None:
    for name in ("color", "alpha", "depth", "normal", "contribution"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), **(tolerance or {"rtol": 0, "atol": 0}))


# --- closed forms


def test_facing_splat_is_a_gaussian_in_its_own_plane(backend: str):
    cameras = camera()
    views = rasterize_splats(splat(), cameras, background=torch.tensor([0.0, 0.0, 0.5]), backend=backend)
    x, y = offsets(cameras)
    alpha = 0.8 * torch.exp(-0.5 * ((x / 4) ** 2 + (y / 2) ** 2))
    alpha = torch.where(alpha >= 1 / 255, alpha, torch.zeros_like(alpha))
    assert torch.allclose(views.alpha[0, ..., 0], alpha, atol=1e-6)
    assert torch.allclose(views.color[0, ..., 0], alpha, atol=1e-6)
    assert torch.allclose(views.color[0, ..., 2], 0.5 * (1 - alpha), atol=1e-6)
    drawn = alpha > 0
    assert torch.allclose(views.depth[0, ..., 0][drawn], torch.ones(int(drawn.sum())), atol=1e-6)
    assert (views.depth[0, ..., 0][~drawn] == 0).all()
    # The third axis points away from the camera; the normal that is drawn faces it.
    assert torch.allclose(views.normal[0], -alpha[..., None] * torch.tensor([0.0, 0.0, 1.0]), atol=1e-6)
    assert torch.allclose(views.contribution[0], alpha.sum()[None], rtol=1e-5)


def test_tilted_splat_follows_perspective(backend: str):
    """Alpha at a pixel is the Gaussian where the pixel's ray meets the plane, found here by solving for it."""
    cameras = camera(40, 40, 60.0)
    turn = rotvec_to_matrix(torch.tensor([0.7, -0.9, 0.4]))
    quat = torch.tensor([[math.cos(0.6), *(math.sin(0.6) * torch.nn.functional.normalize(turn[0], dim=0)).tolist()]])
    from sheap.geometry.rotations import quat_wxyz_to_matrix

    rotation = quat_wxyz_to_matrix(quat)[0]
    mean = torch.tensor([[0.05, -0.04, 0.8]])
    views = rasterize_splats(
        splat(means=mean, quats_wxyz=quat, scales=[[0.15, 0.1]]), cameras, background=BLACK, backend=backend
    )
    x, y = offsets(cameras)
    rays = torch.stack([x / 60, y / 60, torch.ones_like(x)], -1).reshape(-1, 3)
    # u t_u + v t_v - t ray = -mean
    system = torch.stack([rotation[:, 0].expand(len(rays), 3), rotation[:, 1].expand(len(rays), 3), -rays], -1)
    u, v, _ = torch.linalg.solve(system, -mean.expand(len(rays), 3)).unbind(-1)
    alpha = 0.8 * torch.exp(-0.5 * ((u / 0.15) ** 2 + (v / 0.1) ** 2)).view(40, 40)
    inside = alpha > 2 / 255
    assert inside.sum() > 300
    assert torch.allclose(views.alpha[0, ..., 0][inside], alpha[inside], atol=1e-5)
    normal = rotation[:, 2] * -torch.sign(rotation[:, 2] @ mean[0])
    assert torch.allclose(views.normal[0][inside], alpha[inside][:, None] * normal, atol=1e-5)


def test_tiny_splat_is_seen_through_the_pixel_filter(backend: str):
    cameras = camera()
    views = rasterize_splats(splat(scales=[[1e-5, 1e-5]]), cameras, background=BLACK, backend=backend)
    x, y = offsets(cameras)
    alpha = 0.8 * torch.exp(-(x**2 + y**2))
    alpha = torch.where(alpha >= 1 / 255, alpha, torch.zeros_like(alpha))
    assert torch.allclose(views.alpha[0, ..., 0], alpha, atol=1e-6)
    assert (alpha > 0).sum() == 21, "a splat of no size still covers a disc of 2.3 pixels"


def test_splats_blend_front_to_back_by_depth(backend: str):
    back = splat(means=[[0.0, 0.0, 1.5]], colors=[[0.0, 1.0, 0.0]], opacities=[0.5])
    front = splat()
    for scene in (joined(back, front), joined(front, back)):
        views = rasterize_splats(scene, camera(), background=torch.ones(3), backend=backend)
        center = views.color[0, 12, 12]
        assert torch.allclose(center, torch.tensor([0.8 + 0.1, 0.2 * 0.5 + 0.1, 0.1]), atol=1e-5)
        assert torch.allclose(views.alpha[0, 12, 12], torch.tensor([0.9]), atol=1e-6)
        depth = (0.8 * 1 + 0.2 * 0.5 * 1.5) / 0.9
        assert torch.allclose(views.depth[0, 12, 12], torch.tensor([depth]), atol=1e-5)


def test_equal_depths_blend_in_the_order_of_the_splats(backend: str):
    green = splat(colors=[[0.0, 1.0, 0.0]])
    views = rasterize_splats(joined(splat(), green), camera(), background=BLACK, backend=backend)
    assert torch.allclose(views.color[0, 12, 12], torch.tensor([0.8, 0.16, 0.0]), atol=1e-6)
    views = rasterize_splats(joined(green, splat()), camera(), background=BLACK, backend=backend)
    assert torch.allclose(views.color[0, 12, 12], torch.tensor([0.16, 0.8, 0.0]), atol=1e-6)


def test_opaque_splat_stops_at_the_cap_and_ends_the_pixel(backend: str):
    opaque = splat(opacities=[1.0])
    views = rasterize_splats(opaque, camera(), background=BLACK, backend=backend)
    assert views.alpha[0, 12, 12, 0] == torch.tensor(0.999)
    # A second one would leave 1e-6 of the light: it does not count at all, nor does anything behind it.
    behind = [splat(means=[[0.0, 0.0, 1.0 + 0.1 * i]], opacities=[1.0], colors=[[0.0, 1.0, 0.0]]) for i in (1, 2)]
    views = rasterize_splats(joined(opaque, *behind), camera(), background=BLACK, backend=backend)
    assert torch.allclose(views.color[0, 12, 12], torch.tensor([0.999, 0.0, 0.0]), atol=1e-6)


def test_opacity_outside_its_range(backend: str):
    for opacity in (0.0, -1.0, 0.9 / 255):
        views = rasterize_splats(splat(opacities=[opacity]), camera(), background=torch.ones(3), backend=backend)
        assert (views.alpha == 0).all() and (views.color == 1).all() and (views.contribution == 0).all()
    views = rasterize_splats(splat(opacities=[50.0]), camera(), background=BLACK, backend=backend)
    assert float(views.alpha.max()) == pytest.approx(0.999, abs=1e-7)


def test_splat_larger_than_the_image(backend: str):
    views = rasterize_splats(splat(scales=[[50.0, 50.0]], opacities=[0.5]), camera(), background=BLACK, backend=backend)
    assert torch.allclose(views.alpha, torch.full_like(views.alpha, 0.5), atol=1e-4)


@pytest.mark.parametrize("depth", [-1.0, 0.0, 0.005])
def test_splats_behind_or_at_the_camera_are_not_drawn(backend: str, depth: float):
    hidden = leaves(splat(means=[[0.0, 0.0, depth]], scales=[[0.5, 0.5]]))
    views = rasterize_splats(hidden, camera(), background=BLACK, backend=backend)
    assert (views.alpha == 0).all()
    loss(views).backward()
    assert all((getattr(hidden, name).grad == 0).all() for name in FIELDS)
    assert (views.splat_positional_gradients == 0).all()


def test_splat_seen_exactly_edge_on(backend: str):
    """The rays lie in its plane or miss it: no NaN, and at most a line."""
    edge_on = leaves(splat(quats_wxyz=[[math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0]]))
    views = rasterize_splats(edge_on, camera(), background=BLACK, backend=backend)
    assert (views.alpha > 0).any(-2).sum() <= 24 * 5
    loss(views).backward()
    for name in FIELDS:
        assert getattr(edge_on, name).grad.isfinite().all(), name


def test_splat_across_the_camera_plane(backend: str):
    """Its centre is in front, its far side behind the camera: drawn by gsplat's rule, finite, with finite gradients."""
    across = leaves(splat(means=[[0.05, 0.0, 0.1]], quats_wxyz=[[0.8, 0.1, 0.6, 0.0]], scales=[[0.5, 0.3]]))
    views = rasterize_splats(across, camera(), background=BLACK, backend=backend)
    loss(views).backward()
    for name in FIELDS:
        assert getattr(across, name).grad.isfinite().all(), name


# --- quaternions


def test_quaternions_of_any_length(backend: str):
    unit = torch.nn.functional.normalize(torch.tensor([[0.7, 0.3, -0.5, 0.2]]), dim=-1)
    expected = leaves(splat(quats_wxyz=unit))
    expected_views = rasterize_splats(expected, camera(), background=BLACK, backend=backend)
    loss(expected_views).backward()
    for factor in (1e-3, 37.0, -2.0):
        scaled = leaves(splat(quats_wxyz=factor * unit))
        views = rasterize_splats(scaled, camera(), background=BLACK, backend=backend)
        assert_same_views(views, expected_views, rtol=1e-4, atol=1e-5)
        loss(views).backward()
        grad, expected_grad = scaled.quats_wxyz.grad * factor, expected.quats_wxyz.grad
        assert torch.allclose(grad, expected_grad, rtol=1e-3, atol=1e-4 * float(expected_grad.abs().max()))


def test_zero_quaternion_is_the_identity_and_has_no_gradient(backend: str):
    zero = leaves(splat(quats_wxyz=[[0.0, 0.0, 0.0, 0.0]]))
    views = rasterize_splats(zero, camera(), background=BLACK, backend=backend)
    assert_same_views(views, rasterize_splats(splat(), camera(), background=BLACK, backend=backend))
    loss(views).backward()
    assert (zero.quats_wxyz.grad == 0).all()
    assert (zero.opacities.grad != 0).all()


# --- nothing to draw


def test_no_splats(backend: str):
    none = leaves(Splats(*(torch.zeros(2, 0, *rest) for rest in ((3,), (4,), (2,), (), (3,)))))
    background = torch.tensor([0.1, 0.2, 0.3], requires_grad=True)
    views = rasterize_splats(none, camera(num_views=3), background=background, backend=backend)
    assert views.color.shape == (2, 3, 24, 24, 3) and (views.color == background).all()
    assert (views.alpha == 0).all() and (views.depth == 0).all() and (views.normal == 0).all()
    assert views.contribution.shape == (2, 3, 0)
    loss(views).backward()
    assert none.means.grad.shape == (2, 0, 3) and (background.grad > 0).all()
    assert views.splat_positional_gradients.shape == (2, 3, 0, 2)


def test_no_scenes_and_no_pixels(backend: str):
    empty = Splats(*(getattr(splat(), name)[None][:0] for name in FIELDS))
    assert rasterize_splats(empty, camera(), background=BLACK, backend=backend).color.shape == (0, 1, 24, 24, 3)
    flat = Cameras(camera().world_to_cam, camera().K, 0, 24)
    assert rasterize_splats(splat(), flat, background=BLACK, backend=backend).color.shape == (1, 0, 24, 3)


# --- shapes, dtypes, memory layouts


@pytest.mark.parametrize(("height", "width"), [(1, 1), (15, 16), (17, 33), (5, 50)])
def test_images_that_no_tile_divides(backend: str, height: int, width: int):
    """A small image is a cut-out of a large one (same tiles, same pixels)."""
    splats, cameras, background = nasty_scene("cloud", seed=3, height=64, width=64)
    whole = rasterize_splats(splats, cameras, background=background, backend=backend)
    small = Cameras(cameras.world_to_cam, cameras.K, height, width)
    part = rasterize_splats(splats, small, background=background, backend=backend)
    for name in ("color", "alpha", "depth", "normal"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[..., :height, :width, :]), name


@pytest.mark.parametrize("num_colors", [1, 2, 5, 19])
def test_any_number_of_colors(backend: str, num_colors: int):
    splats, cameras, background = nasty_scene("cloud", seed=4, num_colors=num_colors)
    views = rasterize_splats(splats, cameras, background=background, backend=backend)
    assert views.color.shape[-1] == num_colors
    last = splats.replace(colors=splats.colors[..., -1:])
    alone = rasterize_splats(last, cameras, background=background[..., -1:], backend=backend)
    assert torch.allclose(views.color[..., -1:], alone.color, atol=1e-6)


def test_batch_and_views_equal_single_images(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=5, batch=2, num_views=3)
    together = leaves(splats)
    views = rasterize_splats(together, cameras, background=background, backend=backend)
    loss(views).backward()
    gradients = torch.zeros_like(splats.means)
    for scene in range(2):
        for view in range(3):
            one = leaves(Splats(*(getattr(splats, name)[scene] for name in FIELDS)))
            alone = Cameras(cameras.world_to_cam[scene, view, None], cameras.K[scene, view, None], 40, 56)
            single = rasterize_splats(one, alone, background=background[scene, view, None], backend=backend)
            assert torch.equal(single.color[0], views.color[scene, view])
            assert torch.equal(single.contribution[0], views.contribution[scene, view])
            loss(single).backward()
            gradients[scene] += one.means.grad
            assert torch.allclose(
                single.splat_positional_gradients[0], views.splat_positional_gradients[scene, view], rtol=1e-5
            )
    assert torch.allclose(together.means.grad, gradients, rtol=1e-4, atol=1e-5 * float(gradients.abs().max()))


def test_leading_dims_broadcast(backend: str):
    """One camera for a batch of scenes, one scene for a batch of cameras, two leading dims."""
    splats, cameras, background = nasty_scene("cloud", seed=6, batch=4)
    one_camera = Cameras(cameras.world_to_cam[0], cameras.K[0], 40, 56)
    views = rasterize_splats(splats, one_camera, background=background[0], backend=backend)
    assert views.color.shape == (4, 1, 40, 56, 3)
    one_scene = Splats(*(getattr(splats, name)[0] for name in FIELDS))
    assert rasterize_splats(one_scene, cameras, background=BLACK, backend=backend).color.shape == (4, 1, 40, 56, 3)
    grid = Splats(*(getattr(splats, name).unflatten(0, (2, 2)) for name in FIELDS))
    folded = rasterize_splats(grid, one_camera, background=background[0], backend=backend)
    assert torch.equal(folded.color.flatten(0, 1), views.color)
    assert folded.contribution.shape == (2, 2, 1, 60)


def test_backgrounds(backend: str):
    splats, cameras, _ = nasty_scene("cloud", seed=7, batch=2, num_views=2)
    plain = torch.tensor([0.2, 0.4, 0.6])
    expected = rasterize_splats(splats, cameras, background=plain, backend=backend)
    for shape in ((2, 3), (2, 2, 3), (2, 40, 56, 3), (2, 2, 40, 56, 3)):
        views = rasterize_splats(splats, cameras, background=plain.expand(shape), backend=backend)
        assert torch.equal(views.color, expected.color), shape
    image = torch.rand(2, 2, 40, 56, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    views = rasterize_splats(splats, cameras, background=image, backend=backend)
    difference = views.color - rasterize_splats(splats, cameras, background=BLACK, backend=backend).color
    assert torch.allclose(difference, (1 - views.alpha) * image, atol=1e-6)
    views.color.sum().backward()
    assert torch.allclose(image.grad, (1 - views.alpha).expand_as(image), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_are_rasterised_in_float32(dtype: torch.dtype):
    splats, cameras, background = nasty_scene("cloud", seed=8)
    rounded = leaves(splats.to(dtype))
    views = rasterize_splats(rounded, cameras, background=background.to(dtype), backend="cpu")
    assert views.color.dtype == torch.float32
    expected = rasterize_splats(
        splats.to(dtype).to(torch.float32), cameras, background=background.to(dtype).float(), backend="cpu"
    )
    assert_same_views(views, expected)
    loss(views).backward()
    assert rounded.means.grad.dtype == dtype and (rounded.colors.grad != 0).any()


def test_autocast_changes_nothing(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=9)
    expected = rasterize_splats(splats, cameras, background=background, backend=backend)
    with torch.autocast("cpu", torch.bfloat16):
        views = rasterize_splats(splats, cameras, background=background, backend=backend)
    assert_same_views(views, expected)


def test_non_contiguous_inputs(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=10, batch=2)
    spaced = Splats(
        *(
            torch.stack([getattr(splats, name), torch.full_like(getattr(splats, name), torch.nan)], -1)[..., 0]
            for name in FIELDS
        )
    )
    assert not spaced.means.is_contiguous()
    expected, wanted = leaves(splats), rasterize_splats(splats, cameras, background=background, backend=backend)
    views = rasterize_splats(spaced, cameras, background=background, backend=backend)
    assert_same_views(views, wanted)
    swapped = expected.replace(means=expected.means.transpose(0, 1).contiguous().transpose(0, 1))
    rasterize_splats(swapped, cameras, background=background, backend=backend).color.transpose(-2, -3).sum().backward()
    again = leaves(splats)
    rasterize_splats(again, cameras, background=background, backend=backend).color.sum().backward()
    assert torch.allclose(expected.means.grad, again.means.grad, rtol=1e-5, atol=1e-6)


# --- NaN and infinity


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("field", ["means", "quats_wxyz", "scales", "opacities"])
def test_a_non_finite_splat_is_not_drawn(backend: str, field: str, bad: float):
    splats, cameras, background = nasty_scene("cloud", seed=11)
    spoilt = getattr(splats, field).clone()
    spoilt[0, 7] = bad
    views = rasterize_splats(splats.replace(**{field: spoilt}), cameras, background=background, backend=backend)
    rest = torch.arange(60) != 7
    without = Splats(*(getattr(splats, name)[:, rest] for name in FIELDS))
    expected = rasterize_splats(without, cameras, background=background, backend=backend)
    for name in ("color", "alpha", "depth", "normal"):
        assert torch.equal(getattr(views, name), getattr(expected, name)), name


def test_check_finite_names_the_field():
    splats, cameras, background = nasty_scene("cloud", seed=12)
    rasterize_splats(splats, cameras, background=background, check_finite=True)
    for name in FIELDS:
        spoilt = getattr(splats, name).clone()
        spoilt.flatten()[5] = torch.nan
        spoilt.view(-1)[5] = torch.nan
        with pytest.raises(ValueError, match=rf"splats\.{name}: 1 of"):
            rasterize_splats(splats.replace(**{name: spoilt}), cameras, background=background, check_finite=True)
    nowhere = cameras.world_to_cam.clone()
    nowhere[..., 0, 3] = torch.inf
    with pytest.raises(ValueError, match=r"cameras\.world_to_cam"):
        rasterize_splats(splats, Cameras(nowhere, cameras.K, 40, 56), background=background, check_finite=True)
    with pytest.raises(ValueError, match="background"):
        rasterize_splats(splats, cameras, background=background * torch.nan, check_finite=True)


def test_nan_everywhere_neither_hangs_nor_crashes(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=13)
    nothing = leaves(Splats(*(torch.full_like(getattr(splats, name), torch.nan) for name in FIELDS)))
    views = rasterize_splats(nothing, cameras, background=background, backend=backend)
    assert (views.alpha == 0).all()
    lost = Cameras(cameras.world_to_cam * torch.nan, cameras.K, 40, 56)
    assert (rasterize_splats(splats, lost, background=background, backend=backend).alpha == 0).all()


def test_nan_from_above_reaches_only_gradients():
    splats, cameras, background = nasty_scene("cloud", seed=14)
    fresh = leaves(splats)
    views = rasterize_splats(fresh, cameras, background=background, backend="cpu")
    (views.color * torch.nan).sum().backward()
    assert fresh.colors.grad.isnan().any()


# --- autograd


def test_positional_gradients_need_a_backward_pass(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=15)
    views = rasterize_splats(splats, cameras, background=background, backend=backend)
    with pytest.raises(RuntimeError, match="splat_positional_gradients"):
        _ = views.splat_positional_gradients
    views = rasterize_splats(leaves(splats), cameras, background=background, backend=backend)
    with pytest.raises(RuntimeError, match="splat_positional_gradients"):
        _ = views.splat_positional_gradients
    loss(views).backward(retain_graph=True)
    once = views.splat_positional_gradients.clone()
    assert once.shape == (1, 1, 60, 2) and (once != 0).any()
    loss(views).backward()
    assert torch.allclose(views.splat_positional_gradients, 2 * once)


def test_positional_gradient_is_the_slope_of_moving_a_splat_on_the_image():
    """A splat facing the camera, moved by pixels: mean and filter centre both move with it."""
    cameras = camera()
    weights = torch.linspace(-1, 1, 24).expand(24, 24)[None, ..., None]

    def value(shift_px: float) -> Tensor:
        moved = splat(means=[[shift_px / 100, 0.0, 1.0]], scales=[[0.011, 0.011]])
        return (rasterize_splats(moved.to(torch.float64), cameras.to(torch.float64), background=BLACK,
                                 backend="reference").alpha * weights).sum()  # fmt: skip

    slope = (value(1e-4) - value(-1e-4)) / 2e-4
    views = rasterize_splats(leaves(splat(scales=[[0.011, 0.011]])), cameras, background=BLACK, backend="cpu")
    (views.alpha * weights).sum().backward()
    assert float(views.splat_positional_gradients[0, 0, 0]) == pytest.approx(float(slope), rel=1e-3)
    assert abs(float(views.splat_positional_gradients[0, 0, 1])) < 1e-5


def test_only_what_requires_a_gradient_gets_one(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=16)
    colored = splats.replace(colors=splats.colors.clone().requires_grad_())
    views = rasterize_splats(colored, cameras, background=background, backend=backend)
    loss(views).backward()
    assert colored.colors.grad is not None and splats.means.grad is None
    assert (views.splat_positional_gradients != 0).any()
    with torch.no_grad():
        assert not rasterize_splats(colored, cameras, background=background, backend=backend).color.requires_grad


def test_backward_twice_gives_the_same(backend: str):
    splats, cameras, background = nasty_scene("cloud", seed=17)
    fresh = leaves(splats)
    value = loss(rasterize_splats(fresh, cameras, background=background, backend=backend))
    first = torch.autograd.grad(value, fresh.means, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(value, fresh.means)[0])


def test_changing_an_input_before_backward_is_an_error():
    splats, cameras, background = nasty_scene("cloud", seed=18)
    fresh = leaves(splats)
    value = loss(rasterize_splats(fresh, cameras, background=background, backend="cpu"))
    with torch.no_grad():
        fresh.means.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_second_derivatives_are_refused_not_wrong():
    splats, cameras, background = nasty_scene("cloud", seed=19)
    fresh = leaves(splats)
    value = loss(rasterize_splats(fresh, cameras, background=background, backend="cpu"))
    (gradient,) = torch.autograd.grad(value, fresh.means, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_any_number_of_threads_gives_the_same_bits():
    splats, cameras, background = nasty_scene("cloud", seed=20, num_splats=400, batch=2, height=70, width=90)
    results = []
    before = torch.get_num_threads()
    try:
        for num_threads in (1, 2, 5):
            torch.set_num_threads(num_threads)
            fresh = leaves(splats)
            views = rasterize_splats(fresh, cameras, background=background, backend="cpu")
            views.color.sum().backward()
            results.append([views.color.detach(), views.contribution, *(getattr(fresh, name).grad for name in FIELDS)])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_two_python_threads_at_once():
    """A data loader and a training step may render at the same time."""
    scenes = [nasty_scene("cloud", seed=seed, num_splats=300) for seed in (21, 22)]
    expected = [rasterize_splats(s, c, background=b, backend="cpu").color for s, c, b in scenes]
    found: dict[int, list[Tensor]] = {0: [], 1: []}

    def render(index: int) -> None:
        splats, cameras, background = scenes[index]
        for _ in range(10):
            found[index].append(rasterize_splats(splats, cameras, background=background, backend="cpu").color)

    threads = [threading.Thread(target=render, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in (0, 1):
        assert len(found[index]) == 10 and all(torch.equal(image, expected[index]) for image in found[index])


# --- user mistakes


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"means": torch.zeros(1, 2)}, r"splats\.means"),
        ({"means": torch.zeros(3)}, r"splats\.means"),
        ({"quats_wxyz": torch.zeros(1, 3)}, r"splats\.quats_wxyz"),
        ({"scales": torch.zeros(1, 3)}, r"splats\.scales"),
        ({"opacities": torch.zeros(2)}, r"splats\.opacities"),
        ({"colors": torch.zeros(1, 0)}, r"splats\.colors"),
        ({"colors": torch.zeros(1, 3, dtype=torch.uint8)}, r"splats\.colors"),
    ],
)
def test_wrong_splats_are_named(changes: dict[str, Tensor], name: str):
    with pytest.raises(ValueError, match=name):
        rasterize_splats(splat(**changes), camera(), background=BLACK)


def test_wrong_cameras_and_background_are_named():
    good = camera()
    with pytest.raises(ValueError, match=r"cameras\.K"):
        rasterize_splats(splat(), Cameras(good.world_to_cam, good.K[..., :2], 24, 24), background=BLACK)
    with pytest.raises(ValueError, match=r"cameras\.world_to_cam"):
        rasterize_splats(splat(), Cameras(good.world_to_cam.expand(2, 4, 4), good.K, 24, 24), background=BLACK)
    skewed = good.K.clone()
    skewed[..., 0, 1] = 0.1
    with pytest.raises(ValueError, match=r"cameras\.K.*fx, 0, cx"):
        rasterize_splats(splat(), Cameras(good.world_to_cam, skewed, 24, 24), background=BLACK)
    moving = Cameras(good.world_to_cam.clone().requires_grad_(), good.K, 24, 24)
    with pytest.raises(ValueError, match=r"cameras\.world_to_cam: gradients"):
        rasterize_splats(splat(), moving, background=BLACK)
    batch = Splats(*(getattr(splat(), name).expand(3, *getattr(splat(), name).shape) for name in FIELDS))
    two = Cameras(good.world_to_cam.expand(2, 1, 4, 4), good.K.expand(2, 1, 3, 3), 24, 24)
    with pytest.raises(ValueError, match="do not broadcast"):
        rasterize_splats(batch, two, background=BLACK)
    for shape in ((4,), (2, 3), (24, 24, 3), (1, 1, 3)):
        with pytest.raises(ValueError, match="background"):
            rasterize_splats(splat(), good, background=torch.zeros(shape))


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


def test_auto_on_cuda_without_gsplat_falls_back_aloud(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    splatting._best_backend.cache_clear()
    monkeypatch.setattr(splatting, "why_no_gsplat", lambda: "no CUDA toolkit was found to compile it with")
    with caplog.at_level(logging.INFO, logger="sheap.render.splatting"):
        assert splatting._choose("auto", torch.device("cuda")) == "cpu"
    assert "no CUDA toolkit" in caplog.text and caplog.records[0].levelno == logging.WARNING
    splatting._best_backend.cache_clear()
