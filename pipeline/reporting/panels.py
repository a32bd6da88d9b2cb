"""The report's pictures of what a model has learnt: source, target, render, mesh over the target, identity at rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.bundle import load_bundle
from sheap.data.reader import ShardReader
from sheap.data.schema import ClipRecord
from sheap.geometry.cameras import published_camera
from sheap.head import HeadParams
from sheap.networks.dinov2 import Dinov2Features
from sheap.networks.head_codes import HeadCodes
from sheap.networks.reenactment import Reenactor
from sheap.networks.sheap_network import SheapNetwork, start_translation_for
from sheap.render.mesh import mesh_normals, rasterize_mesh
from sheap.video.crops import CROP_RISE_CM, CROP_SIDE_CM

Picture = NDArray[np.uint8]

COLUMNS = ("source", "target", "render", "mesh over the target", "shape at rest")

CLIPS_A_PERSON = 2
"""More rows of one person say little more."""

PAPER = (0.93, 0.93, 0.92)
"""Behind renders and meshes."""
REST_YAW_RAD = 0.45
"""The neutral head is turned so that its profile shows."""
OVERLAY = 0.5
"""How much of the overlay is mesh."""


@dataclass(frozen=True)
class PanelRow:
    """One pair: five pictures [S, S, 3] in the order of COLUMNS, and where it comes from."""

    record: ClipRecord
    split: str
    source_frame: int
    target_frame: int
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class ChosenPair:
    """Two frames of one clip."""

    reader: ShardReader
    clip: int
    source_frame: int
    target_frame: int


def choose_pairs(readers: list[ShardReader], wanted: set[str], count: int) -> list[ChosenPair]:
    """Up to `count` pairs from clips of the videos `wanted` (SHA-256): held-out readers first, every person in turn.

    The target is the frame turned farthest away from the source, which is the hardest that the clip has to offer.
    """
    chosen: list[ChosenPair] = []
    for reader in readers:
        turns: dict[str, int] = {}
        candidates = []
        for number in range(len(reader)):
            record = reader.record(number)
            if record.video_sha256 in wanted and record.num_frames > 1:
                turn = turns.get(record.identity, 0)
                turns[record.identity] = turn + 1
                if turn < CLIPS_A_PERSON:
                    candidates.append((turn, number))
        for _, number in sorted(candidates):
            if len(chosen) == count:
                return chosen
            poses = np.array(reader.record(number).pose_deg)
            # From the frontal-most frame to the one turned farthest from it.
            source = int(np.abs(poses[:, :2]).sum(axis=1).argmin())
            target = int(np.abs(poses - poses[source]).sum(axis=1).argmax())
            if target == source:
                target = (source + reader.record(number).num_frames // 2) % reader.record(number).num_frames
            chosen.append(ChosenPair(reader, number, source, target))
    return chosen


class PanelPainter:
    """Loads a model once and paints rows of pictures of side `size`."""

    def __init__(self, model: Path, size: int, head_model: Path | None = None, dinov2: Path | None = None) -> None:
        self._network: SheapNetwork
        self._network, self._config = load_bundle(model, head_model)
        self._size = size
        self._dinov2 = Dinov2Features(dinov2) if dinov2 is not None else None

    @torch.inference_mode()
    def paint(self, pairs: list[ChosenPair]) -> list[PanelRow]:
        return [self._row(pair) for pair in pairs]

    def _row(self, pair: ChosenPair) -> PanelRow:
        source = pair.reader.image(pair.clip, pair.source_frame)
        target = pair.reader.image(pair.clip, pair.target_frame)
        side = self._config.preprocessing.image_size
        images = torch.stack([_to_tensor(_resized(picture, side)) for picture in (source, target)])
        reenactor = Reenactor(self._network, published_camera(self._size), self._dinov2)
        made = reenactor(images[:1], images[1:], torch.tensor(PAPER)[None])
        drawn = made.head
        backdrop = _to_tensor(_resized(target, self._size))
        pictures = (
            _resized(source, self._size),
            _resized(target, self._size),
            _to_picture(drawn.color[0]),
            _to_picture(self._shaded(drawn.vertices, backdrop, OVERLAY)),
            _to_picture(self._at_rest(made.codes)),
        )
        record = pair.reader.record(pair.clip)
        return PanelRow(record, pair.reader.folder.name, pair.source_frame, pair.target_frame, pictures)

    def _at_rest(self, codes: HeadCodes) -> Tensor:
        camera = published_camera(self._size)
        resting = HeadParams.zeros(self._network.head, 1).replace(
            shape=codes.params.shape,
            root_rotvec=torch.tensor([[0.0, REST_YAW_RAD, 0.0]]),
            translation=start_translation_for(camera, CROP_SIDE_CM / 100, CROP_RISE_CM / 100)[None],
        )
        paper = torch.tensor(PAPER).expand(self._size, self._size, 3)
        return self._shaded(self._network.head(resting).vertices, paper, 1.0)

    def _shaded(self, vertices: Tensor, backdrop: Tensor, strength: float) -> Tensor:
        """The mesh in clay over a picture [S, S, 3]; rendered at twice the size, so that its outline is smooth."""
        camera = published_camera(2 * self._size)
        faces = self._network.head.faces
        fragments = rasterize_mesh(vertices, faces, camera)
        normals = mesh_normals(vertices, faces, fragments)[0, 0]
        light = torch.nn.functional.normalize(torch.tensor([-0.35, 0.45, 1.0]), dim=0)
        shade = 0.25 + 0.75 * (normals @ light).clamp(min=0)
        clay = shade[..., None] * torch.tensor([0.86, 0.84, 0.82])
        covered = fragments.mask[0, 0, ..., None].float()
        clay, covered = (_halved(image) for image in (clay * covered, covered))
        return backdrop * (1 - strength * covered) + strength * clay


def _resized(picture: Picture, side: int) -> Picture:
    method = cv2.INTER_AREA if side < picture.shape[0] else cv2.INTER_CUBIC
    return picture if picture.shape[0] == side else cv2.resize(picture, (side, side), interpolation=method)


def _to_tensor(picture: Picture) -> Tensor:
    return torch.from_numpy(picture).float() / 255


def _to_picture(image: Tensor) -> Picture:
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _halved(image: Tensor) -> Tensor:
    """[2S, 2S, C] -> [S, S, C]."""
    return torch.nn.functional.avg_pool2d(image.permute(2, 0, 1), 2).permute(1, 2, 0)
