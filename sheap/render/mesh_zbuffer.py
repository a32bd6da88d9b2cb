"""Which face does each pixel see? A compiled kernel for the CPU, plain torch for other devices, one answer.

Both use homogeneous edge functions (Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates",
1997). With p_i = K v_i of the corners in camera axes, the pixel (x, y, 1) has weights proportional to
e_i = (x, y, 1) . (p_j x p_k), at depth p_0 . (p_1 x p_2) / sum e. No corner is divided by its depth, so a face that
crosses the camera's plane needs no clipping. Everything is in float64, where neighbours agree about their shared edge:
no pixel falls between them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sheap.render.compiled import compiled
from sheap.render.threads import for_each_range

NEAR_PLANE = 0.01
"""Metres: nearer points are not seen (the splat rasteriser's near plane)."""

REACH = 0.5 + 1e-6
"""Pixels: a face's box holds the pixels whose centres it may touch, and float64's rounding besides."""

_PAIRS_AT_ONCE = 1 << 22
"""Face-pixel pairs that the torch path holds at a time (about 100 bytes each)."""


def zbuffer_numba(in_cam: Tensor, faces: Tensor, K: Tensor, height: int, width: int) -> Tensor:
    """Face ids [I, H, W] (int64, -1 none) of vertices in camera axes [I, N, 3], with K [I, 3, 3]."""
    points = (in_cam.double() @ K.double().transpose(-1, -2)).contiguous().numpy()
    corners = faces.contiguous().numpy()
    num_images = len(points)
    face_ids = np.full((num_images, height, width), -1, np.int64)
    depths = np.full((num_images, height, width), np.inf, np.float32)
    # Bands of rows where there are few images: a single one, too, has work for every thread.
    num_bands = max(1, min(height, 4 * torch.get_num_threads() // max(num_images, 1)))

    def draw(start: int, stop: int) -> None:
        for task in range(start, stop):
            image, band = divmod(task, num_bands)
            top, bottom = height * band // num_bands, height * (band + 1) // num_bands
            _draw_faces(points[image], corners, top, bottom, face_ids[image], depths[image])

    for_each_range(draw, num_images * num_bands)
    return torch.from_numpy(face_ids)


@compiled
def _draw_faces(
    points,  # [N, 3], K times camera axes
    corners,  # [F, 3] int64
    first_row,
    last_row,
    face_ids,  # [H, W] int64; written
    depths,  # [H, W] float32, metres; written
):
    """Draw every face into the rows [first_row, last_row) of one image."""
    width = face_ids.shape[1]
    for face in range(corners.shape[0]):
        i, j, k = corners[face, 0], corners[face, 1], corners[face, 2]
        x0, y0, z0 = points[i, 0], points[i, 1], points[i, 2]
        x1, y1, z1 = points[j, 0], points[j, 1], points[j, 2]
        x2, y2, z2 = points[k, 0], points[k, 1], points[k, 2]
        if not np.isfinite(x0 + y0 + z0 + x1 + y1 + z1 + x2 + y2 + z2) or max(z0, z1, z2) <= NEAR_PLANE:
            continue
        left, right, top, bottom = 0, width, first_row, last_row
        if min(z0, z1, z2) > NEAR_PLANE:
            u0, u1, u2 = x0 / z0, x1 / z1, x2 / z2
            v0, v1, v2 = y0 / z0, y1 / z1, y2 / z2
            # Pixel centres lie at +0.5. Limits first, so that a far-off face never overflows an integer.
            left = int(np.ceil(min(max(min(u0, u1, u2) - REACH, 0.0), float(width))))
            right = int(np.floor(min(max(max(u0, u1, u2) + REACH, 0.0), float(width))))
            top = int(np.ceil(min(max(min(v0, v1, v2) - REACH, float(first_row)), float(last_row))))
            bottom = int(np.floor(min(max(max(v0, v1, v2) + REACH, float(first_row)), float(last_row))))
            if left >= right or top >= bottom:
                continue
        a0, b0, c0 = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
        volume = x0 * a0 + y0 * b0 + z0 * c0
        if volume == 0.0:
            continue
        a1, b1, c1 = y2 * z0 - z2 * y0, z2 * x0 - x2 * z0, x2 * y0 - y2 * x0
        a2, b2, c2 = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1
        side = 1.0 if volume > 0.0 else -1.0
        for row in range(top, bottom):
            y = row + 0.5
            for column in range(left, right):
                x = column + 0.5
                e0 = (a0 * x + b0 * y + c0) * side
                e1 = (a1 * x + b1 * y + c1) * side
                e2 = (a2 * x + b2 * y + c2) * side
                if e0 >= 0.0 and e1 >= 0.0 and e2 >= 0.0:
                    total = e0 + e1 + e2
                    if total > 0.0:
                        depth = np.float32(volume * side / total)
                        if depth > NEAR_PLANE and depth < depths[row, column]:
                            depths[row, column] = depth
                            face_ids[row, column] = face


def zbuffer_torch(in_cam: Tensor, faces: Tensor, K: Tensor, height: int, width: int) -> Tensor:
    """`zbuffer_numba` in plain torch, for any device: the pairs (face, pixel of its box), reduced per pixel."""
    points = in_cam.double() @ K.double().transpose(-1, -2)
    corners = points.index_select(1, faces.flatten()).unflatten(1, (-1, 3))  # [I, F, 3, 3]
    num_images, num_faces = corners.shape[:2]
    p0, p1, p2 = corners.unbind(-2)
    edges = torch.stack([_cross(p1, p2), _cross(p2, p0), _cross(p0, p1)], -2)  # [I, F, 3 edges, 3]
    volume = (p0 * edges[..., 0, :]).sum(-1)
    side = torch.where(volume > 0, 1.0, -1.0).to(volume)

    depth = corners[..., 2]
    nearest, farthest = depth.amin(-1), depth.amax(-1)
    projected = corners[..., :2] / depth[..., None]
    limits = projected.new_tensor([width, height])
    crosses = (nearest <= NEAR_PLANE)[..., None]
    low = torch.where(crosses, torch.zeros_like(limits), torch.nan_to_num(projected.amin(-2) - REACH))
    high = torch.where(crosses, limits, torch.nan_to_num(projected.amax(-2) + REACH))
    low = low.clamp_min(0).minimum(limits).ceil().long()
    high = high.clamp_min(0).minimum(limits).floor().long()
    drawn = corners.isfinite().flatten(-2).all(-1) & (farthest > NEAR_PLANE) & (volume != 0)
    sizes = (high - low).clamp_min(0) * drawn[..., None]  # [I, F, 2]
    num_pairs = (sizes[..., 0] * sizes[..., 1]).flatten()  # [I * F]

    # One 64-bit key a pixel: the bits of a positive float32 depth, which order like the depth, then the face id.
    nothing = torch.iinfo(torch.int64).max
    keys = torch.full((num_images * height * width,), nothing, dtype=torch.int64, device=in_cam.device)
    ends = num_pairs.cumsum(0)
    first = 0
    while first < num_pairs.numel():
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(torch.searchsorted(ends, before + _PAIRS_AT_ONCE, right=True)))
        counts = num_pairs[first:last]
        owner = torch.repeat_interleave(torch.arange(first, last, device=in_cam.device), counts)
        within = torch.arange(owner.numel(), device=in_cam.device) - (ends[owner] - num_pairs[owner] - before)
        row_length = sizes[..., 0].flatten()[owner].clamp_min(1)
        column = low[..., 0].flatten()[owner] + within % row_length
        row = low[..., 1].flatten()[owner] + within // row_length
        a, b, c = edges.flatten(0, 1)[owner].unbind(-1)
        e = (a * (column + 0.5)[:, None] + b * (row + 0.5)[:, None] + c) * side.flatten()[owner, None]
        total = e.sum(-1)
        depth = (volume.flatten()[owner] * side.flatten()[owner] / total).float()
        hit = (e >= 0).all(-1) & (total > 0) & (depth > NEAR_PLANE) & depth.isfinite()
        owner, column, row, depth = owner[hit], column[hit], row[hit], depth[hit]
        key = (depth.contiguous().view(torch.int32).long() << 32) | (owner % num_faces)
        pixel = (owner // num_faces * height + row) * width + column
        keys.scatter_reduce_(0, pixel, key, "amin")
        first = last
    face_ids = torch.where(keys == nothing, torch.full_like(keys, -1), keys & 0xFFFFFFFF)
    return face_ids.view(num_images, height, width)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """The cross product, each term as the kernel has it, so that both round alike."""
    ax, ay, az = a.unbind(-1)
    bx, by, bz = b.unbind(-1)
    return torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)
