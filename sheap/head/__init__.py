"""The head model: mesh, identity, expression, joints, landmarks and regions (`HeadModel`, `HeadParams`, `HeadMesh`)."""

from sheap.head.model import HeadModel
from sheap.head.params import HeadMesh, HeadParams

__all__ = ["HeadMesh", "HeadModel", "HeadParams"]
