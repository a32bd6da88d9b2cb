"""Head models in other publishers' formats, made from the open head with bases of chance: well-formed faces, nobody's data."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.geometry.rotations import rotvec_to_matrix
from sheap.head import HeadModel, HeadParams
from sheap.head.ict import EXPRESSIONS, EYEBALLS, LANDMARKS_68, NOW_IN_68, NUM_FACE, NUM_SKIN, NUM_VERTICES

Array = NDArray[np.float64]
ROOT = 4294967295
"""FLAME's parent of the root: -1 as an unsigned 32-bit number."""


@lru_cache(maxsize=1)
def open_head() -> HeadModel:
    return HeadModel.load()


@dataclass(frozen=True)
class Finer:
    """The open head's mesh with triangles cut at their middles until it has `count` vertices. rows: each vertex as parts of the
    old ones, three ids and three shares."""

    faces: NDArray[np.int64]
    ids: NDArray[np.int64]
    shares: Array

    @classmethod
    def of(cls, count: int) -> Finer:
        faces = open_head().faces.numpy()
        size = open_head().num_vertices
        ids = np.repeat(np.arange(size)[:, None], 3, axis=1)
        shares = np.tile([1.0, 0.0, 0.0], (size, 1))
        old = faces
        while size < count:
            chosen = np.arange(min(count - size, len(old)))
            # Each new vertex is the middle of a triangle of the open head's own, so that three parts are enough.
            inside = old[chosen]
            new = size + chosen
            ids, shares = np.concatenate([ids, inside]), np.concatenate([shares, np.full((len(chosen), 3), 1 / 3)])
            cut = [np.stack([inside[:, k], inside[:, (k + 1) % 3], new], axis=1) for k in range(3)]
            kept = np.delete(faces, chosen, axis=0) if len(faces) == len(old) else faces
            faces, size = np.concatenate([kept, *cut]), size + len(chosen)
            if size < count:  # further ones stand beside the mesh, as lashes and shells do
                extra = count - size
                ids = np.concatenate([ids, np.zeros((extra, 3), np.int64)])
                shares = np.concatenate([shares, np.tile([1.0, 0.0, 0.0], (extra, 1))])
                size = count
        return cls(faces, ids, shares)

    def __call__(self, values: torch.Tensor) -> Array:
        """Values [N, ...] of the open head's vertices on the finer mesh."""
        table = values.double().numpy()
        return np.einsum("nk,nk...->n...", self.shares, table[self.ids])


def mixed(basis: Array, count: int, rng: np.random.Generator) -> Array:
    """`count` directions [N, 3, count] of chance within those of a basis [N, 3, C], of the same size together."""
    mixing = rng.normal(size=(basis.shape[2], count)) / np.sqrt(count)
    return (basis.reshape(-1, basis.shape[2]) @ mixing).reshape(*basis.shape[:2], count)


def flame_arrays(count: int = 0, seed: int = 0) -> dict[str, Any]:
    """FLAME's arrays; count: vertices, 0 takes the open head's."""
    head, rng = open_head(), np.random.default_rng(seed)
    finer = Finer.of(max(count, head.num_vertices))
    regressor = np.zeros((5, len(finer.ids)))
    regressor[:, : head.num_vertices] = head.joint_regressor.double().numpy()
    # FLAME's lids are no joints and no expression of its own.
    directions = [mixed(finer(head.shape_basis), 300, rng), mixed(finer(head.expression_basis), 100, rng)]
    return {
        "v_template": finer(head.template),
        "f": finer.faces.astype(np.uint32),
        "shapedirs": np.concatenate(directions, axis=2),
        "posedirs": 1e-4 * rng.normal(size=(len(finer.ids), 3, 36)),
        "J_regressor": regressor,
        "kintree_table": np.array([[ROOT, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.int64),
        "weights": finer(head.skinning_weights),
        "bs_style": "lbs",
    }


def write_flame_folder(folder: Path, *, companions: bool = True, count: int = 0) -> Path:
    """As SMIRK's assets: the model below, what goes with it beside."""
    arrays = flame_arrays(count)
    (folder / "FLAME2020").mkdir(parents=True)
    (folder / "FLAME2020" / "generic_model.pkl").write_bytes(pickle.dumps(arrays, protocol=2))
    if not companions:
        return folder
    head, vertices = open_head(), len(arrays["v_template"])
    for side, name in enumerate(("l_eyelid.npy", "r_eyelid.npy")):
        lid = np.zeros((vertices, 3))
        lid[: head.num_vertices] = head.eyelid_basis[..., side]
        np.save(folder / name, lid)
    masks = {name: np.flatnonzero(mask.numpy()) for name, mask in head.region_masks.items()}
    masks |= {
        "left_ear": masks["ears"], "right_ear": masks["ears"], "left_eyeball": masks["eyeball_left"],
        "right_eyeball": masks["eyeball_right"], "eye_region": masks["eyelids"],
    }  # fmt: skip
    (folder / "FLAME_masks.pkl").write_bytes(pickle.dumps(masks, protocol=2))
    write_template(folder / "head_template.obj", arrays["f"])
    chosen = np.arange(0, 468, 5)  # as many as FLAME's own: about a hundred, none of an iris
    if count == 0:  # the finer mesh has other faces
        np.savez(
            folder / "mediapipe_landmark_embedding.npz",
            lmk_face_idx=head.landmark_faces.numpy()[chosen],
            lmk_b_coords=head.landmark_barycentrics.numpy()[chosen],
            landmark_indices=chosen,
        )
        np.save(folder / "landmark_embedding.npy", np.array(static_embedding(), dtype=object))
    return folder


def static_embedding() -> dict[str, Any]:
    """DECA's landmark_embedding.npy, NoW's seven in their places."""
    head = open_head()
    faces, barycentrics = np.zeros(51, np.int64), np.tile([1.0, 0.0, 0.0], (51, 1))
    places = [19, 22, 25, 28, 16, 31, 37]
    faces[places], barycentrics[places] = head.now_faces.numpy(), head.now_barycentrics.numpy()
    return {"static_lmk_faces_idx": faces, "static_lmk_bary_coords": barycentrics, "dynamic_lmk_faces_idx": [np.arange(17)]}


def write_template(path: Path, faces: NDArray[Any]) -> None:
    """An OBJ with UVs, every corner its own."""
    rng = np.random.default_rng(1)
    places = rng.uniform(0.1, 0.9, (len(faces), 1, 2)) + np.array([[0.0, 0.0], [0.01, 0.0], [0.0, 0.01]])
    lines = [f"vt {u:.5f} {v:.5f}" for u, v in places.reshape(-1, 2)]
    lines += ["f " + " ".join(f"{v + 1}/{3 * k + c + 1}" for c, v in enumerate(face)) for k, face in enumerate(faces.tolist())]
    path.write_text("\n".join(lines) + "\n")


def gnm_arrays(count: int = 0, *, identities: int = 40, expressions: int = 30, seed: int = 0) -> dict[str, Any]:
    """GNM's arrays; the published sizes are 17821 vertices, 253 identities, 383 expressions."""
    head, rng = open_head(), np.random.default_rng(seed)
    finer = Finer.of(max(count, head.num_vertices))
    weights = finer(head.skinning_weights)
    identity = mixed(finer(head.shape_basis), identities, rng)
    regressor = np.zeros((5, len(finer.ids)))
    regressor[:, : head.num_vertices] = head.joint_regressor.double().numpy()
    joints = [1, 0, 3, 4]  # GNM's neck turns everything; its head sits where the jaw's parent is
    opened = torch.stack([jaw_open_offsets()], -1)
    expression = np.concatenate([finer(opened), mixed(finer(head.expression_basis), expressions - 1, rng)], axis=2)
    template, faces = finer(head.template), finer.faces
    masks = head.region_masks
    groups = {"skin": masks["skin"], "teeth_and_gums": masks["teeth"], "tongue": masks["tongue"], "hockey_mask": masks["face"]}
    return {
        "template_vertex_positions": template.astype(np.float32),
        "template_joint_positions": (regressor @ template)[joints].astype(np.float32),
        "joint_names": np.array(["neck", "head", "left_eye", "right_eye"]),
        "joint_parent_indices": np.array([-1, 0, 1, 1]),
        "vertex_identity_basis": identity.transpose(2, 0, 1).astype(np.float32),
        "joint_identity_basis": np.einsum("jn,nci->ijc", regressor, identity)[:, joints].astype(np.float32),
        "expression_basis": expression.transpose(2, 0, 1).astype(np.float32),
        "pose_correctives_regressor": (1e-4 * rng.normal(size=(36, 3 * len(template)))).astype(np.float32),
        "skinning_weights": np.stack(
            [weights[:, 0], weights[:, 1] + weights[:, 2], weights[:, 3], weights[:, 4]]
        ).astype(np.float32),
        "triangles": faces.astype(np.int32),
        "triangle_uvs": rng.uniform(0, 1, (len(faces), 3, 2)).astype(np.float32),
        "identity_names": np.array([f"head_{k:03d}" for k in range(identities)]),
        "expression_names": np.array([f"lower_face_region_{k:03d}" for k in range(expressions)]),
        "vertex_group_names": np.array(list(groups)),
        "vertex_groups": np.stack([finer(group.float()) for group in groups.values()]).astype(np.float32),
    }


def write_gnm(path: Path, **sizes: int) -> Path:
    np.savez(path, **gnm_arrays(**sizes))
    return path


def jaw_open_offsets() -> torch.Tensor:
    """What opening the mouth does to the open head's vertices [N, 3]."""
    head = open_head()
    opened = HeadParams.zeros(head).replace(jaw_rotvec=torch.tensor([0.35, 0.0, 0.0]))
    return head(opened).vertices - head.template


def ict_arrays(count: int = NUM_SKIN + 144, seed: int = 0) -> dict[str, Any]:
    """A compact copy's arrays (centimetres), or those of the whole model with its 26,719 vertices; spare places stay beside the
    mesh."""
    head, rng = open_head(), np.random.default_rng(seed)
    masks = {name: mask.numpy() for name, mask in head.region_masks.items()}
    places = np.full(head.num_vertices, -1)
    slots = [LANDMARKS_68[k] for k in (*NOW_IN_68, 8)]
    now = [int(head.faces[f, b.argmax()]) for f, b in zip(head.now_faces, head.now_barycentrics)]
    chin = int(head.faces[head.landmark_faces[152], head.landmark_barycentrics[152].argmax()])
    places[[*now, chin]] = slots
    face = np.flatnonzero(masks["face"] & (places < 0))
    places[face] = np.setdiff1d(np.arange(NUM_FACE), slots)[: len(face)]
    neck = np.flatnonzero(masks["skin"] & (places < 0))
    places[neck] = (np.arange(NUM_FACE, NUM_SKIN) if len(neck) <= NUM_SKIN - NUM_FACE else spare(places, len(neck)))[: len(neck)]
    left, right = (EYEBALLS[0], EYEBALLS[1]) if count == NUM_VERTICES else (NUM_SKIN, NUM_SKIN + (count - NUM_SKIN) // 2)
    for region, first in (("eyeball_left", left), ("eyeball_right", right)):
        ids = np.flatnonzero(masks[region])
        places[ids] = first + np.arange(len(ids))
    used = places >= 0
    faces = places[head.faces.numpy()]
    faces = faces[(faces >= 0).all(axis=1)]

    def placed(values: Array) -> Array:
        """[N, ...] cm in ICT's order."""
        table = np.repeat(100 * values[:1], count, axis=0)
        table[places[used]] = 100 * values[used]
        return table

    basis = mixed(head.shape_basis.double().numpy()[..., :100], 100, rng)
    return {
        "mean_cm": placed(head.template.double().numpy()),
        "identity_cm": placed(basis).transpose(2, 0, 1).astype(np.float32),
        "faces": faces.astype(np.int32),
        "expression_names": np.array(EXPRESSIONS),
        "expression_cm": np.stack([placed(expression_offsets(name)) for name in EXPRESSIONS]).astype(np.float32),
    }


def spare(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Free places of the skin, from its end."""
    return np.setdiff1d(np.arange(NUM_SKIN), places)[::-1][:count]


def expression_offsets(name: str) -> Array:
    """What one of ICT's expressions does to the open head's vertices [N, 3] m, as far as it has that action."""
    head = open_head()
    stem, _, side = name.partition("_")
    action = stem + {"L": "Left", "R": "Right", "": ""}[side]
    params = HeadParams.zeros(head)
    if stem == "eyeBlink":
        params = params.replace(eyelids=torch.tensor([1.0, 0.0] if side == "L" else [0.0, 1.0]))
    elif action in head.action_names or stem in head.action_names:
        number = head.action_names.index(action if action in head.action_names else stem)
        turns = head.action_rotvecs[number]
        params = HeadParams.from_parts(
            head, params.shape, head.action_matrix[number], params.eyelids, turns, params.translation
        )
        assert rotvec_to_matrix(turns).isfinite().all()
    offsets = (head(params).vertices - head.template).double().numpy()
    if stem == action or action in head.action_names or stem == "eyeBlink":
        return offsets
    half = head.template[:, :1].double().numpy() * (1 if side == "L" else -1) > 0
    return offsets * half


def write_ict_npz(path: Path) -> Path:
    np.savez(path, **ict_arrays())
    return path


def write_ict_folder(folder: Path) -> Path:
    """ICT-FaceKit's FaceXModel with its published number of vertices."""
    arrays = ict_arrays(NUM_VERTICES)
    inner = folder / "FaceXModel"
    inner.mkdir(parents=True)
    faces = "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in arrays["faces"].tolist())
    shapes = {"generic_neutral_mesh": arrays["mean_cm"]}
    shapes |= {f"identity{k:03d}": arrays["mean_cm"] + mode for k, mode in enumerate(arrays["identity_cm"])}
    shapes |= {name: arrays["mean_cm"] + move for name, move in zip(EXPRESSIONS, arrays["expression_cm"])}
    for name, vertices in shapes.items():
        lines = ("v %.5f %.5f %.5f\n" * len(vertices)) % tuple(vertices.ravel().tolist())
        (inner / f"{name}.obj").write_text(lines + (faces if name == "generic_neutral_mesh" else ""))
    return folder
