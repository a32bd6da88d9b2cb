"""How near a transferred head lies to the one it came from, over random people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sheap.evaluation.closest_point import TriangleTree
from sheap.head import HeadParams
from sheap.head.regions import is_near_face
from sheap.transfer.parameters import HeadTransfer
from sheap.transfer.skin import Skin


@dataclass(frozen=True)
class TransferAccuracy:
    """Medians over people of the median distance from the second head's outer skin (and face alone) to the first's surface, mm;
    people_mm [N]: each person's on all skin."""

    skin_mm: float
    face_mm: float
    people_mm: tuple[float, ...]


def transferred_distances(transfer: HeadTransfer, people: int, seed: int = 0) -> TransferAccuracy:
    """People with standard normal identities and a random turn of the head, neutral."""
    a, b = transfer.a, transfer.b
    generator = torch.Generator().manual_seed(seed)
    skin = Skin.of(b)
    face = is_near_face(b.template, b.now_landmarks(b.template)).numpy()[skin.ids]
    on_skin, on_face = [], []
    for _ in range(people):
        shape = torch.randn(1, a.num_shape, generator=generator)
        turn = 0.2 * torch.randn(1, 3, generator=generator)
        params = HeadParams.zeros(a, 1).replace(shape=shape, root_rotvec=turn)
        ours = a(params).vertices[0].double().numpy()
        theirs = b(transfer(params)).vertices[0].double().numpy()[skin.ids]
        distances = TriangleTree(1e3 * ours, a.faces.numpy()).query(1e3 * theirs).distances
        on_skin.append(float(np.median(distances)))
        on_face.append(float(np.median(distances[face])))
    return TransferAccuracy(float(np.median(on_skin)), float(np.median(on_face)), tuple(on_skin))
