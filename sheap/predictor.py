"""The public door: a picture in, head parameters and a mesh out. At inference only the encoder and the head model run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sheap.bundle import SHIPPED_MODEL, BundleConfig, load_bundle
from sheap.evaluation.verdict import Verdict, judge_prediction
from sheap.geometry.cameras import Cameras, published_camera
from sheap.head import HeadMesh, HeadModel, HeadParams
from sheap.head.turning import turned_back
from sheap.networks.both_sides import BothSides
from sheap.networks.sheap_network import SheapNetwork
from sheap.transfer.arkit import ArkitWeights
from sheap.transfer.parameters import HeadTransfer
from sheap.video.crops import CropBox, crop_box, cut_crop
from sheap.video.face_choice import BoxFormat, box_sides, faces_around, meant_face, no_meant_face
from sheap.video.face_landmarker import FaceLandmarker, FaceLandmarks
from sheap.video.face_search import no_face
from sheap.video.transparency import opaque


@dataclass(frozen=True)
class ImagePrediction:
    """One face of a picture: params (batch of one), the crop they were seen in, its landmarks [478, 3] px, and whether the
    answer is to be trusted.

    All of the picture as it was given: where the face is rolled farther than the network knows, the network was shown the crop
    turned upright, `turned_deg` counter-clockwise, and its answer is turned back.
    """

    params: HeadParams
    crop: CropBox
    landmarks: NDArray[np.float32]
    verdict: Verdict
    turned_deg: float = 0.0


class SheapPredictor:
    """Predicts heads from head crops, or from pictures in which it finds the face itself."""

    def __init__(
        self,
        network: SheapNetwork,
        config: BundleConfig,
        landmark_model: Path | None = None,
        transfer: HeadTransfer | None = None,
        arkit_weights: ArkitWeights | None = None,
    ) -> None:
        self.network = network
        self.sides = BothSides.of(network)
        self.config = config
        self.transfer = transfer
        self._arkit_weights = arkit_weights
        self._landmark_model = landmark_model
        self._landmarker: FaceLandmarker | None = None

    @classmethod
    def load(
        cls,
        folder: Path | str | None = None,
        *,
        head_model: Path | None = None,
        landmark_model: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> SheapPredictor:
        """From a registered bundle or a `data/model` folder; None: the predictor that comes with the package.

        head_model: needed where it was trained with another than the shipped one. landmark_model: MediaPipe's bundle, where
        it is not the installed one. Raises ValueError naming the file when something does not belong together.
        """
        network, config = load_bundle(SHIPPED_MODEL if folder is None else Path(folder), head_model)
        return cls(network.to(device), config, landmark_model)

    @property
    def head(self) -> HeadModel:
        """The head model that it answers in: the one it was trained with, or the one that its answers are carried over to."""
        return self.network.head if self.transfer is None else self.transfer.b

    def answering_in(self, transfer: HeadTransfer) -> SheapPredictor:
        """The same predictor with answers in another head model's parameters and mesh (sheap.transfer).

        Raises ValueError for a transfer from another head than the one it was trained with.
        """
        if transfer.a is not self.network.head:
            raise ValueError("transfer: does not start from the head model that this predictor was trained with")
        return SheapPredictor(self.network, self.config, self._landmark_model, transfer, self._arkit_weights)

    def with_arkit(self, weights: ArkitWeights) -> SheapPredictor:
        """The same predictor with ARKit's weights for a head model that has no such shapes itself."""
        return SheapPredictor(self.network, self.config, self._landmark_model, self.transfer, weights)

    def arkit(self, params: HeadParams) -> Tensor:
        """Predicted expressions [B] as ARKit's 52 weights [B, 52] (order: sheap.transfer.arkit.ARKIT_NAMES); NaN for shapes that
        the head model has nothing like. Raises ValueError where nothing says what the shapes do to this head."""
        if self._arkit_weights is None:
            self._arkit_weights = ArkitWeights(self.head, self.transfer)
        return self._arkit_weights(params)

    @property
    def image_size(self) -> int:
        """Side of the crops the network was trained on; others are resized to it."""
        return self.config.preprocessing.image_size

    @property
    def face_finder(self) -> FaceLandmarker:
        """Finds the faces that it predicts; loaded when first asked for."""
        if self._landmarker is None:
            self._landmarker = FaceLandmarker(self._landmark_model)
        return self._landmarker

    def camera(self, size: int) -> Cameras:
        """The fixed camera that sees predictions where they are in a size x size crop."""
        return published_camera(size, device=self.network.head.template.device)

    @torch.inference_mode()
    def predict(self, images: Tensor) -> HeadParams:
        """Head crops [B, 3, S, S] in [0, 1] -> parameters of B heads. Raises ValueError for another shape or range.

        Where the head model has a mirror, each crop is seen twice (sheap.networks.both_sides).
        """
        return self.answer(self.sides.params(self._prepared(images)))

    def answer(self, params: HeadParams) -> HeadParams:
        """The network's parameters in the head model that is answered in."""
        return params if self.transfer is None else self.transfer(params)

    @torch.inference_mode()
    def sight(self, images: Tensor) -> tuple[HeadParams, Tensor, Tensor]:
        """Head crops [B, 3, S, S] in [0, 1] -> what the network itself says: parameters of its own head model (`answer` carries
        them over), and evidence of the shapes, as BothSides.shape_evidence has it. Raises ValueError as `predict` does."""
        looks = self.sides.looks(self._prepared(images))
        return self.sides.heads(looks), *self.sides.shape_evidence(looks)

    @torch.inference_mode()
    def shape_from(self, values: Tensor) -> Tensor:
        """The shapes [B, S] that (averaged) values [B, D] of `sight` stand for."""
        return self.sides.shape_from(values)

    def _prepared(self, images: Tensor) -> Tensor:
        """Checked crops on the network's device and at its size."""
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
            raise ValueError(f"images: expected square crops [B, 3, S, S], got {list(images.shape)}")
        if not images.is_floating_point() or (images.numel() and not (images.amin() >= 0 and images.amax() <= 1)):
            raise ValueError("images: expected floats in [0, 1]")
        images = images.to(self.network.head.template.device, torch.float32)
        if images.shape[-1] != self.image_size:
            size = (self.image_size, self.image_size)
            images = torch.nn.functional.interpolate(images, size, mode="bilinear", antialias=True).clamp(0, 1)
        return images

    @torch.inference_mode()
    def predict_person(self, images: Tensor) -> HeadParams:
        """Head crops [V, 3, S, S] in [0, 1] of one person -> parameters of V heads, all with the one shape that the pictures say
        together, each by what it shows. Raises ValueError as `predict` does, and for no picture."""
        if len(images) == 0:
            raise ValueError("images: expected at least one picture of the person")
        return self.answer(self.sides.person(self._prepared(images)))

    def predict_published(self, images: Tensor) -> dict[str, Tensor]:
        """Head crops [B, 3, S, S] in [0, 1] -> the dict of SHeaP's released predictor, key for key.

        Every value is [B, ...]; `expr` has as many coefficients as the head model has (FLAME: 100). What the head model has not
        (eyelids, a joint) has no key.
        """
        params = self.predict(images)
        published = {
            "shape_from_facenet": params.shape,
            "expr": params.expression,
            "eyelids": params.eyelids,
            "cam_trans": params.translation,
            "torso_pose": params.root_rotvec,
            "neck_pose": params.neck_rotvec,
            "jaw_pose": params.jaw_rotvec,
            "eye_l_pose": params.eye_left_rotvec,
            "eye_r_pose": params.eye_right_rotvec,
        }
        return {name: value for name, value in published.items() if value is not None}

    def predict_image(
        self, image: NDArray[np.uint8], face_box: Sequence[float] | None = None, box_format: BoxFormat = "ltrb"
    ) -> ImagePrediction:
        """A picture, uint8 RGB [H, W, 3] or RGBA [H, W, 4] (what is transparent is seen over grey), of any size.

        face_box: four numbers that say where the face is that is meant, as `box_format` has them (sheap.video.face_choice); None
        takes the one found with most certainty. Raises ValueError when no face is found, or none where `face_box` says, and
        for another picture or box.
        """
        image = opaque(image)
        box = None if face_box is None else box_sides(face_box, box_format, image.shape[0], image.shape[1])
        faces = self.face_finder.process(image)
        face = meant_face(faces, box)
        if face is None and box is not None:
            face = meant_face(faces_around(self.face_finder, image, box), box)
        if face is None and not faces:
            raise ValueError(f"image: {no_face(image)}")
        if face is None:
            raise ValueError(f"face_box: {no_meant_face(faces, face_box, box_format)}")
        return self._predict_face(image, face)

    def predict_faces(self, image: NDArray[np.uint8]) -> list[ImagePrediction]:
        """Every face of a picture, uint8 RGB [H, W, 3] or RGBA [H, W, 4], small ones too; the one seen largest first.

        Raises ValueError when no face is found.
        """
        image = opaque(image)
        faces = self.face_finder.all_faces(image)
        if not faces:
            raise ValueError(f"image: {no_face(image)}")
        return sorted((self._predict_face(image, face) for face in faces), key=lambda found: -found.crop.side)

    def _predict_face(self, image: NDArray[np.uint8], face: FaceLandmarks) -> ImagePrediction:
        crop = crop_box(face.points)
        pixels = torch.from_numpy(cut_crop(image, crop, self.image_size)).permute(2, 0, 1)[None].float() / 255
        params = turned_back(self.head, self.predict(pixels), torch.tensor([crop.turn_deg]))
        verdict = judge_prediction(self.head, params, crop.level(), face)
        return ImagePrediction(params, crop.level(), face.points, verdict, crop.turn_deg)

    def mesh(self, params: HeadParams) -> HeadMesh:
        """The posed meshes of predictions."""
        return self.head(params)

    @torch.inference_mode()
    def detector_landmarks(self, params: HeadParams) -> Tensor:
        """Where MediaPipe's detector would put its landmarks on these heads [B]: [B, 478, 3], metres.

        They differ from the head model's own (`head.landmarks`) by habits of the detector that were learnt in training; answers
        in another head model's parameters have that model's own.
        """
        head = self.head
        vertices = head(params).vertices
        points = head.landmarks(vertices)
        if self.transfer is not None or head.landmark_faces is None:
            return points
        return self.network.landmark_calibration(points, vertices, head.faces[head.landmark_faces], params.turn)

    def neutral(self, params: HeadParams) -> Tensor:
        """The identities alone, at rest with a neutral face: vertices [B, N, 3], metres."""
        return self.head.neutral(params.shape)


def load_predictor(
    folder: Path | str | None = None,
    *,
    head_model: Path | None = None,
    landmark_model: Path | None = None,
    device: torch.device | str = "cpu",
) -> SheapPredictor:
    """SheapPredictor.load, as `sheap.load_predictor`."""
    return SheapPredictor.load(folder, head_model=head_model, landmark_model=landmark_model, device=device)
