"""The mesh z-buffer against geometry that has closed forms, and its two implementations against each other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sheap.geometry.cameras import Cameras, published_camera
from sheap.render.mesh import (
    MeshFragments,
    face_normals,
    interpolate,
    mesh_depth,
    mesh_normals,
    rasterize_mesh,
    vertex_normals,
)
from sheap.render.mesh_zbuffer import zbuffer_numba, zbuffer_torch


def sphere(rings: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """A sphere of 10 cm around the origin, faces counter-clockwise seen from outside."""
    theta = torch.linspace(0, torch.pi, rings, dtype=torch.float64)
    phi = torch.linspace(0, 2 * torch.pi, 2 * rings, dtype=torch.float64)
    t, p = torch.meshgrid(theta, phi, indexing="ij")
    vertices = 0.1 * torch.stack([t.sin() * p.cos(), t.cos(), -t.sin() * p.sin()], -1).reshape(-1, 3)
    i, j = torch.meshgrid(torch.arange(rings - 1), torch.arange(2 * rings - 1), indexing="ij")
    a = (i * 2 * rings + j).flatten()
    b, c, d = a + 1, a + 2 * rings, a + 2 * rings + 1
    return vertices, torch.cat([torch.stack([a, c, b], -1), torch.stack([b, c, d], -1)])


def rays(cameras: Cameras) -> torch.Tensor:
    """Directions [H, W, 3] (z = 1) of the first view's pixels, in camera axes."""
    rows, columns = (torch.arange(side, dtype=torch.float64) + 0.5 for side in (cameras.height, cameras.width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    K = cameras.K.reshape(-1, 3, 3)[0].double()
    return torch.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], torch.ones_like(x)], -1)


def test_sphere_depth_and_normals_match_the_closed_form():
    vertices, faces = sphere()
    cameras = published_camera(96, dtype=torch.float64)
    fragments = rasterize_mesh(vertices, faces, cameras)
    depth = mesh_depth(vertices, faces, cameras, fragments)[0, ..., 0]
    normals = mesh_normals(vertices, faces, fragments)[0]
    direction = rays(cameras).double()
    # |t d - (0, 0, 1)| = 0.1 for the camera at z = 1 m.
    squared = direction.square().sum(-1)
    discriminant = 1 - squared * (1 - 0.01)
    inside = discriminant > 0.003
    expected = (1 - discriminant.clamp_min(0).sqrt()) / squared
    assert fragments.mask[0][inside].all()
    assert not fragments.mask[0][discriminant < 0].any()
    # The mesh lies inside the sphere by at most r (1 - cos(pi / 118)) = 0.04 mm, times the slant (3.3 at the limb
    # used).
    assert (depth - expected)[inside].abs().max() < 1.5e-4
    hit = direction * expected[..., None] - torch.tensor([0.0, 0.0, 1.0])
    outward = hit / 0.1 * torch.tensor([1.0, -1.0, -1.0])
    assert (normals * outward).sum(-1)[inside].min() > 0.9995
    assert (depth[~fragments.mask[0]] == 0).all() and (normals[~fragments.mask[0]] == 0).all()


def test_barycentrics_are_perspective_correct():
    """Interpolating the vertices themselves must land on the pixel's ray, however slanted the face."""
    vertices = torch.tensor([[-0.2, -0.1, 0.6], [0.15, -0.1, -0.8], [0.0, 0.12, 0.1]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2]])
    cameras = published_camera(64, dtype=torch.float64)
    fragments = rasterize_mesh(vertices, faces, cameras)
    assert fragments.mask.sum() > 300
    points = interpolate(vertices, faces, fragments)[0]
    points = points * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor([0, 0, 1.0])
    on_plane = points[..., :2] / points[..., 2:]
    assert (on_plane - rays(cameras)[..., :2])[fragments.mask[0]].abs().max() < 1e-12
    assert torch.allclose(fragments.barycentrics.sum(-1), fragments.mask.double())


def test_no_pixel_falls_between_neighbours():
    """A jittered grid that covers the image leaves no hole, and no pixel of it is covered by a face behind."""
    generator = torch.Generator().manual_seed(0)
    n = 24
    x, y = torch.meshgrid(torch.linspace(-0.2, 0.2, n), torch.linspace(-0.2, 0.2, n), indexing="ij")
    vertices = torch.stack([x, y, 0.05 * torch.rand(n, n, generator=generator)], -1).reshape(-1, 3)
    i, j = torch.meshgrid(torch.arange(n - 1), torch.arange(n - 1), indexing="ij")
    a = (i * n + j).flatten()
    faces = torch.cat([torch.stack([a, a + n, a + 1], -1), torch.stack([a + 1, a + n, a + n + 1], -1)])
    assert rasterize_mesh(vertices, faces, published_camera(101)).mask.all()


def test_pixel_on_a_shared_edge_belongs_to_one_face():
    """The two halves of a square meet exactly on pixel centres."""
    K = torch.tensor([[[8.0, 0, 4], [0, 8, 4], [0, 0, 1]]])
    cameras = Cameras(torch.eye(4)[None], K, 8, 8)
    vertices = torch.tensor([[-0.5, -0.5, 1], [0.5, -0.5, 1], [0.5, 0.5, 1], [-0.5, 0.5, 1]])
    fragments = rasterize_mesh(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]), cameras)
    assert fragments.mask.all()
    assert (fragments.face_ids[0].diagonal() == 0).all(), "of equal depths the lower index wins"


def test_nearer_face_wins_whatever_the_order():
    K = torch.tensor([[[8.0, 0, 4], [0, 8, 4], [0, 0, 1]]])
    cameras = Cameras(torch.eye(4)[None], K, 8, 8)
    square = torch.tensor([[-0.5, -0.5, 1], [0.5, -0.5, 1], [0.5, 0.5, 1]])
    vertices = torch.cat([square, square * torch.tensor([1.0, 1.0, 0.5])])
    front = torch.tensor([[3, 4, 5]])
    back = torch.tensor([[0, 1, 2]])
    seen = rasterize_mesh(vertices, torch.cat([back, front]), cameras)
    turned = rasterize_mesh(vertices, torch.cat([front, back]), cameras)
    both = seen.mask & rasterize_mesh(vertices, back, cameras).mask
    assert both.any()
    assert (seen.face_ids[both] == 1).all() and (turned.face_ids[both] == 0).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), num_faces=st.integers(0, 40), spread=st.sampled_from([0.02, 0.3, 3.0]))
def test_compiled_and_torch_agree(seed: int, num_faces: int, spread: float):
    """Random triangles of any size, some across and behind the camera's plane, with an off-centre camera."""
    generator = torch.Generator().manual_seed(seed)
    vertices = spread * torch.randn(2, max(3, num_faces), 3, generator=generator)
    vertices[..., 2] += 1
    faces = torch.randint(0, vertices.shape[1], (num_faces, 3), generator=generator)
    K = torch.tensor([[40.0, 0, 17.3], [0, 45.0, 8.1], [0, 0, 1]]).expand(2, 3, 3)
    compiled = zbuffer_numba(vertices, faces, K, 19, 37)
    plain = zbuffer_torch(vertices, faces, K, 19, 37)
    assert torch.equal(compiled, plain)


def test_face_across_the_camera_plane_is_drawn_where_it_is_in_front():
    K = torch.tensor([[[8.0, 0, 4], [0, 8, 4], [0, 0, 1]]])
    cameras = Cameras(torch.eye(4)[None], K, 8, 8)
    # A floor one metre below that runs from 5 m behind to 50 m in front: seen below the horizon only.
    vertices = torch.tensor([[-50.0, 1, -5], [50, 1, -5], [0, 1, 50]])
    fragments = rasterize_mesh(vertices, torch.tensor([[0, 1, 2]]), cameras)
    assert fragments.mask[0, 4:].all() and not fragments.mask[0, :4].any()
    depth = mesh_depth(vertices, torch.tensor([[0, 1, 2]]), cameras, fragments)[0, ..., 0]
    assert torch.allclose(depth[4:, 3], 8 / torch.tensor([0.5, 1.5, 2.5, 3.5]), rtol=1e-4)
    behind = rasterize_mesh(vertices * torch.tensor([1.0, 1, 0]) - torch.tensor([0, 0, 3.0]),
                            torch.tensor([[0, 1, 2]]), cameras)  # fmt: skip
    assert not behind.mask.any()


def test_gradients_of_depth_attributes_and_normals():
    generator = torch.Generator().manual_seed(1)
    vertices = (0.05 * torch.randn(2, 9, 3, generator=generator, dtype=torch.float64)).requires_grad_()
    attributes = torch.randn(2, 9, 2, generator=generator, dtype=torch.float64).requires_grad_()
    faces = torch.randint(0, 9, (7, 3), generator=generator)
    cameras = published_camera(8, dtype=torch.float64)
    face_ids = rasterize_mesh(vertices, faces, cameras).face_ids
    assert (face_ids >= 0).sum() > 10

    def images(vertices: torch.Tensor, attributes: torch.Tensor) -> tuple[torch.Tensor, ...]:
        fragments = rasterize_mesh(vertices, faces, cameras)
        assert torch.equal(fragments.face_ids, face_ids), "the finite difference crossed an edge: another seed"
        return (
            mesh_depth(vertices, faces, cameras, fragments),
            interpolate(attributes, faces, fragments),
            mesh_normals(vertices, faces, fragments),
            mesh_normals(vertices, faces, fragments, smooth=False),
        )

    assert torch.autograd.gradcheck(images, (vertices, attributes), eps=1e-7, atol=1e-5)


def test_batches_and_views_equal_single_images():
    vertices, faces = sphere(12)
    generator = torch.Generator().manual_seed(2)
    batch = (vertices + 0.02 * torch.randn(3, 1, 3, generator=generator)).float()
    near, far = published_camera(32), published_camera(32, distance=1.4)
    cameras = Cameras(torch.cat([near.world_to_cam, far.world_to_cam]), torch.cat([near.K, far.K]), 32, 32)
    together = rasterize_mesh(batch[None], faces, cameras)
    assert together.face_ids.shape == (1, 3, 2, 32, 32)
    depth = mesh_depth(batch[None], faces, cameras, together)
    for scene in range(3):
        for view, camera in enumerate((near, far)):
            alone = rasterize_mesh(batch[scene], faces, camera)
            assert torch.equal(together.face_ids[0, scene, view], alone.face_ids[0])
            assert torch.equal(depth[0, scene, view], mesh_depth(batch[scene], faces, camera, alone)[0])


def test_attributes_at_corners_take_their_own_table():
    """A seam: one vertex, two uv coordinates."""
    vertices = torch.tensor([[-0.1, -0.1, 0], [0.1, -0.1, 0], [0.1, 0.1, 0], [-0.1, 0.1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    uv = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [1.0, 0.0], [1.0, 1.0], [0.7, 1.0]])
    uv_faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    fragments = rasterize_mesh(vertices, faces, published_camera(32))
    image = interpolate(uv, uv_faces, fragments)
    assert image[fragments.face_ids == 0][:, 0].max() <= 0.5 + 1e-6
    assert image[fragments.face_ids == 1][:, 0].min() >= 0.7 - 1e-6


def test_flat_normals_and_vertex_normals():
    vertices, faces = sphere(40)
    fragments = rasterize_mesh(vertices.float(), faces, published_camera(48))
    flat = mesh_normals(vertices.float(), faces, fragments, smooth=False)
    assert torch.allclose(flat[fragments.mask].norm(dim=-1), torch.ones(int(fragments.mask.sum())), atol=1e-5)
    assert torch.allclose(
        flat[fragments.mask], face_normals(vertices.float(), faces)[fragments.face_ids[fragments.mask]], atol=1e-5
    )
    smooth = vertex_normals(vertices, faces)
    # The seam's and poles' vertices are doubled, so that each sees only some of its faces.
    inner = slice(5 * 80, -5 * 80)
    assert ((smooth * vertices / 0.1).sum(-1)[inner] > 0.998).all()
    lonely = vertex_normals(torch.cat([vertices, torch.zeros(1, 3)]), faces)[-1]
    assert (lonely == 0).all()


def test_nothing_to_draw():
    cameras = published_camera(8)
    no_faces = rasterize_mesh(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64), cameras)
    assert not no_faces.mask.any()
    assert rasterize_mesh(torch.zeros(0, 5, 3), torch.tensor([[0, 1, 2]]), cameras).face_ids.shape == (0, 1, 8, 8)
    degenerate = rasterize_mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2], [0, 0, 1]]), cameras)
    assert not degenerate.mask.any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_vertices_hide_only_their_faces(bad: float):
    vertices, faces = sphere(12)
    vertices = vertices.float()
    whole = rasterize_mesh(vertices, faces, published_camera(32))
    vertices[130, 1] = bad
    cut = rasterize_mesh(vertices, faces, published_camera(32))
    touched = (faces == 130).any(-1)
    kept = ~touched[whole.face_ids.clamp_min(0)] & whole.mask
    assert torch.equal(cut.face_ids[kept], whole.face_ids[kept])
    assert not touched[cut.face_ids[cut.mask]].any()
    assert cut.barycentrics.isfinite().all()


def test_half_precision_and_strided_vertices():
    vertices, faces = sphere(12)
    expected = rasterize_mesh(vertices.to(torch.bfloat16).float(), faces, published_camera(24))
    assert torch.equal(rasterize_mesh(vertices.to(torch.bfloat16), faces, published_camera(24)).face_ids, expected.face_ids)
    wide = torch.zeros(len(vertices), 6)
    wide[:, ::2] = vertices.float()
    strided = rasterize_mesh(wide[:, ::2], faces.int(), published_camera(24))
    assert torch.equal(strided.face_ids, rasterize_mesh(vertices.float(), faces, published_camera(24)).face_ids)


def test_user_mistakes_name_the_field():
    vertices, faces = sphere(4)
    cameras = published_camera(8)
    with pytest.raises(ValueError, match="vertices"):
        rasterize_mesh(vertices[:, :2], faces, cameras)
    with pytest.raises(ValueError, match="faces"):
        rasterize_mesh(vertices, faces.float(), cameras)
    with pytest.raises(ValueError, match="faces"):
        rasterize_mesh(vertices, faces + 1000, cameras)
    with pytest.raises(ValueError, match="cameras"):
        rasterize_mesh(vertices.expand(3, -1, -1), faces, Cameras(
            cameras.world_to_cam.expand(2, 1, 4, 4), cameras.K.expand(2, 1, 3, 3), 8, 8))  # fmt: skip
    fragments = rasterize_mesh(vertices, faces, cameras)
    with pytest.raises(ValueError, match="faces"):
        interpolate(vertices[:3], faces, fragments)
    assert isinstance(fragments, MeshFragments)
