"""What is known of a rendered frame, stored beside it: the head's parameters and its true landmarks.

A clip's truth is one .npy file of float32 rows, one a frame, so that a frame's is read without the others'. The record says
which head model the coefficients are of; clips of real people have none.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.data.schema import NUM_LANDMARKS, TruthLayout
from sheap.head import HeadModel, HeadParams
from sheap.head.mirror import HeadMirror
from sheap.records import TensorRecord

_NPY_HEADER_BYTES = 128


@dataclass(frozen=True)
class FrameTruth(TensorRecord):
    """Truth of frames with leading dims `...`, float32.

    known [...]: 1 where there is truth; where there is none everything else is 0. shape [..., S], expression [..., E], eyelids
    [..., 2], rotvecs [..., 5, 3] and translation [..., 3] as in HeadParams (in the renderer's world); landmarks [..., 478, 3] px
    of the crop (z on their scale, away from the viewer); seen [..., 478]: 1 where nothing hides the landmark.
    """

    known: Tensor
    shape: Tensor
    expression: Tensor
    eyelids: Tensor
    rotvecs: Tensor
    translation: Tensor
    landmarks: Tensor
    seen: Tensor

    @classmethod
    def unknown(cls, num_shape: int, num_expression: int) -> FrameTruth:
        """Of a frame of a real person; no leading dims."""
        return cls(
            known=torch.zeros(()),
            shape=torch.zeros(num_shape),
            expression=torch.zeros(num_expression),
            eyelids=torch.zeros(2),
            rotvecs=torch.zeros(5, 3),
            translation=torch.zeros(3),
            landmarks=torch.zeros(NUM_LANDMARKS, 3),
            seen=torch.zeros(NUM_LANDMARKS),
        )

    def head_params(self) -> HeadParams:
        """The head in the renderer's world."""
        root, neck, jaw, left, right = self.rotvecs.unbind(-2)
        return HeadParams(self.shape, self.expression, self.eyelids, root, neck, jaw, left, right, self.translation)


def truth_rows(
    params: HeadParams, landmarks: NDArray[np.float32], seen: NDArray[np.bool_] | NDArray[np.float32]
) -> NDArray[np.float32]:
    """Rows [T, D] of T frames: params with leading dim [T], landmarks [T, 478, 3] px of the crops, seen [T, 478]."""
    assert params.eyelids is not None, "people are rendered with the open head"
    parts = [params.shape, params.expression, params.eyelids, params.rotvecs(), params.translation]
    count = len(landmarks)
    columns = [part.detach().cpu().numpy().reshape(count, -1) for part in parts]
    return np.concatenate([*columns, landmarks.reshape(count, -1), seen.astype(np.float32)], 1).astype(np.float32)


def encode_truth(rows: NDArray[np.float32]) -> bytes:
    """float32 [T, D] as an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(rows, dtype=np.float32), allow_pickle=False)
    return buffer.getvalue()


def decode_frame_truth(row: bytes, layout: TruthLayout, where: str) -> FrameTruth:
    """One frame's row, cut out of a truth file. Raises ValueError naming `where`."""
    if len(row) != layout.row_bytes:
        raise ValueError(f"{where}: expected {layout.row_bytes} bytes of truth, got {len(row)}")
    values = torch.from_numpy(np.frombuffer(row, "<f4").astype(np.float32))
    shape, expression, eyelids, rotvecs, translation, landmarks, seen = values.split(list(layout.sizes))
    return FrameTruth(
        torch.ones(()), shape, expression, eyelids, rotvecs.view(5, 3), translation, landmarks.view(-1, 3), seen
    )


def frame_place(layout: TruthLayout, frame: int) -> tuple[int, int]:
    """Offset and length of one frame's row in a truth file."""
    return _NPY_HEADER_BYTES + frame * layout.row_bytes, layout.row_bytes


class TruthMirror:
    """Truth seen in a mirror: the same head with left and right exchanged (sheap.head.mirror).

    Raises ValueError for a head model that does not say which vertex mirrors which.
    """

    def __init__(self, head: HeadModel, landmark_mirror: NDArray[np.int64]) -> None:
        if head.mirror_vertex_ids is None:
            raise ValueError("head model: does not say which vertices mirror each other; switch mirroring off (augment.flip: 0)")
        self._mirror = HeadMirror(head)
        self._landmarks = torch.from_numpy(np.asarray(landmark_mirror))

    def __call__(self, truth: FrameTruth) -> FrameTruth:
        """The parameters and `seen` of the mirrored head; landmarks are left to whoever mirrors the picture."""
        params = self._mirror(truth.head_params())
        return truth.replace(
            shape=params.shape,
            expression=params.expression,
            eyelids=params.eyelids,
            rotvecs=params.rotvecs(),
            translation=params.translation,
            seen=truth.seen[..., self._landmarks],
        )


@dataclass(frozen=True)
class WantedTruth:
    """What a supervised run wants to know of frames: truth of the head model that `layout` names; mirror: how it goes along with
    mirrored pictures (None: none are)."""

    layout: TruthLayout
    mirror: TruthMirror | None

    def of(self, stored: TruthLayout | None, row: Callable[[], bytes], where: str) -> FrameTruth:
        """A frame's truth: `row` gives its bytes, stored is its clip's layout (None: a real person, of whom nothing is known).

        Raises ValueError naming `where` when it is of another head model.
        """
        if stored is None:
            return FrameTruth.unknown(self.layout.num_shape, self.layout.num_expression)
        if stored != self.layout:
            raise ValueError(
                f"{where}: its truth is of another head model; render and pack the clips anew, or train without it "
                "(train.supervision: none, train.replay.share: 0, no truth_ term in train.training.early_stop.judged_by)"
            )
        return decode_frame_truth(row(), stored, where)
