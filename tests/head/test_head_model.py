"""What HeadModel does with coefficients and joints."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sheap.geometry.rotations import rotvec_to_matrix
from sheap.head import HeadModel, HeadParams
from sheap.head.data import read_head, write_head
from sheap.head.params import JOINT_NAMES, joint_parents
from sheap.head.skinning import linear_blend_skinning

CHIN, FOREHEAD = 152, 10
UPPER_LID, LOWER_LID = {"left": 386, "right": 159}, {"left": 374, "right": 145}


def rest(head: HeadModel, *batch: int, **changes: Tensor) -> HeadParams:
    return HeadParams.zeros(head, *batch).replace(**changes)


def test_zero_is_the_template(head: HeadModel) -> None:
    mesh = head(HeadParams.zeros(head))
    torch.testing.assert_close(mesh.vertices, head.template, atol=1e-7, rtol=0)
    torch.testing.assert_close(mesh.joints, head.joint_regressor @ head.template, atol=1e-6, rtol=0)


def test_leading_dims(head: HeadModel, identities: Tensor) -> None:
    params = rest(head, 2, 4, shape=identities.view(2, 4, -1))
    mesh = head(params)
    assert mesh.vertices.shape == (2, 4, head.num_vertices, 3) and mesh.joints.shape == (2, 4, 5, 3)
    one = head(params.index((1, 2)))
    torch.testing.assert_close(one.vertices, mesh.vertices[1, 2], atol=1e-6, rtol=0)
    assert head.landmarks(mesh.vertices).shape == (2, 4, 478, 3)
    assert head.now_landmarks(mesh.vertices).shape == (2, 4, 7, 3)
    assert params.batch_shape == (2, 4)


def test_neutral_is_the_shape_at_rest(head: HeadModel, identities: Tensor) -> None:
    torch.testing.assert_close(
        head.neutral(identities), head(rest(head, 8, shape=identities)).vertices, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("field", ["shape", "expression", "eyelids"])
def test_wrong_number_of_coefficients_is_named(head: HeadModel, field: str) -> None:
    with pytest.raises(ValueError, match=rf"{field}: expected .* coefficients, got 7"):
        head(HeadParams.zeros(head).replace(**{field: torch.zeros(7)}))


def test_root_turns_and_moves_the_head_rigidly(head: HeadModel, identities: Tensor) -> None:
    turn, move = torch.tensor([0.3, -0.8, 0.2]), torch.tensor([0.1, -0.2, 0.3])
    still = head(rest(head, shape=identities[0]))
    moved = head(rest(head, shape=identities[0], root_rotvec=turn, translation=move))
    root = still.joints[0]
    for before, after in ((still.vertices, moved.vertices), (still.joints, moved.joints)):
        expected = (before - root) @ rotvec_to_matrix(turn).T + root + move
        torch.testing.assert_close(after, expected, atol=2e-6, rtol=0)


def test_neck_turns_the_face_rigidly_and_leaves_the_border(head: HeadModel) -> None:
    turn = torch.tensor([0.1, 0.5, 0.0])
    still, turned = head(rest(head)), head(rest(head, neck_rotvec=turn))
    neck = still.joints[1]
    expected = (still.vertices - neck) @ rotvec_to_matrix(turn).T + neck
    follows = head.skinning_weights[:, 1:].sum(1) > 1 - 1e-6
    assert follows[head.region_masks["face"]].float().mean() > 0.95
    torch.testing.assert_close(turned.vertices[follows], expected[follows], atol=2e-6, rtol=0)
    lowest = head.template[:, 1].argsort()[:20]
    assert (turned.vertices - still.vertices)[lowest].norm(dim=1).max() < 0.03


def test_jaw_opens_downwards(head: HeadModel) -> None:
    still, opened = head(rest(head)).vertices, head(rest(head, jaw_rotvec=torch.tensor([0.3, 0, 0]))).vertices
    moved = opened - still
    chin = head.landmarks(opened)[CHIN] - head.landmarks(still)[CHIN]
    assert chin[1] < -0.015, "the chin must drop by centimetres"
    teeth = moved[head.region_masks["teeth_lower"]]
    assert teeth[:, 1].max() < -0.005 and teeth[:, 1].mean() < -0.01
    for region in ("teeth_upper", "eyeballs", "forehead", "scalp"):
        assert moved[head.region_masks[region]].norm(dim=1).max() < 1e-3, region


@pytest.mark.parametrize(("side", "joint"), [("left", 3), ("right", 4)])
def test_gaze_turns_one_eyeball_only(head: HeadModel, side: str, joint: int) -> None:
    turn = torch.tensor([0.0, 0.3, 0.0])
    still = head(rest(head)).vertices
    moved = head(rest(head, **{f"eye_{side}_rotvec": turn})).vertices - still
    ball = head.region_masks[f"eyeball_{side}"]
    assert moved[~ball].abs().max() == 0
    iris = 473 if side == "left" else 468
    shift = head.landmarks(still + moved)[iris] - head.landmarks(still)[iris]
    assert shift[0] > 0.004, "a positive turn about y looks to the person's left"
    radius = (still[ball] + moved[ball] - head(rest(head)).joints[joint]).norm(dim=1)
    torch.testing.assert_close(radius, (still[ball] - head(rest(head)).joints[joint]).norm(dim=1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("side", ["left", "right"])
def test_eyelids_close_each_eye_by_itself(head: HeadModel, identities: Tensor, side: str) -> None:
    closed = torch.tensor([1.0, 0.0] if side == "left" else [0.0, 1.0])
    other = "right" if side == "left" else "left"

    def gap(vertices: Tensor, which: str) -> Tensor:
        points = head.landmarks(vertices)
        return points[..., UPPER_LID[which], 1] - points[..., LOWER_LID[which], 1]

    before = head(rest(head, 8, shape=identities)).vertices
    after = head(rest(head, 8, shape=identities, eyelids=closed.expand(8, 2))).vertices
    assert gap(before, side).min() > 0.004
    assert gap(after, side).max() < 0.0005, "the lids must meet for everyone"
    torch.testing.assert_close(gap(after, other), gap(before, other))
    assert (after - before)[:, head.region_masks["eyeballs"]].abs().max() < 1e-6


def test_lids_clear_the_eyeball_on_their_way(head: HeadModel) -> None:
    """Lid vertices keep the distance from the ball's centre that they have at the ends, to 0.1 mm."""
    centre = head.template[head.region_masks["eyeball_left"]].mean(0)
    lid = head.eyelid_basis[..., 0].norm(dim=1) > 0.004

    def distance(closure: float) -> Tensor:
        vertices = head(rest(head, eyelids=torch.tensor([closure, 0.0]))).vertices
        return (vertices[lid] - centre).norm(dim=1)

    ends = torch.minimum(distance(0.0), distance(1.0))
    for closure in (0.25, 0.5, 0.75):
        assert (distance(closure) - ends).min() > -1e-4


def test_attachments_follow_lids_head_and_identity(head: HeadModel, identities: Tensor) -> None:
    lashes = (head.attachment_base_ids >= 14742) & (head.attachment_base_ids < 14867)  # the left eye's
    params = rest(head, 8, shape=identities)
    mesh, points = head(params), head.attachments(params)
    lids = mesh.vertices[:, head.region_masks["eyelids"] & (head.template[:, 0] > 0)]
    to_lid = torch.cdist(points[:, lashes], lids).min(-1).values
    assert to_lid.min(1).values.max() < 0.001 and to_lid.max() < 0.015, "lashes must grow from the lids"
    closed = head.attachments(params.replace(eyelids=torch.ones(8, 2)))
    assert (closed - points)[:, lashes, 1].min() < -0.005
    turn = torch.tensor([0.2, 0.4, 0.0]).expand(8, 3)
    turned = head.attachments(params.replace(root_rotvec=turn))
    root = mesh.joints[:, :1]
    torch.testing.assert_close(turned, (points - root) @ rotvec_to_matrix(turn[0]).T + root, atol=3e-6, rtol=0)


def test_actions_move_what_their_names_say(head: HeadModel) -> None:
    def moved(name: str) -> Tensor:
        row = head.action_names.index(name)
        turns = head.action_rotvecs[row]
        params = rest(
            head,
            expression=head.action_matrix[row],
            jaw_rotvec=turns[2],
            eye_left_rotvec=turns[3],
            eye_right_rotvec=turns[4],
        )
        return head.landmarks(head(params).vertices) - head.landmarks(head.template)

    left_corner, right_corner = 291, 61
    assert moved("mouthSmileLeft")[left_corner, 1] > 0.004 > moved("mouthSmileLeft")[right_corner, 1] + 0.002
    assert moved("mouthSmileRight")[right_corner, 1] > 0.004
    assert moved("mouthFrownLeft")[left_corner, 1] < -0.002
    assert moved("browInnerUp")[[55, 285], 1].min() > 0.002
    assert moved("browDownLeft")[285, 1] < -0.002
    assert moved("jawOpen")[CHIN, 1] < -0.02
    assert moved("eyeLookOutLeft")[473, 0] > 0.003 and moved("eyeLookInLeft")[473, 0] < -0.003
    assert moved("eyeLookUpRight")[468, 1] > 0.002 > moved("eyeLookDownRight")[468, 1] + 0.004
    assert moved("jawLeft")[CHIN, 0] > 0.003
    pucker = moved("mouthPucker")
    assert pucker[left_corner, 0] < -0.004 and pucker[right_corner, 0] > 0.004


def small_chain() -> tuple[Tensor, Tensor, Tensor, list[int]]:
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    joints = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    weights = torch.rand(6, 5, generator=generator, dtype=torch.float64)
    return vertices, joints, weights / weights.sum(1, keepdim=True), [-1, 0, 1, 1, 1]


def test_skinning_against_homogeneous_matrices() -> None:
    """The textbook form: 4x4 world transforms, each composed with the inverse of its rest transform."""
    vertices, joints, weights, parents = small_chain()
    rotvecs = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    posed, posed_joints = linear_blend_skinning(vertices, joints, rotvec_to_matrix(rotvecs), weights, parents)
    for item in range(2):
        world: list[Tensor] = []
        for joint, parent in enumerate(parents):
            local = torch.eye(4, dtype=torch.float64)
            local[:3, :3] = rotvec_to_matrix(rotvecs[item, joint])
            local[:3, 3] = joints[item, joint] - (joints[item, parent] if parent >= 0 else 0)
            world.append(local if parent < 0 else world[parent] @ local)
            torch.testing.assert_close(posed_joints[item, joint], world[-1][:3, 3])
        for vertex in range(6):
            expected = torch.zeros(4, dtype=torch.float64)
            for joint in range(5):
                to_rest = torch.eye(4, dtype=torch.float64)
                to_rest[:3, 3] = -joints[item, joint]
                homogeneous = torch.cat([vertices[item, vertex], torch.ones(1, dtype=torch.float64)])
                expected += weights[vertex, joint] * (world[joint] @ to_rest @ homogeneous)
            torch.testing.assert_close(posed[item, vertex], expected[:3])


def test_skinning_gradients() -> None:
    vertices, joints, weights, parents = small_chain()
    rotvecs = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rotvecs[0, 2] = 0.0  # the joints' usual place, where Rodrigues' formula divides by zero

    def skin(vertices: Tensor, joints: Tensor, rotvecs: Tensor) -> tuple[Tensor, Tensor]:
        return linear_blend_skinning(vertices, joints, rotvec_to_matrix(rotvecs), weights, parents)

    inputs = tuple(value.requires_grad_() for value in (vertices, joints, rotvecs))
    assert torch.autograd.gradcheck(skin, inputs)


def test_head_gradients_in_double_precision() -> None:
    """Every field of HeadParams, through landmarks, against central differences."""
    head = HeadModel.load().double()
    generator = torch.Generator().manual_seed(2)
    zeros = HeadParams.zeros(head)
    values = {
        field.name: 0.3 * torch.randn(getattr(zeros, field.name).shape, generator=generator, dtype=torch.float64)
        for field in fields(zeros)
    }
    values["eyelids"] = torch.tensor([0.3, 0.6], dtype=torch.float64)
    picked = torch.tensor([1, 61, 152, 263, 386, 468, 473])

    def landmarks(**changes: Tensor) -> Tensor:
        return head.landmarks(head(HeadParams(**{**values, **changes})).vertices)[picked].flatten()

    for name, value in values.items():
        direction = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        leaf = value.clone().requires_grad_()
        weights = torch.randn(3 * len(picked), generator=generator, dtype=torch.float64)
        (gradient,) = torch.autograd.grad((landmarks(**{name: leaf}) * weights).sum(), leaf)
        step = 1e-5
        ahead = landmarks(**{name: value + step * direction})
        behind = landmarks(**{name: value - step * direction})
        slope = ((ahead - behind) * weights).sum() / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-6, atol=1e-10)


def test_jaw_and_eyes_hang_on_the_neck_or_on_the_root_of_a_head_without() -> None:
    assert joint_parents(JOINT_NAMES) == (-1, 0, 1, 1, 1)
    assert joint_parents(("root", "jaw", "eye_left", "eye_right")) == (-1, 0, 0, 0)


def test_at_rest_unturns_root_and_neck_and_keeps_the_face(head: HeadModel) -> None:
    zeros = HeadParams.zeros(head, 2)
    moved = zeros.map(torch.ones_like)
    still = moved.at_rest()
    unturned = ("root_rotvec", "neck_rotvec", "translation")
    for field in fields(HeadParams):
        kept = getattr(moved, field.name)
        wanted = torch.zeros_like(kept) if field.name in unturned else kept
        assert torch.equal(getattr(still, field.name), wanted), field.name
    assert moved.replace(neck_rotvec=None).at_rest().neck_rotvec is None


def test_present_are_the_fields_that_a_head_has(head: HeadModel) -> None:
    params = HeadParams.zeros(head)
    names = [field.name for field in fields(HeadParams)]
    assert list(params.present()) == names and all(params.present()[name] is getattr(params, name) for name in names)
    without = params.replace(eyelids=None, neck_rotvec=None)
    assert list(without.present()) == [name for name in names if name not in ("eyelids", "neck_rotvec")]


def test_params_move_between_types(head: HeadModel) -> None:
    params = HeadParams.zeros(head, 2).to(torch.float64)
    assert params.shape.dtype == torch.float64 and params.rotvecs().shape == (2, 5, 3)
    assert HeadParams.zeros(head, 2, dtype=torch.float64).translation.dtype == torch.float64
    turned = params.replace(jaw_rotvec=torch.ones(2, 3, dtype=torch.float64))
    assert turned.rotvecs()[:, 2].eq(1).all() and turned.rotvecs()[:, [0, 1, 3, 4]].eq(0).all()


def test_file_round_trip(head: HeadModel, tmp_path: Path) -> None:
    data = read_head(Path(__file__).parents[2] / "sheap/head/open_head.safetensors")
    write_head(data, tmp_path / "copy.safetensors")
    copy = HeadModel.load(tmp_path / "copy.safetensors")
    for name, value in head.named_buffers():
        assert torch.equal(value, getattr(copy, name)), name
    assert copy.region_names == head.region_names and copy.figures == head.figures


def test_files_that_are_no_head_models(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"missing.safetensors"):
        HeadModel.load(tmp_path / "missing.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a tensor file")
    with pytest.raises(ValueError, match=r"broken.safetensors"):
        HeadModel.load(broken)
    from safetensors.torch import save_file

    foreign = tmp_path / "foreign.safetensors"
    save_file({"template": torch.zeros(3, 3)}, foreign)
    with pytest.raises(ValueError, match=r"foreign.safetensors: not a head model"):
        HeadModel.load(foreign)
    save_file({"template": torch.zeros(3, 3)}, foreign, metadata={"format": "sheap-head-1"})
    with pytest.raises(ValueError, match=r"foreign.safetensors: head model lacks .*faces"):
        HeadModel.load(foreign)
    text = tmp_path / "head.txt"
    text.write_text("hello")
    with pytest.raises(ValueError, match=r"head.txt: unknown kind of head model"):
        HeadModel.load(text)
