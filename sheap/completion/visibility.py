"""What no camera sees of a head: the mouth's inside, the eye sockets, whatever a model keeps behind its skin."""

from __future__ import annotations

import torch
from torch import Tensor

from sheap.completion.portraits import drawn_faces, orbit_camera
from sheap.head import HeadModel
from sheap.render.mesh import rasterize_mesh

YAWS_DEG = range(0, 360, 45)
PITCHES_DEG = (-25, 0, 40)
"""From further below, cameras would look in through the open neck."""
PICTURE_SIZE = 512


def hidden_vertices(head: HeadModel) -> Tensor:
    """Mask [N] of the neutral mean head's vertices that no camera around it sees a triangle of; single ones amid seen skin, too
    small for a pixel, are not counted."""
    faces, vertices = drawn_faces(head), head.template - head.face_origin
    seen = torch.zeros(len(faces), dtype=torch.bool)
    for yaw in YAWS_DEG:
        for pitch in PITCHES_DEG:
            found = rasterize_mesh(vertices, faces, orbit_camera(yaw, pitch, PICTURE_SIZE)).face_ids
            seen[found[found >= 0]] = True
    visible = torch.zeros(head.num_vertices, dtype=torch.bool)
    visible[faces[seen].flatten()] = True
    count = torch.bincount(faces.flatten(), minlength=head.num_vertices)
    around = torch.zeros(head.num_vertices)
    pairs = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    around.index_add_(0, pairs[:, 0], visible[pairs[:, 1]].float())
    return ~visible & (around < 0.5 * count)
