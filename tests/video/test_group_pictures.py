"""A picture of a group: small faces are found although larger ones are seen at once."""

from __future__ import annotations

import cv2
import numpy as np

from sheap.video.face_detector import FaceDetection
from sheap.video.face_region import LEFT_EYE_OUTER, RIGHT_EYE_OUTER, FaceLandmarks, FaceRoi
from sheap.video.face_search import search_faces

LEAST = 0.15


class Blobs:
    """Takes bright squares for faces, if they are large enough in what is shown, as the detector does."""

    def __init__(self, picture: np.ndarray) -> None:
        self.picture = picture
        self.looks = 0

    def detect(self, image: np.ndarray) -> list[FaceDetection]:
        self.looks += 1
        return [
            FaceDetection(box, np.array([[box[0], box[1]], [box[2], box[1]]], np.float32), 0.95)
            for box in blobs(image)
            if box[3] - box[1] >= LEAST * max(image.shape[:2])
        ]

    def landmarks(self, image: np.ndarray, roi: FaceRoi) -> FaceLandmarks:
        boxes = blobs(image)
        middles = np.array([[(box[0] + box[2]) / 2, (box[1] + box[3]) / 2] for box in boxes])
        left, top, right, bottom = boxes[int(np.abs(middles - [roi.center_x, roi.center_y]).sum(1).argmin())]
        points = np.zeros((478, 3), np.float32)
        points[:, :2] = [(left + right) / 2, (top + bottom) / 2]
        points[RIGHT_EYE_OUTER, :2], points[LEFT_EYE_OUTER, :2] = [left, top], [right, top]
        points[0, :2], points[1, :2] = [left, bottom], [right, bottom]
        return FaceLandmarks(points, 1.0)


def blobs(image: np.ndarray) -> list[np.ndarray]:
    count, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] > 128).astype(np.uint8))
    return [np.array([x, y, x + w, y + h], np.float32) for x, y, w, h, _ in stats[1:count]]


def test_everybody_of_a_group_is_found_once() -> None:
    picture = np.zeros((600, 900, 3), np.uint8)
    for left, top, side in ((100, 100, 200), (600, 80, 40), (700, 400, 90)):
        picture[top : top + side, left : left + side] = 255
    models = Blobs(picture)
    first = search_faces(models, picture, closely=True)
    assert len(first) == 1 and models.looks == 1, "one look is enough for the surest face"
    everybody = search_faces(models, picture, closely=True, thoroughly=True)
    assert sorted(float(np.ptp(found.face.points[:, 0])) for found in everybody) == [40, 90, 200]
    looked = models.looks
    assert search_faces(models, np.zeros_like(picture), closely=True, thoroughly=True) == [] and models.looks > 2 * looked
