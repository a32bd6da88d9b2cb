"""The compiled loops of the box tree and of NoW's normal equations, on flat arrays.

All in one file: numba keeps compiled code on disk until *this* file changes, and would not notice a helper that changed
in another one.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_STACK = 128
"""Deep enough for any tree: its halves differ by one face at most, so its depth is the logarithm of the faces."""


@njit(cache=True, nogil=True, error_model="numpy")
def build_tree(corners, leaf_faces):
    """Boxes in depth-first order: a node's left child follows it, `skip` is its right child (0 for a leaf).

    Every node is split at the median of its face centres along the longest side of their box.
    """
    num_faces = corners.shape[0]
    order = np.arange(num_faces)
    centres = np.empty((num_faces, 3))
    for face in range(num_faces):
        for axis in range(3):
            centres[face, axis] = (corners[face, 0, axis] + corners[face, 1, axis] + corners[face, 2, axis]) / 3.0
    limit = 2 * num_faces
    boxes = np.empty((limit, 6))
    skip = np.zeros(limit, dtype=np.int64)
    first = np.zeros(limit, dtype=np.int64)
    count = np.zeros(limit, dtype=np.int64)
    stack = np.empty((_STACK, 3), dtype=np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, num_faces, -1
    depth, used = 1, 0
    while depth > 0:
        depth -= 1
        start, end, parent = stack[depth, 0], stack[depth, 1], stack[depth, 2]
        node = used
        used += 1
        if parent >= 0:
            skip[parent] = node
        for axis in range(3):
            low, high = np.inf, -np.inf
            for slot in range(start, end):
                for corner in range(3):
                    value = corners[order[slot], corner, axis]
                    low, high = min(low, value), max(high, value)
            boxes[node, axis], boxes[node, 3 + axis] = low, high
        first[node] = start
        if end - start <= leaf_faces:
            count[node] = end - start
            continue
        widest, width = 0, -1.0
        for axis in range(3):
            low, high = np.inf, -np.inf
            for slot in range(start, end):
                value = centres[order[slot], axis]
                low, high = min(low, value), max(high, value)
            if high - low > width:
                widest, width = axis, high - low
        middle = (start + end) // 2
        _select(order, centres[:, widest], start, end, middle)
        # The right half waits below the left one, so the left child is the very next node.
        stack[depth, 0], stack[depth, 1], stack[depth, 2] = middle, end, node
        stack[depth + 1, 0], stack[depth + 1, 1], stack[depth + 1, 2] = start, middle, -1
        depth += 2
    return boxes[:used].copy(), skip[:used].copy(), first[:used].copy(), count[:used].copy(), order


@njit(cache=True, nogil=True, error_model="numpy")
def _select(order, keys, start, end, middle):
    """Reorders order[start:end] so that no key before `middle` is above one from it on (Hoare's selection).

    Written out because numba's own sort takes longer to compile than everything else here together.
    """
    low, high = start, end - 1
    while low < high:
        pivot = keys[order[(low + high) // 2]]
        left, right = low, high
        while left <= right:
            while keys[order[left]] < pivot:
                left += 1
            while keys[order[right]] > pivot:
                right -= 1
            if left <= right:
                kept = order[left]
                order[left] = order[right]
                order[right] = kept
                left += 1
                right -= 1
        if middle <= right:
            high = right
        elif middle >= left:
            low = left
        else:
            return


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _on_segment(px, py, pz, ax, ay, az, bx, by, bz):
    ux, uy, uz = bx - ax, by - ay, bz - az
    length_squared = ux * ux + uy * uy + uz * uz
    share = 0.0
    if length_squared > 0.0:
        share = ((px - ax) * ux + (py - ay) * uy + (pz - az) * uz) / length_squared
        share = min(1.0, max(0.0, share))
    return ax + share * ux, ay + share * uy, az + share * uz


@njit(cache=True, nogil=True, error_model="numpy")
def _on_edges(px, py, pz, t):
    """Closest point of a triangle that has no area."""
    best = np.inf
    rx = ry = rz = 0.0
    for start in range(3):
        end = (start + 1) % 3
        x, y, z = _on_segment(px, py, pz, t[start, 0], t[start, 1], t[start, 2], t[end, 0], t[end, 1], t[end, 2])
        squared = (px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2
        if squared < best:
            best, rx, ry, rz = squared, x, y, z
    return rx, ry, rz


@njit(cache=True, nogil=True, error_model="numpy")
def _on_triangle(px, py, pz, t):
    """Closest point of a triangle by the Voronoi regions of its corners, edges and face (Ericson 2005, 5.1.5)."""
    ax, ay, az = t[0, 0], t[0, 1], t[0, 2]
    abx, aby, abz = t[1, 0] - ax, t[1, 1] - ay, t[1, 2] - az
    acx, acy, acz = t[2, 0] - ax, t[2, 1] - ay, t[2, 2] - az
    x, y, z = px - ax, py - ay, pz - az
    d1 = abx * x + aby * y + abz * z
    d2 = acx * x + acy * y + acz * z
    if d1 <= 0.0 and d2 <= 0.0:
        return ax, ay, az
    x, y, z = px - t[1, 0], py - t[1, 1], pz - t[1, 2]
    d3 = abx * x + aby * y + abz * z
    d4 = acx * x + acy * y + acz * z
    if d3 >= 0.0 and d4 <= d3:
        return t[1, 0], t[1, 1], t[1, 2]
    vc = d1 * d4 - d3 * d2
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        share = d1 / (d1 - d3)
        return ax + share * abx, ay + share * aby, az + share * abz
    x, y, z = px - t[2, 0], py - t[2, 1], pz - t[2, 2]
    d5 = abx * x + aby * y + abz * z
    d6 = acx * x + acy * y + acz * z
    if d6 >= 0.0 and d5 <= d6:
        return t[2, 0], t[2, 1], t[2, 2]
    vb = d5 * d2 - d1 * d6
    if vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        share = d2 / (d2 - d6)
        return ax + share * acx, ay + share * acy, az + share * acz
    va = d3 * d6 - d5 * d4
    if va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        share = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        return (
            t[1, 0] + share * (t[2, 0] - t[1, 0]),
            t[1, 1] + share * (t[2, 1] - t[1, 1]),
            t[1, 2] + share * (t[2, 2] - t[1, 2]),
        )
    scale = 1.0 / (va + vb + vc)
    v, w = vb * scale, vc * scale
    return ax + abx * v + acx * w, ay + aby * v + acy * w, az + abz * v + acz * w


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _box_distance_squared(px, py, pz, boxes, node):
    dx = max(boxes[node, 0] - px, 0.0, px - boxes[node, 3])
    dy = max(boxes[node, 1] - py, 0.0, py - boxes[node, 4])
    dz = max(boxes[node, 2] - pz, 0.0, pz - boxes[node, 5])
    return dx * dx + dy * dy + dz * dz


@njit(cache=True, nogil=True, error_model="numpy")
def _closest_on_tree(px, py, pz, guess, boxes, skip, first, count, corners, is_sliver, stack, bounds):
    """Closest surface point of one query: (x, y, z, slot).

    `guess` is the slot of a face believed near: its distance bounds the search from the start, and any slot is correct.
    `stack` (int64) and `bounds`, both [_STACK], are scratch.
    """
    best_slot = guess
    if is_sliver[guess]:
        bx, by, bz = _on_edges(px, py, pz, corners[guess])
    else:
        bx, by, bz = _on_triangle(px, py, pz, corners[guess])
    best = (px - bx) ** 2 + (py - by) ** 2 + (pz - bz) ** 2
    stack[0] = 0
    bounds[0] = _box_distance_squared(px, py, pz, boxes, 0)
    depth = 1
    while depth > 0:
        depth -= 1
        if bounds[depth] >= best:
            continue
        node = stack[depth]
        while skip[node] != 0:
            left, right = node + 1, skip[node]
            left_bound = _box_distance_squared(px, py, pz, boxes, left)
            right_bound = _box_distance_squared(px, py, pz, boxes, right)
            if right_bound < left_bound:
                left, right = right, left
                left_bound, right_bound = right_bound, left_bound
            if right_bound < best:
                stack[depth] = right
                bounds[depth] = right_bound
                depth += 1
            if left_bound >= best:
                break
            node = left
        else:
            for slot in range(first[node], first[node] + count[node]):
                if is_sliver[slot]:
                    x, y, z = _on_edges(px, py, pz, corners[slot])
                else:
                    x, y, z = _on_triangle(px, py, pz, corners[slot])
                squared = (px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2
                if squared < best:
                    best, best_slot, bx, by, bz = squared, slot, x, y, z
    return bx, by, bz, best_slot


@njit(cache=True, nogil=True, error_model="numpy")
def query_tree(points, boxes, skip, first, count, corners, is_sliver, distances, found, slots):
    stack = np.empty(_STACK, dtype=np.int64)
    bounds = np.empty(_STACK)
    # Neighbours in the list are mostly neighbours in space: the last answer is the next guess.
    slot = 0
    for i in range(points.shape[0]):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        x, y, z, slot = _closest_on_tree(px, py, pz, slot, boxes, skip, first, count, corners, is_sliver, stack, bounds)
        distances[i] = np.sqrt((px - x) ** 2 + (py - y) ** 2 + (pz - z) ** 2)
        found[i, 0], found[i, 1], found[i, 2] = x, y, z
        slots[i] = slot


@njit(cache=True, nogil=True, error_model="numpy")
def accumulate_normal_equations(
    points, scale, rotation, translation, boxes, skip, first, count, corners, is_sliver,
    slots, distances, normal, gradient,
):  # fmt: skip
    """Adds the points' share of the normal equations; a point on the surface (no direction) has no share."""
    stack = np.empty(_STACK, dtype=np.int64)
    bounds = np.empty(_STACK)
    row = np.empty(7)
    last = 0
    for i in range(points.shape[0]):
        dx, dy, dz = points[i, 0] - translation[0], points[i, 1] - translation[1], points[i, 2] - translation[2]
        qx = (rotation[0, 0] * dx + rotation[1, 0] * dy + rotation[2, 0] * dz) / scale
        qy = (rotation[0, 1] * dx + rotation[1, 1] * dy + rotation[2, 1] * dz) / scale
        qz = (rotation[0, 2] * dx + rotation[1, 2] * dy + rotation[2, 2] * dz) / scale
        guess = slots[i] if slots[i] >= 0 else last
        x, y, z, last = _closest_on_tree(
            qx, qy, qz, guess, boxes, skip, first, count, corners, is_sliver, stack, bounds
        )
        slots[i] = last
        # The surface point, turned but not yet scaled and moved: the derivative by the scale.
        tx = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
        ty = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z
        tz = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
        ux, uy, uz = dx - scale * tx, dy - scale * ty, dz - scale * tz
        distance = np.sqrt(ux * ux + uy * uy + uz * uz)
        distances[i] = distance
        if distance == 0.0:
            continue
        ux, uy, uz = ux / distance, uy / distance, uz / distance
        row[0] = -(ux * tx + uy * ty + uz * tz)
        row[1] = -scale * (ty * uz - tz * uy)
        row[2] = -scale * (tz * ux - tx * uz)
        row[3] = -scale * (tx * uy - ty * ux)
        row[4], row[5], row[6] = -ux, -uy, -uz
        for j in range(7):
            gradient[j] -= row[j] * distance
            for k in range(j + 1):
                normal[j, k] += row[j] * row[k]
    for j in range(7):
        for k in range(j):
            normal[k, j] = normal[j, k]
