"""The landmark detector's habits, learnt from rendered people: where it puts its points beside the predicted heads'.

What it does alike on everybody is no error of anybody's head; sheap.networks.landmark_calibration holds it, and training on
detected landmarks learns it along. The shipped predictor is taught by true points, so its calibration is learnt here, when
everything else is ready.
"""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.unlabelled_photos import detected
from sheap.data.reader import ShardReader
from sheap.geometry.cameras import project, published_camera
from sheap.head import HeadParams
from sheap.losses.landmarks import landmark_loss, visibility_weights
from sheap.networks.both_sides import BothSides
from sheap.networks.sheap_network import SheapNetwork
from sheap.training.landmark_head import landmark_head
from sheap.training.step import camera_center
from sheap.video.face_landmarker import FaceLandmarker

PEOPLE = 400
STEPS = 400
BATCH = 48
KEEPS_SMALL = 0.0025
"""What the calibration's size counts, over the landmarks' weight, as in params.yaml (`calibration` over `landmarks`)."""


def learn_habits(
    network: SheapNetwork, reader: ShardReader, landmarker: FaceLandmarker, *, people: int = PEOPLE, steps: int = STEPS
) -> tuple[float, float]:
    """Teaches network.landmark_calibration alone. Returns the landmark loss on the photos before and after.

    Raises ValueError where no face was found in any photo.
    """
    sides, seen, points = BothSides.of(network), [], []
    for clip in range(min(people, len(reader))):
        known = reader.landmarks(clip)
        for k in range(reader.num_frames(clip)):
            image = reader.image(clip, k)
            found = detected(landmarker, image, known[k])
            if found is not None:
                crop = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
                with torch.no_grad():
                    seen.append(sides.params(crop))
                points.append(torch.from_numpy(found[:, :2].copy()))
    if not points:
        raise ValueError(f"{reader.folder}: no face found in any of the photos")
    head, cameras = landmark_head(network.head), published_camera(reader.image_size)
    params, wanted = HeadParams.concatenate(seen), torch.stack(points)
    calibration = network.landmark_calibration
    with torch.no_grad():
        calibration.offsets.zero_()
        calibration.by_turn.zero_()
        vertices = head(params).vertices
        plain = head.landmarks(vertices)
        weights = head.landmark_weights * visibility_weights(vertices[:, head.faces], camera_center(cameras))

    def loss(rows: Tensor) -> Tensor:
        placed = calibration(plain[rows], vertices[rows], head.faces, params.index(rows).turn)
        predicted, _ = project(placed, cameras)
        return landmark_loss(predicted[:, 0], wanted[rows], weights[rows], reader.image_size)

    everything = torch.arange(len(wanted))
    with torch.no_grad():
        before = float(loss(everything))
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(calibration.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    calibration.requires_grad_()
    with torch.enable_grad():
        for _ in range(steps):
            rows = torch.randint(len(wanted), (BATCH,), generator=generator)
            optimizer.zero_grad()
            (loss(rows) + KEEPS_SMALL * calibration.size()).backward()
            optimizer.step()
            schedule.step()
    calibration.requires_grad_(False)
    with torch.no_grad():
        return before, float(loss(everything))
