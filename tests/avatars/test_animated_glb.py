"""The glTF file poses the head as the head model does, frame by frame, and a validator of the format finds nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pygltflib as gltf
import pytest
import torch

from sheap.avatars.animated_glb import write_animated_glb
from sheap.geometry.rotations import quat_wxyz_to_matrix
from sheap.head import HeadModel, HeadParams

FRAMES, TIMES = 4, [0.0, 0.04, 0.08, 0.2]
VALIDATOR = "gltf-validator@2.0.0-dev.3.10"


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


@pytest.fixture(scope="module")
def params(head) -> HeadParams:
    generator = torch.Generator().manual_seed(0)
    zero = HeadParams.zeros(head, FRAMES)
    moved = zero.map(lambda value: 0.4 * torch.randn(value.shape, generator=generator))
    eyelids = torch.tensor([[0.0, 1.0], [0.5, 0.3], [1.0, 0.0], [0.2, 0.9]])
    return moved.replace(shape=torch.randn(1, head.num_shape, generator=generator).expand(FRAMES, -1), eyelids=eyelids)


@pytest.fixture(scope="module")
def file(head, params, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("glb") / "person.glb"
    write_animated_glb(path, head, params, TIMES)
    return path


class Played:
    """A slow reader of the file, by the words of glTF 2.0 alone."""

    def __init__(self, path: Path) -> None:
        self.document = gltf.GLTF2().load_binary(str(path))
        self.blob = self.document.binary_blob()

    def array(self, number: int) -> np.ndarray:
        accessor = self.document.accessors[number]
        view = self.document.bufferViews[accessor.bufferView]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}[accessor.type]
        dtype = {gltf.FLOAT: np.float32, gltf.UNSIGNED_INT: np.uint32, gltf.UNSIGNED_BYTE: np.uint8}[accessor.componentType]
        return np.frombuffer(self.blob, dtype, accessor.count * width, view.byteOffset).reshape(accessor.count, width)

    def tracks(self, frame: int) -> dict[tuple[int, str], np.ndarray]:
        animation = self.document.animations[0]
        found = {}
        for channel in animation.channels:
            sampler = animation.samplers[channel.sampler]
            frames = self.array(sampler.input).size
            found[channel.target.node, channel.target.path] = self.array(sampler.output).reshape(frames, -1)[frame]
        return found

    def vertices(self, frame: int) -> np.ndarray:
        tracks, skin, mesh = self.tracks(frame), self.document.skins[0], self.document.meshes[0]
        world: dict[int, np.ndarray] = {}

        def place(node: int, above: np.ndarray) -> None:
            local = np.eye(4)
            x, y, z, w = tracks[node, "rotation"]
            local[:3, :3] = quat_wxyz_to_matrix(torch.tensor([w, x, y, z], dtype=torch.double)).numpy()
            local[:3, 3] = tracks[node, "translation"]
            world[node] = above @ local
            for child in self.document.nodes[node].children:
                place(child, world[node])

        place(skin.joints[0], np.eye(4))
        inverse = self.array(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
        matrices = np.stack([world[node] @ bind for node, bind in zip(skin.joints, inverse, strict=True)])
        primitive = mesh.primitives[0]
        points = self.array(primitive.attributes.POSITION).astype(float)
        for weight, target in zip(tracks[0, "weights"], primitive.targets, strict=True):
            points = points + weight * self.array(target["POSITION"] if isinstance(target, dict) else target.POSITION)
        homogeneous = np.concatenate([points, np.ones((len(points), 1))], 1)
        joints, weights = self.array(primitive.attributes.JOINTS_0), self.array(primitive.attributes.WEIGHTS_0)
        blended = (weights[..., None, None] * matrices[joints]).sum(1)
        return np.einsum("nij,nj->ni", blended, homogeneous)[:, :3]

    def triangles(self) -> np.ndarray:
        return self.array(self.document.meshes[0].primitives[0].indices).reshape(-1, 3)


def test_every_frame_is_the_head_models(file, head, params):
    played, wanted = Played(file), head(params).vertices.numpy()
    triangles = played.triangles()
    assert triangles.shape == head.faces.shape
    for frame in range(FRAMES):
        corners = played.vertices(frame)[triangles]
        apart = np.linalg.norm(corners - wanted[frame][head.faces.numpy()], axis=-1).max()
        assert apart < 2e-6, (frame, apart)


def test_times_names_and_the_texture(file, head):
    played = Played(file)
    animation = played.document.animations[0]
    times = played.array(animation.samplers[0].input).ravel()
    np.testing.assert_allclose(times, TIMES, atol=1e-6)
    names = played.document.meshes[0].extras["targetNames"]
    assert len(names) == len(set(names)) == len(played.document.meshes[0].primitives[0].targets)
    assert {node.name for node in played.document.nodes} == {"head", *head.joint_names}
    corners = played.array(played.document.meshes[0].primitives[0].attributes.TEXCOORD_0)[played.triangles()]
    wanted = head.uv_coords.numpy()[head.uv_faces.numpy()]
    # glTF's pictures have their first row on top, uv_coords theirs at the bottom.
    np.testing.assert_allclose(corners, np.stack([wanted[..., 0], 1 - wanted[..., 1]], -1), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "times", "message"),
    [
        (lambda params: params.index(slice(0, 0)), TIMES, "frames"),
        (lambda params: params.replace(shape=torch.randn_like(params.shape)), TIMES, "one person"),
        (lambda params: params, TIMES[:3], "times_s"),
        (lambda params: params, [0.0, 0.04, 0.04, 0.08], "times_s"),
        (lambda params: params, [0.0, 0.04, float("nan"), 0.08], "times_s"),
    ],
)
def test_what_is_no_clip_of_one_person_is_refused(head, params, tmp_path, change, times, message):
    with pytest.raises(ValueError, match=message):
        write_animated_glb(tmp_path / "x.glb", head, change(params), times)
    assert not list(tmp_path.iterdir())


def test_the_formats_validator_finds_nothing(file, tmp_path):
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs node and npm for the glTF validator")
    command = [npm, "install", "--silent", "--no-audit", VALIDATOR]
    installed = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    if installed.returncode:
        pytest.skip("the glTF validator cannot be fetched from npm")
    script = (
        "const v=require('gltf-validator'),f=require('fs');"
        "v.validateBytes(new Uint8Array(f.readFileSync(process.argv[1]))).then(r=>console.log(JSON.stringify(r.issues)));"
    )
    out = subprocess.run([node, "-e", script, str(file)], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
    issues = json.loads(out.stdout)
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"][:5]
