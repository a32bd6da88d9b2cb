"""Every loss against a slow reference or a case whose value is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sheap.losses.alpha import alpha_loss
from sheap.losses.dinov2_distance import dinov2_distance
from sheap.losses.gaussian_regularisers import offset_regulariser, opacity_regulariser, scale_regulariser
from sheap.losses.geometry_consistency import depth_consistency, normal_consistency
from sheap.losses.landmarks import HIDDEN_WEIGHT, landmark_loss, visibility_weights
from sheap.losses.lpips import Lpips
from sheap.losses.photometric import photometric_loss
from sheap.losses.priors import expression_prior, eyelid_prior, lighting_prior, population_prior, pose_prior, shape_prior
from sheap.losses.ssim import ssim_loss


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_landmarks_weigh_each_point_and_scale_with_the_image() -> None:
    predicted, detected, weights = rand(2, 5, 2) * 50, rand(2, 5, 2, seed=1) * 50, rand(2, 5, seed=2)
    total = sum(
        float(weights[b, i]) * sum(abs(float(predicted[b, i, k] - detected[b, i, k])) for k in range(2)) / 50
        for b in range(2) for i in range(5)
    )  # fmt: skip
    loss = landmark_loss(predicted, detected, weights, 50)
    assert float(loss) == pytest.approx(total / float(weights.sum()), rel=1e-5)
    assert float(landmark_loss(2 * predicted, 2 * detected, weights, 100)) == pytest.approx(float(loss), rel=1e-5)


def test_landmarks_that_all_count_nothing_cost_nothing() -> None:
    assert float(landmark_loss(rand(1, 3, 2), rand(1, 3, 2, seed=1), torch.zeros(1, 3), 10)) == 0.0


@pytest.mark.parametrize(
    ("turn_deg", "expected"), [(0, 1.0), (60, 1.0), (85, None), (90, HIDDEN_WEIGHT), (150, HIDDEN_WEIGHT)]
)
def test_visibility_falls_as_a_face_turns_away(turn_deg: float, expected: float | None) -> None:
    angle = math.radians(turn_deg)
    side = torch.tensor([math.cos(angle), 0.0, -math.sin(angle)]) * 0.01
    up = torch.tensor([0.0, 0.01, 0.0])
    corners = torch.stack([-(side + up) / 3, side - (side + up) / 3, up - (side + up) / 3]).requires_grad_()
    weight = visibility_weights(corners[None], torch.tensor([0.0, 0.0, 1.0]))
    assert not weight.requires_grad
    if expected is None:
        assert HIDDEN_WEIGHT < float(weight) < 1
    else:
        assert float(weight) == pytest.approx(expected, abs=0.02)


def test_ssim_against_windows_one_by_one() -> None:
    x, y = rand(1, 14, 13, 2), rand(1, 14, 13, 2, seed=1)
    offsets = np.arange(11) - 5
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    values = []
    for row in range(14 - 10):
        for column in range(13 - 10):
            for channel in range(2):
                a = x[0, row : row + 11, column : column + 11, channel].double().numpy()
                b = y[0, row : row + 11, column : column + 11, channel].double().numpy()
                mean_a, mean_b = (window * a).sum(), (window * b).sum()
                var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
                covariance = (window * (a - mean_a) * (b - mean_b)).sum()
                values.append(
                    (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
                    / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))
                )  # fmt: skip
    assert float(ssim_loss(x, y)) == pytest.approx(1 - np.mean(values), abs=1e-5)
    assert float(ssim_loss(x, x)) == pytest.approx(0, abs=1e-6)


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="at least 11 px"):
        ssim_loss(rand(1, 8, 20, 3), rand(1, 8, 20, 3))


def test_photometric_and_alpha_are_mean_absolute_differences() -> None:
    x, y = rand(2, 4, 5, 3), rand(2, 4, 5, 3, seed=1)
    expected = float(np.abs(x.numpy() - y.numpy()).mean())
    assert float(photometric_loss(x, y)) == pytest.approx(expected, rel=1e-6)
    assert float(alpha_loss(x[..., :1], y[..., :1])) == pytest.approx(
        float(np.abs(x.numpy() - y.numpy())[..., 0].mean()), rel=1e-6
    )


def test_normals_cost_one_minus_the_cosine_weighted() -> None:
    z, x = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0])
    ours, theirs = torch.stack([z, x, -z]), torch.stack([z, z, z])
    assert float(normal_consistency(ours, theirs, torch.ones(3))) == pytest.approx((0 + 1 + 2) / 3)
    assert float(normal_consistency(ours, theirs, torch.tensor([1.0, 1.0, 0.0]))) == pytest.approx(0.5)


def test_depth_counts_where_both_were_seen_and_pulls_on_both() -> None:
    gaussian, mesh = (
        torch.tensor([[1.0], [1.2], [9.0]], requires_grad=True),
        torch.tensor([[1.1], [1.0], [0.0]], requires_grad=True),
    )
    loss = depth_consistency(gaussian, mesh, torch.tensor([[1.0], [0.5], [0.0]]))
    assert loss.item() == pytest.approx((0.1 + 0.5 * 0.2) / 1.5, rel=1e-5)
    loss.backward()
    assert gaussian.grad is not None and mesh.grad is not None
    assert torch.equal(gaussian.grad, -mesh.grad) and float(gaussian.grad[2]) == 0
    assert gaussian.grad[0] < 0 < gaussian.grad[1]


def test_dinov2_distance_is_one_minus_cosine_and_pulls_on_the_render_alone() -> None:
    def mean_color(images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))[:, None]

    rendered, target = rand(2, 6, 6, 3).requires_grad_(), rand(2, 6, 6, 3, seed=1).requires_grad_()
    loss = dinov2_distance(rendered, target, mean_color)
    a, b = rendered.detach().mean((1, 2)).numpy(), target.detach().mean((1, 2)).numpy()
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert float(loss) == pytest.approx(float((1 - cosine).mean()), abs=1e-6)
    loss.backward()
    assert rendered.grad is not None and rendered.grad.abs().max() > 0 and target.grad is None


def test_priors_have_their_least_at_rest() -> None:
    assert float(shape_prior(torch.tensor([[3.0, 4.0]]))) == pytest.approx(12.5)
    assert float(expression_prior(torch.tensor([[1.0, -1.0]]))) == pytest.approx(1.0)
    assert float(lighting_prior(torch.tensor([[2.0, 0.0]]))) == pytest.approx(2.0)
    assert float(eyelid_prior(torch.zeros(1, 2))) == 0
    assert float(eyelid_prior(torch.tensor([[1.0, 1.0]]))) == pytest.approx(0.1)
    assert float(eyelid_prior(torch.tensor([[-0.5, 0.0]]))) == pytest.approx((0.25 + 0.025) / 2)
    still = torch.zeros(1, 3)
    opening, closing, sideways = (torch.tensor([[v, s, 0.0]]) for v, s in ((0.2, 0.0), (-0.2, 0.0), (0.0, 0.2)))
    costs = [float(pose_prior(still, jaw, still)) for jaw in (still, opening, closing, sideways)]
    assert (
        costs[0] == 0
        and costs[1] == pytest.approx(0.04)
        and costs[2] == pytest.approx(0.44)
        and costs[3] == pytest.approx(0.4)
    )


def test_regularisers_leave_what_is_allowed_alone() -> None:
    offsets = torch.tensor([[0.5, 0.0, 0.0], [0.0, 3.0, 0.0]])
    assert float(offset_regulariser(offsets, free=1.0)) == pytest.approx(2.0, rel=1e-4)
    assert float(scale_regulariser(torch.tensor([[0.5, 2.0]]), largest=1.5)) == pytest.approx(0.125)
    assert float(opacity_regulariser(torch.tensor([0.0, 1.0, 0.5]))) == pytest.approx(0.25 / 3)


def test_offset_regulariser_has_a_gradient_at_zero() -> None:
    offsets = torch.zeros(1, 3, requires_grad=True)
    offset_regulariser(offsets, free=0.0).backward()
    assert torch.isfinite(offsets.grad).all()


@pytest.fixture(scope="module")
def lpips_files(tmp_path_factory: pytest.TempPathFactory):
    """VGG-16 and linear weights with the published names and shapes, thin in value."""
    folder = tmp_path_factory.mktemp("lpips")
    generator = torch.Generator().manual_seed(0)
    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    widths = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    backbone = {}
    for k, number in enumerate(numbers):
        weight = torch.randn(widths[k + 1], widths[k], 3, 3, generator=generator) * (2 / (9 * widths[k])) ** 0.5
        backbone[f"features.{number}.weight"], backbone[f"features.{number}.bias"] = weight, torch.zeros(widths[k + 1])
    linear = {
        f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1, generator=generator)
        for k, c in enumerate((64, 128, 256, 512, 512))
    }
    save_file(backbone, folder / "vgg16.safetensors")
    torch.save(linear, folder / "vgg.pth")
    return folder, backbone, linear


def test_lpips_against_its_definition(lpips_files) -> None:
    folder, backbone, linear = lpips_files
    x, y = rand(1, 32, 32, 3), rand(1, 32, 32, 3, seed=1)

    def stages(image: torch.Tensor) -> list[torch.Tensor]:
        h = image.permute(0, 3, 1, 2) * 2 - 1
        h = (h - torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)) / torch.tensor([0.458, 0.448, 0.450]).view(
            3, 1, 1
        )
        out = []
        for stage in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
            if stage[0]:
                h = torch.max_pool2d(h, 2)
            for number in stage:
                h = torch.relu(torch.conv2d(h, backbone[f"features.{number}.weight"], padding=1))
            out.append(h / (h.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return out

    expected = sum(
        (((a - b) ** 2) * linear[f"lin{k}.model.1.weight"]).sum(1).mean()
        for k, (a, b) in enumerate(zip(stages(x), stages(y), strict=True))
    )
    lpips = Lpips(folder / "vgg16.safetensors", folder / "vgg.pth")
    rendered = x.clone().requires_grad_()
    loss = lpips(rendered, y)
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)
    assert float(lpips(y, y)) == 0.0
    loss.backward()
    assert rendered.grad.abs().max() > 0
    assert not any(p.requires_grad for p in lpips.parameters())


def test_lpips_names_the_file_and_tensor_that_is_missing(lpips_files, tmp_path) -> None:
    folder, backbone, _ = lpips_files
    cut = tmp_path / "cut.safetensors"
    save_file({k: v for k, v in backbone.items() if k != "features.10.bias"}, cut)
    with pytest.raises(ValueError, match=r"cut.safetensors: LPIPS needs 'features.10.bias'"):
        Lpips(cut, folder / "vgg.pth")
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        Lpips(cut, tmp_path / "absent.pth")


def test_population_prior_asks_for_a_mean_head_on_average_alone() -> None:
    shape = torch.randn(6, 5)
    assert float(population_prior(torch.cat([shape, -shape]))) == pytest.approx(0, abs=1e-12)
    assert float(population_prior(torch.ones(6, 5))) == pytest.approx(1)
