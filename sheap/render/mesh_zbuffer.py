"""Which face does each pixel see? A compiled kernel for the CPU, plain torch for other devices, one answer.

Both use homogeneous edge functions (Olano and Greer, "Triangle scan conversion using 2D homogeneous coordinates",
1997): a ray d (z = 1) meets the face of corners v0, v1, v2 with weights proportional to e_i = d . (v_j x v_k), at
depth v0 . (v1 x v2) / sum e. No corner is divided by its depth, so a face that crosses the camera's plane needs no
clipping.
Everything is in float64, where neighbours agree about their shared edge: no pixel falls between them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sheap.render.compiled import compiled
from sheap.render.threads import for_each_range

NEAR_PLANE = 0.01
"""Metres: nearer points are not seen (the splat rasteriser's near plane)."""

_PAIRS_AT_ONCE = 1 << 22
"""Face-pixel pairs that the torch path holds at a time (about 100 bytes each)."""


def zbuffer_numba(in_cam: Tensor, faces: Tensor, K: Tensor, height: int, width: int) -> Tensor:
    """Face ids [I, H, W] (int64, -1 none) of vertices in camera axes [I, N, 3], with K [I, 3, 3]."""
    corners = in_cam.double().index_select(1, faces.flatten()).unflatten(1, (-1, 3)).contiguous().numpy()
    inverse_K = torch.linalg.inv(K.double()).contiguous().numpy()
    K_pixels = K.double().contiguous().numpy()
    num_images, num_faces = corners.shape[:2]
    edges = np.empty((num_images, num_faces, 10))
    boxes = np.empty((num_images, num_faces, 4), np.int32)
    face_ids = np.full((num_images, height, width), -1, np.int64)
    depths = np.full((num_images, height, width), np.inf, np.float32)

    def set_up(start: int, stop: int) -> None:
        for image in range(num_images):
            _set_up_faces(corners[image], K_pixels[image], inverse_K[image], height, width,
                          start, stop, edges[image], boxes[image])  # fmt: skip

    # Bands of rows: a single image, too, has work for every thread.
    num_bands = max(1, min(height, 16 // max(num_images, 1)))

    def draw(start: int, stop: int) -> None:
        for task in range(start, stop):
            image, band = divmod(task, num_bands)
            _draw_faces(edges[image], boxes[image], height * band // num_bands, height * (band + 1) // num_bands,
                        face_ids[image], depths[image])  # fmt: skip

    for_each_range(set_up, num_faces, ranges_per_thread=1)
    for_each_range(draw, num_images * num_bands)
    return torch.from_numpy(face_ids)


@compiled
def _set_up_faces(corners, K, inverse_K, height, width, start, stop, edges, boxes):
    """Per face: its three edge functions as rows (a, b, c) over pixels, its volume, and its box of pixels."""
    for face in range(start, stop):
        boxes[face, :] = 0
        finite = True
        for i in range(3):
            for j in range(3):
                finite = finite and np.isfinite(corners[face, i, j])
        if not finite:
            continue
        v0, v1, v2 = corners[face, 0], corners[face, 1], corners[face, 2]
        for i in range(3):
            p, q = (v1, v2) if i == 0 else ((v2, v0) if i == 1 else (v0, v1))
            nx = p[1] * q[2] - p[2] * q[1]
            ny = p[2] * q[0] - p[0] * q[2]
            nz = p[0] * q[1] - p[1] * q[0]
            for j in range(3):  # from ray space to pixels: (K^-1)^T n
                edges[face, 3 * i + j] = nx * inverse_K[0, j] + ny * inverse_K[1, j] + nz * inverse_K[2, j]
            if i == 0:
                edges[face, 9] = v0[0] * nx + v0[1] * ny + v0[2] * nz
        nearest = min(v0[2], v1[2], v2[2])
        farthest = max(v0[2], v1[2], v2[2])
        if farthest <= NEAR_PLANE or edges[face, 9] == 0.0:
            continue
        if nearest <= NEAR_PLANE:
            boxes[face, 1], boxes[face, 3] = width, height
            continue
        left, right, top, bottom = np.inf, -np.inf, np.inf, -np.inf
        for i in range(3):
            v = corners[face, i]
            x = (K[0, 0] * v[0] + K[0, 1] * v[1]) / v[2] + K[0, 2]
            y = (K[1, 0] * v[0] + K[1, 1] * v[1]) / v[2] + K[1, 2]
            left, right = min(left, x), max(right, x)
            top, bottom = min(top, y), max(bottom, y)
        # Pixel centres lie at +0.5. Limits first, so that a far-off face never overflows an integer.
        boxes[face, 0] = np.int32(np.floor(min(max(left - 0.5, 0.0), np.float64(width))))
        boxes[face, 1] = np.int32(np.ceil(min(max(right + 0.5, 0.0), np.float64(width))))
        boxes[face, 2] = np.int32(np.floor(min(max(top - 0.5, 0.0), np.float64(height))))
        boxes[face, 3] = np.int32(np.ceil(min(max(bottom + 0.5, 0.0), np.float64(height))))


@compiled
def _draw_faces(edges, boxes, row_start, row_stop, face_ids, depths):
    """Draw every face into the rows [row_start, row_stop) of one image."""
    for face in range(edges.shape[0]):
        left, right = boxes[face, 0], boxes[face, 1]
        top, bottom = max(boxes[face, 2], row_start), min(boxes[face, 3], row_stop)
        if left >= right or top >= bottom:
            continue
        a0, b0, c0 = edges[face, 0], edges[face, 1], edges[face, 2]
        a1, b1, c1 = edges[face, 3], edges[face, 4], edges[face, 5]
        a2, b2, c2 = edges[face, 6], edges[face, 7], edges[face, 8]
        volume = edges[face, 9]
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
    corners = in_cam.double().index_select(1, faces.flatten()).unflatten(1, (-1, 3))  # [I, F, 3, 3]
    K = K.double()
    num_images, num_faces = corners.shape[:2]
    v0, v1, v2 = corners.unbind(-2)
    normals = torch.stack(
        [torch.linalg.cross(v1, v2), torch.linalg.cross(v2, v0), torch.linalg.cross(v0, v1)], -2
    )  # [I, F, 3 edges, 3]
    volume = (v0 * normals[..., 0, :]).sum(-1)
    edges = normals @ torch.linalg.inv(K)[:, None]  # rows (a, b, c) over pixels
    side = torch.where(volume > 0, 1.0, -1.0).to(volume)

    depth = corners[..., 2]
    nearest, farthest = depth.amin(-1), depth.amax(-1)
    projected = corners[..., :2] / depth[..., None] @ K[:, None, :2, :2].transpose(-1, -2) + K[:, None, None, :2, 2]
    limits = projected.new_tensor([width, height])
    crosses = (nearest <= NEAR_PLANE)[..., None]
    low = torch.where(crosses, torch.zeros_like(limits), torch.nan_to_num(projected.amin(-2) - 0.5))
    high = torch.where(crosses, limits, torch.nan_to_num(projected.amax(-2) + 0.5))
    low = low.clamp_min(0).minimum(limits).floor().long()
    high = high.clamp_min(0).minimum(limits).ceil().long()
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
