"""A network's error on the rendered benchmark, in memory: NoW's, and the true one."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.evaluation.head_meshes import neutral, neutral_meshes
from sheap.evaluation.now.dataset import NowDataset
from sheap.evaluation.now.subject import evaluate_prediction
from sheap.evaluation.now.submission import NowPrediction, measure_each
from sheap.evaluation.predictions import Predictions, mean_heads, predict_pictures
from sheap.evaluation.rendered_truth import read_true_shapes
from sheap.evaluation.true_error import true_vertex_errors
from sheap.head import HeadModel, HeadParams
from sheap.networks.sheap_network import SheapNetwork
from sheap.video.face_landmarker import FaceLandmarker, FaceLandmarks


class NetworkPredictor:
    """A network as evaluation asks for it."""

    def __init__(self, network: SheapNetwork) -> None:
        self.network, self.head = network, network.head
        self.image_size = network.config.encoder.image_size

    @torch.inference_mode()
    def predict(self, images: Tensor) -> HeadParams:
        """Head crops [B, 3, S, S] in [0, 1] -> parameters of B heads."""
        return self.network.encode(images).params


class RememberedFaces:
    """Finds faces, each picture's once: a benchmark is scored many times."""

    def __init__(self) -> None:
        self._finder = FaceLandmarker()
        self._found: dict[bytes, list[FaceLandmarks]] = {}

    def process(self, image: NDArray[np.uint8]) -> list[FaceLandmarks]:
        key = sha256(image.tobytes()).digest()
        if key not in self._found:
            self._found[key] = self._finder.process(image)
        return self._found[key]


class BenchmarkScore:
    """Scores networks on one rendered benchmark. Raises ValueError where the true heads are not known."""

    def __init__(self, root: Path) -> None:
        self._dataset = NowDataset.open(root)
        shapes = read_true_shapes(root)
        if shapes is None:
            raise ValueError(f"{root}: not a rendered benchmark: no truth to score by")
        head = HeadModel.load()
        self._faces, self._region = RememberedFaces(), head.region_masks["face"].numpy()
        self._scans = {subject: self._dataset.scan(subject) for subject in self._dataset.subjects}
        truth = torch.from_numpy(np.stack([shapes[subject] for subject in self._scans]))
        self._truth = dict(zip(self._scans, neutral_meshes(head, truth)[0], strict=True))

    def __call__(self, network: SheapNetwork) -> dict[str, float]:
        """now_median_mm, now_mean_mm (over all vertices of all pictures, as NoW counts), and true_mean_mm (corresponding
        vertices of the face, after a similarity)."""
        network.eval()
        _, answers = predict_pictures(self._dataset, {"": NetworkPredictor(network)}, self._faces)
        return self._errors(answers[""])

    def mean_head(self, head: HeadModel) -> dict[str, float]:
        """The same figures of the mean head: what is to be beaten."""
        return self._errors(mean_heads(head, self._dataset.images))

    def _errors(self, predictions: Predictions) -> dict[str, float]:
        source, now, true = neutral(predictions), [], []
        for subject, scan in self._scans.items():
            images = [image for image in self._dataset.of_subject(subject) if image in predictions.rows]
            truth = self._truth[subject].vertices

            def measure(prediction: NowPrediction, scan=scan, truth=truth) -> tuple[NDArray[np.float64], float]:
                apart = true_vertex_errors(prediction.mesh.vertices, truth, self._region)
                return evaluate_prediction(scan, prediction).distances, float(apart.mean())

            for distances, apart in measure_each(source.of_images(images), images, measure):
                now.append(distances)
                true.append(apart)
        together = np.concatenate(now)
        return {
            "now_median_mm": float(np.median(together)),
            "now_mean_mm": float(together.mean()),
            "true_mean_mm": float(np.mean(true)),
        }
