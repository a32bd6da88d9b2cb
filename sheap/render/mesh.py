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
    inverse_K = torch.linalg.inv(cameras.K.double()).to(in_cam.dtype)
    inverse_K = inverse_K.expand(*batch, num_views, 3, 3).reshape(-1, 3, 3)
    zbuffer = zbuffer_numba if in_cam.device.type == "cpu" else zbuffer_torch
    K = cameras.K.expand(*batch, num_views, 3, 3).reshape(-1, 3, 3)
    face_ids = zbuffer(in_cam.detach(), faces, K.detach(), height, width)

    image_ids, rows, columns = torch.nonzero(face_ids >= 0, as_tuple=True)
    corner_ids = faces[face_ids[image_ids, rows, columns]] + (image_ids * in_cam.shape[1])[:, None]  # [P, 3]
    corners = in_cam.flatten(0, 1).index_select(0, corner_ids.flatten()).unflatten(0, (-1, 3))  # [P, 3, 3]
    pixels = torch.stack([columns + 0.5, rows + 0.5, torch.ones_like(rows)], -1).to(in_cam.dtype)
    rays = torch.einsum("pij,pj->pi", inverse_K[image_ids], pixels)  # [P, 3], z = 1
    # Corners seen from the ray: all three slide along their depth into one small plane, so nothing large cancels.
    offsets = corners[..., :2] - corners[..., 2:] * rays[:, None, :2]
    a, b, c = offsets.unbind(-2)
    weights = torch.stack([_cross2(b, c), _cross2(c, a), _cross2(a, b)], -1)
    weights = weights / weights.sum(-1, keepdim=True)
    barycentrics = torch.zeros(*face_ids.shape, 3, dtype=in_cam.dtype, device=in_cam.device)
    barycentrics = barycentrics.index_put((image_ids, rows, columns), weights)

    shape = (*batch, num_views, height, width)
    return MeshFragments(face_ids.view(shape), barycentrics.view(*shape, 3))


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
    corner_ids = faces.to(face_ids.device, torch.int64)[face_ids[pixel_ids]] + (scene_ids * num_rows)[:, None]
    values = attributes.reshape(-1, num_channels).index_select(0, corner_ids.flatten()).unflatten(0, (-1, 3))
    weights = fragments.barycentrics.reshape(-1, 3).index_select(0, pixel_ids).to(values.dtype)
    seen = (values * weights[..., None]).sum(-2)
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
        return vertices[..., None, :, :] @ rotation.transpose(-1, -2) + translation[..., None, :]


def _cross2(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


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
