"""One rendered person: an identity of the head model with skin, eyes, hair and clothes, posed and seen through a
camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sheap.head.params import HeadParams
from sheap.people import clothes, eyes, skin
from sheap.people.accessories import Accessory, put_on
from sheap.people.hair import HairPiece, grow_hair
from sheap.people.lighting import Lighting
from sheap.people.makehuman import AssetLooks
from sheap.people.occlusion import Visibility, measure_visibility
from sheap.people.rasterizer import EYE, MATTE, SKIN, Material, Piece, Posed, Rendered, Scene
from sheap.people.skin_ground import mix_skin, skin_tone
from sheap.people.stage_set import StageSet
from sheap.people.traits import Traits
from sheap.people.uv_atlas import crop_texture
from sheap.people.wearer import Wearer
from sheap.render.mesh import vertex_normals

Array = NDArray[np.float32]

_HAIR_SOLIDITY = 0.55
"""Share of light directions in which a ribbon of hair throws a shadow."""


@dataclass(frozen=True)
class Pose:
    """How the rigid skull lies in the world: rotation [3, 3] and translation [3] from the identity at rest."""

    rotation: Array
    translation: Array


class Person:
    """Built once from (identity, traits, seed); `render` costs a frame.

    shape [S]: identity coefficients. seed: of everything random about the looks. accessories: names of what they wear
    or hold (sheap.people.accessories.KINDS).
    """

    def __init__(
        self,
        stage: StageSet,
        shape: Array,
        traits: Traits,
        seed: int,
        accessories: tuple[str, ...] = (),
        assets: AssetLooks | None = None,
    ) -> None:
        self.stage, self.traits, self.seed, self.assets = stage, traits, seed, assets
        self.shape = torch.from_numpy(np.asarray(shape, np.float32))
        head = stage.head
        self.rest = head.neutral(self.shape).numpy()
        self._rest_params = HeadParams.zeros(head).replace(shape=self.shape)
        self.rest_normals = vertex_normals(torch.from_numpy(self.rest), head.faces).numpy()
        wearer = Wearer(
            vertices=self.rest,
            normals=self.rest_normals,
            template=stage.template,
            faces=stage.faces,
            regions=stage.soft_regions,
            now=head.now_landmarks(torch.from_numpy(self.rest)).numpy(),
            upper_lids=stage.upper_lids,
            attachments=head.attachments(self._rest_params).numpy(),
            skin=skin_tone(traits),
        )
        self.hair = grow_hair(traits, seed, wearer, stage.hair_stock, assets)
        rng = np.random.default_rng([seed, 41])
        self.accessories = [thing for kind in accessories for thing in put_on(kind, wearer, rng)]
        self.hair = [_under_cap(hair, self.accessories) for hair in self.hair]
        self.torso = clothes.build_torso(stage.template, stage.neck_loop, traits.shoulder_width)
        self.scene = self._assemble()
        self._visibility = self._measure_visibility()

    # -- what stays the same -------------------------------------------------------------------------------------------

    def _assemble(self) -> Scene:
        """Pieces and the blocks of vertices they share: head, shell (the head 4 mm larger, for cloth), torso, hair,
        things."""
        stage, traits, seed = self.stage, self.traits, self.seed
        faces, soft = stage.faces.astype(np.int32), stage.soft_regions
        pieces: list[Piece] = []
        coat = mix_skin(stage.skin_ground, traits, seed)
        for canvas in stage.canvases:
            patch = canvas.patch
            photo = crop_texture(self.assets.skin, patch) if self.assets and self.assets.skin is not None else None
            has_brows = not (self.assets and self.assets.brows)
            texture = skin.paint_skin(canvas, coat, traits, photo, with_brows=has_brows)
            material = Material(texture, SKIN, 0.055 * traits.skin_gloss, 4)
            pieces.append(Piece(f"skin {patch.name}", "head", faces[patch.faces], patch.corner_uv, material))
        for side in ("left", "right"):
            ball = soft[f"eyeball_{side}"] > 0.5
            ids = np.flatnonzero(ball[faces].all(1))
            centre = stage.template[ball].mean(0)
            axis = stage.head.gaze_axes[0 if side == "left" else 1].numpy()
            radius = float(np.linalg.norm(stage.template[ball][:, :2] - centre[:2], axis=1).max())
            uv = eyes.eyeball_uv(stage.template, centre, axis)
            material = Material(
                eyes.paint_eye(traits, seed, radius, self.assets.iris if self.assets else None), EYE, 0.9, 8
            )
            pieces.append(Piece(f"eye {side}", "head", faces[ids], uv[faces[ids]], material))
        for name, color in (("teeth", (226, 216, 198)), ("tongue", (170, 84, 80))):
            ids = np.flatnonzero((soft[name] > 0.5)[faces].all(1))
            texture = np.full((2, 2, 4), 255, np.uint8)
            texture[..., :3] = color
            uv = np.full((len(ids), 3, 2), 0.5, np.float32)
            pieces.append(Piece(name, "head", faces[ids], uv, Material(texture, SKIN, 0.12, 5)))
        for patch in (canvas.patch for canvas in stage.canvases):
            if patch.name in ("skull", "nape"):
                cloth = clothes.paint_cloth(patch.positions, traits, seed, whole=False)
                low = (clothes.below_neckline(stage.template, traits.neckline) > -0.02)[faces[patch.faces]].any(1)
                material = Material(cloth, MATTE, 0.02, 3, two_sided=True)
                pieces.append(
                    Piece(f"collar {patch.name}", "shell", faces[patch.faces][low], patch.corner_uv[low], material)
                )
        places = clothes.torso_positions(self.torso, 128, 256)
        cloth = clothes.paint_cloth(places, traits, seed, whole=True)
        material = Material(cloth, MATTE, 0.02, 3, two_sided=True)
        pieces.append(Piece("torso", "torso", self.torso.faces, self.torso.corner_uv, material))
        sizes = {"head": len(stage.template), "shell": len(stage.template), "torso": len(self.torso.places)}
        for hair in self.hair:
            pieces.append(Piece(hair.name, hair.name, hair.faces, hair.corner_uv, hair.material))
            sizes[hair.name] = len(hair.vertices)
        for thing in self.accessories:
            pieces.append(Piece(thing.name, thing.name, thing.solid.faces, thing.solid.corner_uv, thing.material))
            sizes[thing.name] = len(thing.solid.vertices)
        return Scene(pieces, sizes, {hair.name: hair.tint for hair in self.hair})

    def _measure_visibility(self) -> Visibility:
        """Which light reaches the head at rest, past itself, its hair and its shoulders."""
        head_faces = self.stage.faces
        vertices, faces, solidity = [self.rest], [head_faces], [np.ones(len(head_faces), np.float32)]
        start = len(self.rest)
        torso = self.rest[self.torso.anchors] + self.torso.offsets
        vertices.append(torso)
        faces.append(self.torso.faces + start)
        solidity.append(np.ones(len(self.torso.faces), np.float32))
        start += len(torso)
        for hair in self.hair:
            vertices.append(hair.vertices)
            # Ribbons overlap many times: every third one throws the same shadow.
            faces.append(hair.faces[::3] + start)
            solidity.append(np.full(len(faces[-1]), _HAIR_SOLIDITY, np.float32))
            start += len(hair.vertices)
        for thing in self.accessories:
            vertices.append(thing.solid.vertices)
            faces.append(thing.solid.faces + start)
            solidity.append(np.full(len(thing.solid.faces), 0.6, np.float32))
            start += len(thing.solid.vertices)
        return measure_visibility(
            self.rest, self.rest_normals, np.concatenate(vertices), np.concatenate(faces), np.concatenate(solidity)
        )

    # -- one frame -----------------------------------------------------------------------------------------------------

    def pose(self, params: HeadParams) -> tuple[Array, Array]:
        """The head's vertices [N, 3] and its loose points [M, 3] for one frame's parameters (no leading dims)."""
        params = params.replace(shape=self.shape)
        with torch.inference_mode():
            return self.stage.head(params).vertices.numpy(), self.stage.head.attachments(params).numpy()

    def render(
        self,
        params: HeadParams,
        world_to_cam: NDArray,
        K: NDArray,
        height: int,
        width: int,
        lighting: Lighting,
    ) -> Rendered:
        """A frame in linear light with alpha."""
        posed = self.pose_blocks(*self.pose(params), lighting)
        return self.scene.render(posed, world_to_cam, K, height, width, lighting.for_renderer())

    def pose_blocks(self, vertices: Array, attachments: Array, lighting: Lighting) -> dict[str, Posed]:
        """All blocks of the scene for the head's vertices [N, 3] and loose points [M, 3] in the world."""
        stage = self.stage
        skull = rigid_pose(self.rest[stage.rigid_ids], vertices[stage.rigid_ids])
        normals = vertex_normals(torch.from_numpy(vertices), stage.head.faces).numpy()
        arriving = self._visibility.share(lighting, skull.rotation)
        arriving = np.clip(arriving, 0.0, 1.0)
        soft = stage.soft_regions
        upper_lip, lower_lip = stage.head.landmarks(torch.from_numpy(vertices))[list(stage.inner_lips)].numpy()
        open_mouth = float(np.clip((np.linalg.norm(upper_lip - lower_lip) - 0.001) / 0.008, 0, 1))
        # Eyes and teeth were measured behind closed lips and half-closed lids: open ones let more light in.
        arriving = np.where(soft["eyeballs"] > 0.5, np.clip(0.4 + 0.55 * arriving, 0, 0.85), arriving)
        arriving = np.where(soft["teeth"] > 0.5, 0.06 + 0.40 * open_mouth, arriving)
        arriving = np.where(soft["tongue"] > 0.5, 0.04 + 0.30 * open_mouth, arriving)
        arriving = np.where(soft["mouth_interior"] > 0.5, np.minimum(arriving, 0.12), arriving)
        arriving = arriving.astype(np.float32)
        head = Posed(vertices, normals, arriving)
        shell = Posed(vertices + np.float32(0.004) * normals, normals, arriving)
        body = rigid_pose(self.rest[stage.neck_loop], vertices[stage.neck_loop])
        torso = shell.vertices[self.torso.anchors] + self.torso.offsets @ body.rotation.T
        torso_normals = vertex_normals(
            torch.from_numpy(torso), torch.from_numpy(self.torso.faces.astype(np.int64))
        ).numpy()
        shade = np.full(len(torso), arriving[stage.neck_loop].mean(), np.float32)
        posed = {"head": head, "shell": shell, "torso": Posed(torso, torso_normals, shade)}
        points = np.concatenate([vertices, attachments])
        for hair in self.hair:
            posed[hair.name] = _pose_hair(hair, points, skull)
        for thing in self.accessories:
            moved = thing.solid.vertices @ skull.rotation.T + skull.translation
            posed[thing.name] = Posed(moved, thing.solid.normals @ skull.rotation.T)
        return posed


def _pose_hair(hair: HairPiece, points: Array, skull: Pose) -> Posed:
    """Roots follow the skin or their loose points [N + M, 3]; what grows from them turns with the skull."""
    roots = (points[hair.anchors] * hair.weights[..., None]).sum(1)
    moved = roots + (hair.vertices - hair.roots) @ skull.rotation.T
    return Posed(moved.astype(np.float32), hair.normals @ skull.rotation.T, hair.occlusion)


def _under_cap(hair: HairPiece, accessories: list[Accessory]) -> HairPiece:
    """Hair without what a cap presses flat."""
    caps = [thing for thing in accessories if thing.name == "cap"]
    if not caps or hair.name == "beard":
        return hair
    rim = np.quantile(caps[0].solid.vertices[:, 1], 0.15)
    keep = hair.vertices[hair.faces][..., 1].max(1) < rim
    return replace(hair, faces=hair.faces[keep], corner_uv=hair.corner_uv[keep])


def rigid_pose(rest: Array, posed: Array) -> Pose:
    """The rigid motion that best takes points [N, 3] to points [N, 3] (Kabsch 1976)."""
    rest_mean, posed_mean = rest.mean(0), posed.mean(0)
    u, _, vt = np.linalg.svd((posed - posed_mean).T @ (rest - rest_mean))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u @ flip @ vt).astype(np.float32)
    return Pose(rotation, (posed_mean - rotation @ rest_mean).astype(np.float32))
