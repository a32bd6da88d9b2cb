"""Predicted parameters to the meshes that measures compare with scans: millimetres, the head itself at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.evaluation.mesh_files import TriangleMesh
from sheap.evaluation.now.submission import HeldMeshes, ListedImage, NowPrediction
from sheap.evaluation.predictions import Predictions
from sheap.head import HeadModel, HeadParams

MM_PER_METRE = 1000.0

BATCH = 16
"""Heads posed at once: bounds the memory of meshes in the making."""

MeshesAndLandmarks = tuple[list[TriangleMesh], NDArray[np.float64]]


def neutral_meshes(head: HeadModel, shape: Tensor) -> MeshesAndLandmarks:
    """Neutral meshes and landmarks [B,7,3], both in mm, of identity coefficients [B,S]."""
    with torch.inference_mode():
        return _in_mm(head, head.neutral(shape.to(head.template)))


def expressive_meshes(head: HeadModel, params: HeadParams) -> MeshesAndLandmarks:
    """Meshes and landmarks [B,7,3], both in mm, with expression, jaw, lids and gaze, the head itself at rest."""
    with torch.inference_mode():
        return _in_mm(head, head(params.at_rest()).vertices)


@dataclass(frozen=True)
class MeshesOf:
    """Predictions as a source of meshes (now.submission.MeshSource): made for the pictures that are asked for."""

    predictions: Predictions
    make: Callable[[HeadModel, HeadParams], MeshesAndLandmarks]

    def of_images(self, images: Iterable[ListedImage]) -> HeldMeshes:
        """The meshes of these pictures, each row once."""
        rows = {image: self.predictions.rows[image] for image in images if image in self.predictions.rows}
        wanted = sorted(set(rows.values()))
        meshes: dict[int, NowPrediction] = {}
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            params = self.predictions.params.index(batch).to(self.predictions.head.template)
            made, landmarks = self.make(self.predictions.head, params)
            for row, mesh, points in zip(batch, made, landmarks, strict=True):
                meshes[row] = NowPrediction(mesh, points)
        return HeldMeshes(meshes, rows)


def neutral(predictions: Predictions) -> MeshesOf:
    """The predicted identities with a neutral face."""
    return MeshesOf(predictions, lambda head, params: neutral_meshes(head, params.shape))


def expressive(predictions: Predictions) -> MeshesOf:
    """The predicted faces with their expression."""
    return MeshesOf(predictions, expressive_meshes)


def _in_mm(head: HeadModel, vertices: Tensor) -> MeshesAndLandmarks:
    landmarks = MM_PER_METRE * head.now_landmarks(vertices).double().cpu().numpy()
    faces = head.faces.cpu().numpy()
    return [TriangleMesh(one, faces) for one in MM_PER_METRE * vertices.double().cpu().numpy()], landmarks
