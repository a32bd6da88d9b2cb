"""Heads as a mirror shows them: left and right exchanged."""

from __future__ import annotations

import torch

from sheap.head.model import HeadModel
from sheap.head.params import HeadParams


class HeadMirror:
    """Parameters of the mirrored head, for a model that says which vertex mirrors which.

    Every shape component of the open head mirrors to plus or minus itself; expressions mirror within their span. A picture
    mirrored about its middle shows the mirrored head where the camera looks through that middle, as the crops' does.
    Raises ValueError for a head model that does not say which vertices mirror each other.
    """

    def __init__(self, head: HeadModel) -> None:
        if head.mirror_vertex_ids is None:
            raise ValueError("head model: does not say which vertices mirror each other")
        partner = head.mirror_vertex_ids
        flip = head.template.new_tensor([-1.0, 1.0, 1.0])
        shape, expression = head.shape_basis, head.expression_basis
        reflected = shape[partner] * flip[:, None]
        self._shape_signs = torch.sign((shape * reflected).sum((0, 1)))
        basis = expression.flatten(0, 1).double()
        mirrored = (expression[partner] * flip[:, None]).flatten(0, 1).double()
        self._expression = torch.linalg.lstsq(basis, mirrored).solution.float()

    def shape(self, shape: torch.Tensor) -> torch.Tensor:
        """Shape coefficients [..., S] -> the mirrored head's."""
        return shape * self._shape_signs.to(shape)

    def __call__(self, params: HeadParams) -> HeadParams:
        """Heads [...] -> the mirrored ones [...]."""
        turn, flip = params.translation.new_tensor([1.0, -1.0, -1.0]), params.translation.new_tensor([-1.0, 1.0, 1.0])

        def turned(rotvec: torch.Tensor | None) -> torch.Tensor | None:
            return None if rotvec is None else rotvec * turn

        return HeadParams(
            shape=self.shape(params.shape),
            expression=params.expression @ self._expression.T.to(params.expression),
            eyelids=None if params.eyelids is None else params.eyelids.flip(-1),
            root_rotvec=params.root_rotvec * turn,
            neck_rotvec=turned(params.neck_rotvec),
            jaw_rotvec=turned(params.jaw_rotvec),
            eye_left_rotvec=turned(params.eye_right_rotvec),
            eye_right_rotvec=turned(params.eye_left_rotvec),
            translation=params.translation * flip,
        )
