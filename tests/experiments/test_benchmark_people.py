"""One picture, a person's pictures together, and the mean head on a rendered benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from experiments import benchmark_people
from experiments.benchmark_people import ALONE, MEAN_HEAD, TOGETHER, RememberedLooks, measure, rendered, together, write_page
from sheap.evaluation.head_meshes import neutral_meshes
from sheap.evaluation.landmark_files import write_picked_points
from sheap.evaluation.mesh_files import write_obj
from sheap.evaluation.now.dataset import NowImage
from sheap.evaluation.predictions import Predictions
from sheap.head import HeadModel, HeadParams
from sheap.networks.head_codes import HeadCodes


def codes_of(params: HeadParams) -> HeadCodes:
    nothing = torch.zeros(len(params.shape), 1)
    return HeadCodes(params, nothing, nothing)


class ByGrey:
    """A network for pictures of one grey: each level has a shape of its own. Together, a person's shapes are averaged."""

    def __init__(self, head: HeadModel, shapes: dict[int, np.ndarray]) -> None:
        self.head, self._shapes = head, shapes
        self.config = type("Config", (), {"encoder": type("Encoder", (), {"image_size": 32})})

    def encode(self, images: torch.Tensor) -> HeadCodes:
        grey = (255 * images.mean((1, 2, 3))).numpy()
        nearest = [min(self._shapes, key=lambda level: abs(level - value)) for value in grey]
        shape = torch.from_numpy(np.stack([self._shapes[level] for level in nearest]).astype(np.float32))
        return codes_of(HeadParams.zeros(self.head, len(images)).replace(shape=shape))

    def shape_evidence(self, codes) -> tuple[torch.Tensor, torch.Tensor]:
        return codes.params.shape, torch.zeros(len(codes.params.shape))

    def shape_from(self, values) -> torch.Tensor:
        return values


class NoFaces:
    def process(self, image):
        return []


@pytest.fixture(scope="module")
def head() -> HeadModel:
    """Without a mirror, since one grey is the same mirrored: pictures are seen once."""
    head = HeadModel.load()
    head.mirror_vertex_ids = None
    return head


@pytest.fixture(scope="module")
def truth(head) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {name: rng.standard_normal(head.num_shape).astype(np.float32) for name in ("ann", "bob")}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory, head, truth) -> Path:
    """Two people with two grey pictures each, whose scans are the true heads."""
    root = tmp_path_factory.mktemp("benchmark")
    lines = []
    for number, (name, shape) in enumerate(truth.items()):
        for folder in (f"scans/{name}", f"scans_lmks_onlypp/{name}"):
            (root / folder).mkdir(parents=True)
        (mesh,), landmarks = neutral_meshes(head, torch.from_numpy(shape)[None])
        write_obj(root / f"scans/{name}/{name}.obj", mesh)
        write_picked_points(root / f"scans_lmks_onlypp/{name}/{name}.pp", landmarks[0], f"{name}.obj")
        for k, challenge in enumerate(("selfie", "multiview_neutral")):
            for folder in ("iphone_pictures", "detected_face"):
                (root / folder / name / challenge).mkdir(parents=True)
            lines.append(f"{name}/{challenge}/a.png")
            level = 40 + 100 * number + 50 * k
            cv2.imwrite(str(root / "iphone_pictures" / lines[-1]), np.full((120, 120, 3), level, np.uint8))
            box = {"left": 40.0, "top": 40.0, "right": 80.0, "bottom": 80.0}
            np.save(root / f"detected_face/{name}/{challenge}/a.npy", np.array(box, dtype=object), allow_pickle=True)
    (root / "imagepathsvalidation.txt").write_text("\n".join(lines))
    subjects = [{"name": name, "shape": shape.tolist()} for name, shape in truth.items()]
    (root / "benchmark.json").write_text(json.dumps({"subjects": subjects}))
    return root


def test_pictures_whose_errors_differ_are_better_together(benchmark, head, truth, tmp_path):
    """Each picture's shape is off, one to each side: together they are the truth."""
    off = np.random.default_rng(5).standard_normal(head.num_shape).astype(np.float32)
    shapes = {
        40: truth["ann"] + off, 90: truth["ann"] - off, 140: truth["bob"] + off, 190: truth["bob"] - off,
    }  # fmt: skip
    found = measure(benchmark, ByGrey(head, shapes), NoFaces())
    assert found["people"] == 2 and found["pictures"] == 4
    methods = found["methods"]
    assert methods[TOGETHER]["true"]["overall"] < 1e-3 < 0.5 < methods[ALONE]["true"]["overall"]
    assert methods[TOGETHER]["now"]["overall"] < 0.02 < methods[ALONE]["now"]["overall"]
    assert methods[MEAN_HEAD]["now"]["overall"] > 0.5
    assert set(methods[ALONE]["now"]) == {"overall", "selfie", "multiview_neutral"}
    write_page({"data/benchmark": found}, "command", "model", tmp_path)
    page = (tmp_path / "benchmark_people.md").read_text()
    assert f"{methods[ALONE]['now']['selfie']:.3f}" in page and "| true, overall |" in page


def test_a_benchmark_of_shapes_outside_the_basis_has_no_true_error(benchmark, head, truth):
    (benchmark / "benchmark.json").rename(benchmark / "kept")
    try:
        found = measure(benchmark, ByGrey(head, {90: truth["ann"]}), NoFaces())
    finally:
        (benchmark / "kept").rename(benchmark / "benchmark.json")
    assert found["methods"][ALONE]["true"] == {} and found["methods"][MEAN_HEAD]["now"]["overall"] > 0.5


def test_nobodys_pictures_are_mixed(head, monkeypatch):
    images = [NowImage(name, "selfie", f"{k}.jpg") for k in range(2) for name in ("ann", "bob")]
    shape = torch.arange(4.0)[:, None].expand(4, head.num_shape)
    params = HeadParams.zeros(head, 4).replace(shape=shape)
    remembered = RememberedLooks(ByGrey(head, {0: np.zeros(head.num_shape)}))
    remembered.predict(torch.zeros(4, 3, 8, 8))
    monkeypatch.setattr(remembered, "looks", lambda: [codes_of(params)])
    made = together(Predictions(head, params, {image: k for k, image in enumerate(images)}), remembered)
    assert made.params.shape[:, 0].tolist() == [1.0, 2.0, 1.0, 2.0]
    assert params.shape[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_what_is_not_there_is_told_in_a_line(tmp_path, capsys):
    assert benchmark_people.main([]) == 1
    assert "dvc repro benchmark" in capsys.readouterr().err
    assert benchmark_people.main([str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert benchmark_people.main(["--ict", str(tmp_path)]) == 1
    assert "--into" in capsys.readouterr().err
    (tmp_path / "plain").mkdir()
    with pytest.raises(ValueError, match="without people of ICT"):
        rendered(tmp_path / "plain", tmp_path)
