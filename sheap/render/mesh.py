"""Triangle meshes into images: a z-buffer that finds each pixel's face, then differentiable interpolation.

Visibility (which face a pixel sees) has no gradient; everything interpolated at the visible point has one, to the
attributes and, through the perspective-correct barycentrics, to the vertices. So `mesh_depth` is the exact derivative
of the depth where a pixel's ray meets its face.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sheap.geometry.cameras import Cameras
from sheap.render.mesh_zbuffer import zbuffer_numba, zbuffer_torch


@dataclass(frozen=True)
class MeshFragments:
    """What each pixel of each view sees of a mesh.

    face_ids: [..., V, H, W] int64, -1 where no face is seen. barycentrics: [..., V, H, W, 3], perspective-correct
    weights of the face's three corners, differentiable to the vertices, 0 where no face is seen.
    """

    face_ids: Tensor
    barycentrics: Tensor

    @property
    def mask(self) -> Tensor:
        """[..., V, H, W] bool: pixels that see the mesh."""
        return self.face_ids >= 0


def rasterize_mesh(vertices: Tensor, faces: Tensor, cameras: Cameras) -> MeshFragments:
    """The nearest face of a mesh through every pixel's centre.

    vertices: [..., N, 3] metres, world. faces: [F, 3] integer. cameras: [..., V] views; leading dims broadcast.
    Both sides of a face are seen. Of equal depths the face of the lower index wins. Points nearer than 1 cm to the
    camera's plane are not seen; a face that crosses that plane is drawn in part. A face with a non-finite vertex is
    not drawn. CPU tensors go through a compiled kernel, others through plain torch.

    Raises ValueError for wrong shapes or face indices outside the vertices.
    """
    _check_mesh(vertices, faces)
    batch, num_views = _batch_shape(vertices.shape[:-2], cameras), cameras.K.shape[-3]
    height, width = cameras.height, cameras.width
    faces = faces.to(vertices.device, torch.int64)
    vertices = _as_float(vertices).expand(*batch, *vertices.shape[-2:])

    in_cam = _to_camera(vertices, cameras).flatten(0, -3)  # [B*V, N, 3]
    K = cameras.K.expand(*batch, num_views, 3, 3).reshape(-1, 3, 3)
    zbuffer = zbuffer_numba if in_cam.device.type == "cpu" else zbuffer_torch
    face_ids = zbuffer(in_cam.detach(), faces, K.detach(), height, width)
    barycentrics = _barycentrics(in_cam, faces, torch.linalg.inv(K.double()).to(in_cam), face_ids)

    shape = (*batch, num_views, height, width)
    return MeshFragments(face_ids.view(shape), barycentrics.view(*shape, 3))


def _barycentrics(in_cam: Tensor, faces: Tensor, inverse_K: Tensor, face_ids: Tensor) -> Tensor:
    """Where each pixel's ray meets its face: [I, H, W, 3] for vertices in camera axes [I, N, 3], face_ids [I, H, W]."""
    num_images, height, width = face_ids.shape
    pixel_ids = torch.nonzero(face_ids.flatten() >= 0).squeeze(-1)  # [P]
    image_ids = pixel_ids // (height * width)
    rows, columns = (torch.arange(side, device=in_cam.device) + 0.5 for side in (height, width))
    rows, columns = rows.to(in_cam.dtype)[:, None], columns.to(in_cam.dtype)

    def pick(values: Tensor, ids: Tensor) -> Tensor:
        return values.flatten().index_select(0, ids.flatten()).view(ids.shape)

    # Coordinates apart, pixels last: vectors as long as they can be, for every step and its gradient.
    def ray_at_depth_1(row: Tensor) -> Tensor:
        of_column, of_row, constant = row[..., None, None].unbind(-3)  # [I, 1, 1] each
        return pick(of_column * columns + of_row * rows + constant, pixel_ids)

    ray_x, ray_y = ray_at_depth_1(inverse_K[:, 0]), ray_at_depth_1(inverse_K[:, 1])  # [P] each
    seen = pick(face_ids, pixel_ids)
    corner_ids = torch.stack([pick(corner, seen) for corner in faces.unbind(-1)])  # [3, P]
    corner_ids = corner_ids + image_ids * in_cam.shape[1]
    x, y, z = (pick(axis, corner_ids) for axis in in_cam.unbind(-1))  # [3, P] each
    # Corners seen from the ray: all three slide along their depth into one small plane, so nothing large cancels.
    x, y = x - z * ray_x, y - z * ray_y
    weights = torch.stack([x[1] * y[2] - y[1] * x[2], x[2] * y[0] - y[2] * x[0], x[0] * y[1] - y[0] * x[1]])
    weights = (weights / weights.sum(0)).T
    barycentrics = in_cam.new_zeros(face_ids.numel(), 3).index_copy(0, pixel_ids, weights)
    return barycentrics.view(num_images, height, width, 3)


def interpolate(attributes: Tensor, faces: Tensor, fragments: MeshFragments) -> Tensor:
    """Vertex attributes [..., N, C] at every pixel: [..., V, H, W, C], 0 where no face is seen.

    faces: [F, 3], which attribute row each corner of a face takes. Pass the mesh's faces for values at vertices, or
    another table of the same faces for values at corners (`interpolate(uv_coords, uv_faces, fragments)`).
    """
    if attributes.shape[-2] == 0 or (faces.numel() and int(faces.max()) >= attributes.shape[-2]):
        raise ValueError(f"faces: an index lies outside attributes of {attributes.shape[-2]} rows")
    *batch, num_views, height, width = fragments.face_ids.shape
    attributes = attributes.expand(*batch, *attributes.shape[-2:])
    num_rows, num_channels = attributes.shape[-2:]
    face_ids = fragments.face_ids.reshape(-1)
    pixel_ids = torch.nonzero(face_ids >= 0).squeeze(-1)
    scene_ids = pixel_ids // (num_views * height * width)
    seen_ids = face_ids.index_select(0, pixel_ids)
    weights = fragments.barycentrics.reshape(-1, 3).index_select(0, pixel_ids).to(attributes.dtype)
    rows = attributes.reshape(-1, num_channels)
    # Corner by corner: a third of the memory, and contiguous.
    seen = torch.zeros_like(rows[:1])
    for corner, weight in zip(faces.to(face_ids.device, torch.int64).unbind(-1), weights.split(1, -1)):
        row_ids = corner.index_select(0, seen_ids) + scene_ids * num_rows
        seen = seen + rows.index_select(0, row_ids) * weight
    image = torch.zeros(face_ids.shape[0], num_channels, dtype=seen.dtype, device=seen.device)
    return image.index_copy(0, pixel_ids, seen).view(*batch, num_views, height, width, num_channels)


def mesh_depth(vertices: Tensor, faces: Tensor, cameras: Cameras, fragments: MeshFragments) -> Tensor:
    """Depth along the camera's z, metres: [..., V, H, W, 1], 0 where no face is seen."""
    *batch, num_views, height, width = fragments.face_ids.shape
    vertices = _as_float(vertices).expand(*batch, *vertices.shape[-2:])
    depth = _to_camera(vertices, cameras)[..., 2:]  # [..., V, N, 1]: every view is a scene of one view
    one_view = MeshFragments(fragments.face_ids.unsqueeze(-3), fragments.barycentrics.unsqueeze(-4))
    return interpolate(depth, faces, one_view).view(*batch, num_views, height, width, 1)


def mesh_normals(vertices: Tensor, faces: Tensor, fragments: MeshFragments, *, smooth: bool = True) -> Tensor:
    """Unit normals in the world, outward for counter-clockwise faces: [..., V, H, W, 3], 0 where no face is seen.

    smooth: interpolated vertex normals; otherwise the seen face's own normal.
    """
    if smooth:
        return F.normalize(interpolate(vertex_normals(vertices, faces), faces, fragments), dim=-1)
    own_face = torch.arange(faces.shape[0], device=fragments.face_ids.device)[:, None].expand(-1, 3)
    return F.normalize(interpolate(face_normals(vertices, faces), own_face, fragments), dim=-1)


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals [..., F, 3] of faces whose corners run counter-clockwise seen from outside; 0 for a flat face."""
    return F.normalize(_area_normals(vertices, faces), dim=-1, eps=1e-20)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals [..., N, 3]: the area-weighted mean of the faces around a vertex; 0 for one without faces."""
    per_face = _area_normals(vertices, faces)
    per_corner = per_face.repeat_interleave(3, dim=-2)
    summed = torch.zeros_like(_as_float(vertices)).index_add(-2, faces.reshape(-1).to(vertices.device), per_corner)
    return F.normalize(summed, dim=-1, eps=1e-20)


def _area_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    corners = _as_float(vertices).index_select(-2, faces.reshape(-1).to(vertices.device)).unflatten(-2, (-1, 3))
    a, b, c = corners.unbind(-2)
    return torch.linalg.cross(b - a, c - a)


def _to_camera(vertices: Tensor, cameras: Cameras) -> Tensor:
    """World vertices [..., N, 3] in every camera's axes: [..., V, N, 3]."""
    world_to_cam = cameras.world_to_cam.to(vertices)
    rotation, translation = world_to_cam[..., :3, :3], world_to_cam[..., :3, 3]
    with torch.autocast(vertices.device.type, enabled=False):
        x, y, z = vertices[..., None, :, :].split(1, -1)  # [..., 1, N, 1] each
        to_x, to_y, to_z = rotation.transpose(-1, -2).split(1, -2)  # [..., V, 1, 3] each
        # Written out: a batched matrix product of three columns is several times slower.
        return x * to_x + y * to_y + z * to_z + translation[..., None, :]


def _as_float(tensor: Tensor) -> Tensor:
    """Half precision becomes float32: a metre in bfloat16 is 4 mm coarse."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _batch_shape(leading: torch.Size, cameras: Cameras) -> torch.Size:
    try:
        return torch.broadcast_shapes(leading, cameras.K.shape[:-3], cameras.world_to_cam.shape[:-3])
    except RuntimeError:
        raise ValueError(
            f"cameras: leading dims {tuple(cameras.K.shape[:-3])} do not broadcast with vertices' {tuple(leading)}"
        ) from None


def _check_mesh(vertices: Tensor, faces: Tensor) -> None:
    if vertices.dim() < 2 or vertices.shape[-1] != 3 or not vertices.is_floating_point():
        raise ValueError(f"vertices: expected floats [..., N, 3], got {vertices.dtype} {tuple(vertices.shape)}")
    if faces.dim() != 2 or faces.shape[-1] != 3 or faces.is_floating_point():
        raise ValueError(f"faces: expected integers [F, 3], got {faces.dtype} {tuple(faces.shape)}")
    if faces.numel() and not (int(faces.min()) >= 0 and int(faces.max()) < vertices.shape[-2]):
        raise ValueError(f"faces: indices must lie in [0, {vertices.shape[-2]})")
