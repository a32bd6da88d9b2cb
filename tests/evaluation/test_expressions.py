"""Faces with an expression: regions, the folder layout, and errors that tell a right expression from a missing one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from sheap.evaluation.expression_dataset import ExpressionDataset, ExpressionImage, ExpressionWriter
from sheap.evaluation.expression_error import evaluate_expressions
from sheap.evaluation.face_regions import REGIONS, face_regions
from sheap.evaluation.head_meshes import expressive_meshes, neutral_meshes
from sheap.evaluation.measures.base import Inputs, Method
from sheap.evaluation.measures.expressions import ExpressionMeasure, ExpressionSettings
from sheap.evaluation.now.submission import SubmissionFolder, write_prediction
from sheap.evaluation.predictions import mean_head
from sheap.evaluation.rendered_expressions import scan_expression
from sheap.evaluation.similarity import rodrigues
from sheap.head import HeadModel, HeadParams
from sheap.video.face_landmarker import FaceLandmarks

NOISE_MM = 0.1
IMAGES = [ExpressionImage("ann", "shout", "0.jpg"), ExpressionImage("bob", "shout", "0.jpg")]


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


@pytest.fixture(scope="module")
def truth(head: HeadModel) -> HeadParams:
    """Two people who shout, turned away."""
    params = HeadParams.zeros(head, 2)
    shape = torch.randn(2, head.num_shape, generator=torch.Generator().manual_seed(1))
    jaw = head.action_names.index("jawOpen")
    return params.replace(
        shape=shape,
        expression=0.8 * head.action_matrix[jaw].expand(2, -1).clone(),
        jaw_rotvec=0.8 * head.action_rotvecs[jaw, 2].expand(2, -1).clone(),
        root_rotvec=torch.tensor([[0.1, 0.5, 0.0], [0.0, -0.4, 0.1]]),
        translation=torch.tensor([[0.0, 0.1, 0.3], [0.2, 0.0, 0.0]]),
    )


@pytest.fixture
def dataset(head: HeadModel, truth: HeadParams, tmp_path: Path) -> ExpressionDataset:
    writer = ExpressionWriter(tmp_path / "expressions")
    picture = np.full((240, 300, 3), 90, np.uint8)
    for number, image in enumerate(IMAGES):
        scan = scan_expression(head, truth.index(number), NOISE_MM, np.random.default_rng(number))
        writer.add(image, picture, *scan)
    writer.write_list(IMAGES)
    return ExpressionDataset.open(tmp_path / "expressions")


def write_all(folder: Path, meshes, landmarks) -> SubmissionFolder:
    for image, mesh, points in zip(IMAGES, meshes, landmarks, strict=True):
        write_prediction(folder, image, mesh, points)
    return SubmissionFolder(folder)


def test_regions_share_out_the_face(head: HeadModel) -> None:
    vertices, landmarks = head.template.numpy(), head.now_landmarks(head.template).numpy()
    regions = face_regions(vertices, landmarks)
    assert tuple(regions) == REGIONS
    np.testing.assert_array_equal(sum(mask.astype(int) for mask in regions.values()), 1)
    skin = head.region_masks
    assert regions["mouth"][skin["lips"].numpy()].all()
    assert regions["eyes"][skin["eyelids"].numpy()].all()
    assert regions["nose"][skin["nose"].numpy()].mean() > 0.9
    assert regions["forehead"][skin["forehead"].numpy()].mean() > 0.9
    turned = rodrigues(np.array([0.3, 2.0, -0.4]))
    again = face_regions(300 * vertices @ turned.T + 7, 300 * landmarks @ turned.T + 7)
    for name in REGIONS:
        np.testing.assert_array_equal(again[name], regions[name])


def test_an_open_mouth_stays_in_its_region(head: HeadModel, truth: HeadParams) -> None:
    meshes, landmarks = expressive_meshes(head, truth)
    for mesh, points in zip(meshes, landmarks, strict=True):
        assert face_regions(mesh.vertices, points)["mouth"][head.region_masks["lips"].numpy()].all()


def test_the_right_expression_leaves_noise_and_a_missing_one_the_mouth(head, truth, dataset, tmp_path) -> None:
    methods = {
        "exact": write_all(tmp_path / "exact", *expressive_meshes(head, truth)),
        "neutral": write_all(tmp_path / "neutral", *neutral_meshes(head, truth.shape)),
    }
    figures, missing = evaluate_expressions(dataset, methods)
    exact, neutral = figures["exact"], figures["neutral"]
    # The mean distance of Gaussian noise along the normal; the alignment takes a little of it.
    assert exact["overall"]["mean_mm"] == pytest.approx(NOISE_MM * np.sqrt(2 / np.pi), rel=0.15)
    assert neutral["mouth"]["mean_mm"] > 20 * exact["mouth"]["mean_mm"]
    assert neutral["mouth"]["mean_mm"] > 1.5 * neutral["forehead"]["mean_mm"]
    assert sum(exact[name]["vertices"] for name in REGIONS) == exact["overall"]["vertices"]
    assert exact["overall"]["images"] == 2 and missing == ()


def test_meshes_of_predictions_have_an_expression_and_no_pose(head: HeadModel, truth: HeadParams) -> None:
    (posed, _), (still, _) = (
        expressive_meshes(head, truth),
        expressive_meshes(head, truth.replace(root_rotvec=torch.zeros(2, 3), translation=torch.zeros(2, 3))),
    )
    np.testing.assert_array_equal(posed[0].vertices, still[0].vertices)
    neutral = neutral_meshes(head, truth.shape)[0][0].vertices
    assert np.abs(posed[0].vertices - neutral).max() > 10


def test_a_missing_prediction_is_named_and_none_is_an_error(head, truth, dataset, tmp_path) -> None:
    meshes, landmarks = expressive_meshes(head, truth)
    write_prediction(tmp_path / "one", IMAGES[0], meshes[0], landmarks[0])
    figures, missing = evaluate_expressions(dataset, {"one": SubmissionFolder(tmp_path / "one")})
    assert missing == (IMAGES[1],) and figures["one"]["overall"]["images"] == 1
    with pytest.raises(ValueError, match="none: no prediction for any image"):
        evaluate_expressions(dataset, {"none": SubmissionFolder(tmp_path / "none")})


def test_point_clouds_and_meshes_are_read_from_ply(dataset: ExpressionDataset, head: HeadModel, truth) -> None:
    cloud = dataset.scan(IMAGES[0])
    path = dataset.root / "scans/ann/shout/0.ply"
    trimesh.PointCloud(cloud.points).export(path)
    np.testing.assert_allclose(dataset.scan(IMAGES[0]).points, cloud.points, atol=1e-3)
    mesh = expressive_meshes(head, truth)[0][0]
    trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(path)
    np.testing.assert_allclose(dataset.scan(IMAGES[0]).points, mesh.vertices, atol=1e-3)
    trimesh.PointCloud(np.full((3, 3), np.nan)).export(path)
    with pytest.raises(ValueError, match=r"0\.ply: points: 3 of 3 are NaN"):
        dataset.scan(IMAGES[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no images"),
        ("ann/0.jpg\n", "line 1: expected SUBJECT/SEQUENCE/IMAGE"),
        ("../a/0.jpg\n", "line 1: expected SUBJECT"),
        ("a/b/0.jpg\na/b/0.png\n", "listed more than once"),
    ],
)
def test_bad_lists_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"imagepaths\.txt: missing"):
        ExpressionDataset.open(tmp_path)
    (tmp_path / "imagepaths.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        ExpressionDataset.open(tmp_path)


def test_absent_files_are_named(dataset: ExpressionDataset) -> None:
    (dataset.root / "scans/ann/shout/0.obj").unlink()
    with pytest.raises(FileNotFoundError, match=r"scans/ann/shout/0: no \.ply or \.obj"):
        dataset.scan(IMAGES[0])
    (dataset.root / "landmarks/bob/shout/0.npy").unlink()
    with pytest.raises(FileNotFoundError, match="landmarks/bob/shout/0"):
        dataset.scan(IMAGES[1])
    (dataset.root / "images/bob/shout/0.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"images/bob/shout/0\.jpg"):
        dataset.image_path(IMAGES[1])


class KnowsTheTruth:
    """Answers with the true parameters, in the order of the list."""

    image_size = 32

    def __init__(self, head: HeadModel, truth: HeadParams) -> None:
        self.head, self.truth = head, truth

    def predict(self, images: torch.Tensor) -> HeadParams:
        return self.truth.index(slice(0, len(images)))


class Finder:
    """Finds one face, or none."""

    def __init__(self, faces: list[np.ndarray]) -> None:
        self.faces = faces

    def process(self, image: np.ndarray) -> list[FaceLandmarks]:
        return [FaceLandmarks(face, 0.9) for face in self.faces]


def test_the_measure_tells_what_the_expression_is_worth(head, truth, dataset, tmp_path) -> None:
    face = (800.0 * head.landmarks(head.template).numpy() * [1, -1, -1] + [150, 120, 0]).astype(np.float32)
    settings = ExpressionSettings(expressions_dir=dataset.root)
    knowing = KnowsTheTruth(head, truth)
    methods = [Method("model", knowing), Method("mean_head", knowing, mean_head)]
    figures = ExpressionMeasure().figures(settings, Inputs(methods, Finder([face]), tmp_path, batch_size=16, num_workers=1))
    section = figures["expressions"]
    mouth = {name: errors["mouth"]["median_mm"] for name, errors in section["methods"].items()}
    assert list(mouth) == ["model", "identity_alone", "mean_head"]
    assert mouth["model"] < 0.1 < mouth["identity_alone"] < mouth["mean_head"]
    assert section["num_images"] == 2 and section["without_face"] == []
    [table] = ExpressionMeasure().tables(figures)
    assert [row.cells[0] for row in table.rows] == ["overall", *REGIONS]
    with pytest.raises(ValueError, match="no face found in any of 2"):
        ExpressionMeasure().figures(settings, Inputs(methods, Finder([]), tmp_path, batch_size=16, num_workers=1))
