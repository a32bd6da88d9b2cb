"""One rendered person: an identity of the head model with skin, eyes, hair and clothes, posed and seen through a
camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from sheap.head.params import HeadParams
from sheap.people import clothes, eyes, skin
from sheap.people.accessories import Accessory, put_on
from sheap.people.hair import HairPiece, grow_hair
from sheap.people.lighting import Lighting
from sheap.people.makehuman import AssetLooks
from sheap.people.occlusion import ArrivingLight, Blockers, arriving_light, irradiance, thinned, transmittance
from sheap.people.posing import PosedIdentity
from sheap.people.scene import EYE, MATTE, SKIN, Material, Piece, Posed, Rendered, Scene
from sheap.people.shapes import smooth_normals
from sheap.people.skin_ground import mix_skin, skin_tone
from sheap.people.studio import Studio
from sheap.people.traits import Traits
from sheap.people.uv_atlas import crop_texture
from sheap.people.wearer import Wearer

Array = NDArray[np.float32]

_HAIR_SOLIDITY = 0.28
"""Share of a ribbon's area that stops light: hair is thin, and ribbons lie askew."""
_SOLID = 3.0
"""A closed surface as a cloud of blockers: so much of its area that hardly any light gets through."""
_TEXTURE_LEVEL = 0.35
"""Mean linear light of hair's textures, which a tint multiplies."""


@dataclass(frozen=True)
class Pose:
    """How the rigid skull lies in the world: rotation [3, 3] and translation [3] from the identity at rest."""

    rotation: Array
    translation: Array


class Person:
    """Built once from (identity, traits, seed); `render` costs a frame.

    shape [S]: identity coefficients. seed: of everything random about the looks. accessories: names of what they wear
    or hold (sheap.people.accessories.KINDS). residual [N, 3]: how their neutral face differs from what the
    coefficients say (m, at rest), for people who lie partly outside the basis. texture_scale: texels a side of skin and
    cloth against the full ones; half is enough for crops of up to 224 px.
    """

    def __init__(
        self,
        studio: Studio,
        shape: Array,
        traits: Traits,
        seed: int,
        accessories: tuple[str, ...] = (),
        assets: AssetLooks | None = None,
        *,
        residual: Array | None = None,
        texture_scale: float = 1.0,
    ) -> None:
        self.studio, self.traits, self.seed, self.assets = studio, traits, seed, assets
        self.texture_scale = texture_scale
        self.shape = torch.from_numpy(np.asarray(shape, np.float32))
        head = studio.head
        self._identity = PosedIdentity(studio.rig, self.shape, residual)
        self.rest = self._identity.rest
        self.rest_normals = smooth_normals(self.rest, studio.faces)
        self.skin = skin_tone(traits)
        wearer = Wearer(
            vertices=self.rest,
            normals=self.rest_normals,
            template=studio.template,
            faces=studio.faces,
            regions=studio.soft_regions,
            now=head.now_landmarks(torch.from_numpy(self.rest)).numpy(),
            upper_lids=studio.upper_lids,
            attachments=self._identity.attachments,
            skin=self.skin,
        )
        self.hair = grow_hair(traits, seed, wearer, studio.hair_stock, assets)
        rng = np.random.default_rng([seed, 41])
        self.accessories = [thing for kind in accessories for thing in put_on(kind, wearer, rng)]
        self.hair = [_under_cap(hair, self.accessories) for hair in self.hair]
        self._fibres = {hair.name: fibres(hair.vertices, hair.faces, hair.corner_uv) for hair in self.hair}
        self.torso = clothes.build_torso(studio.template, studio.neck_loop, traits.shoulder_width)
        self.scene = self._assemble()
        self._visibility, self._let_through = self._measure_visibility()

    # -- what stays the same -------------------------------------------------------------------------------------------

    def _assemble(self) -> Scene:
        """Pieces and the blocks of vertices they share: head, shell (the head 4 mm larger, for cloth), torso, hair,
        things."""
        studio, traits, seed = self.studio, self.traits, self.seed
        faces, soft = studio.faces.astype(np.int32), studio.soft_regions
        pieces: list[Piece] = []
        coat = mix_skin(studio.skin_ground, traits, seed)
        for canvas in studio.canvases_at(self.texture_scale):
            patch = canvas.patch
            photo = crop_texture(self.assets.skin, patch) if self.assets and self.assets.skin is not None else None
            has_brows = not (self.assets and self.assets.brows)
            texture = skin.paint_skin(canvas, coat, traits, photo, with_brows=has_brows)
            material = Material(texture, SKIN, 0.07 * traits.skin_gloss, 4)
            pieces.append(Piece(f"skin {patch.name}", "head", faces[patch.faces], patch.corner_uv, material))
        balls = [studio.template[ball] for ball in studio.eyeballs]
        radius = float(np.mean([np.ptp(ball[:, 0]) / 2 for ball in balls]))
        iris = self.assets.iris if self.assets else None
        assert studio.head.gaze_axes is not None, "people are rendered with the open head"
        material = Material(eyes.paint_eye(traits, seed, radius, iris), EYE, 1.0, 8)
        for side, ball, axis in zip(("left", "right"), studio.eyeballs, studio.head.gaze_axes.numpy()):
            ids = np.flatnonzero((soft[f"eyeball_{side}"] > 0.5)[faces].all(1))
            uv = np.zeros((len(studio.template), 2), np.float32)
            uv[ball] = eyes.eyeball_uv(studio.template[ball], studio.template[ball].mean(0), axis)
            pieces.append(Piece(f"eye {side}", "head", faces[ids], uv[faces[ids]], material))
        for name, color in (("teeth", (226, 216, 198)), ("tongue", (170, 84, 80))):
            ids = np.flatnonzero((soft[name] > 0.5)[faces].all(1))
            texture = np.full((2, 2, 4), 255, np.uint8)
            texture[..., :3] = color
            uv = np.full((len(ids), 3, 2), 0.5, np.float32)
            pieces.append(Piece(name, "head", faces[ids], uv, Material(texture, SKIN, 0.12, 5)))
        for patch in (canvas.patch for canvas in studio.canvases_at(self.texture_scale)):
            if patch.name in ("skull", "nape"):
                cloth = clothes.paint_cloth(patch.positions, traits, seed, whole=False)
                low = (clothes.below_neckline(studio.template, traits.neckline) > -0.02)[faces[patch.faces]].any(1)
                material = Material(cloth, MATTE, 0.02, 3, two_sided=True)
                pieces.append(
                    Piece(f"collar {patch.name}", "shell", faces[patch.faces][low], patch.corner_uv[low], material)
                )
        places = clothes.torso_positions(self.torso, round(128 * self.texture_scale), round(256 * self.texture_scale))
        cloth = clothes.paint_cloth(places, traits, seed, whole=True)
        material = Material(cloth, MATTE, 0.02, 3, two_sided=True)
        pieces.append(Piece("torso", "torso", self.torso.faces, self.torso.corner_uv, material))
        sizes = {"head": len(studio.template), "shell": len(studio.template), "torso": len(self.torso.places)}
        for hair in self.hair:
            pieces.append(Piece(hair.name, hair.name, hair.faces, hair.corner_uv, hair.material))
            sizes[hair.name] = len(hair.vertices)
        for thing in self.accessories:
            pieces.append(Piece(thing.name, thing.name, thing.solid.faces, thing.solid.corner_uv, thing.material))
            sizes[thing.name] = len(thing.solid.vertices)
        return Scene(pieces, sizes, {hair.name: hair.tint for hair in self.hair})

    def _measure_visibility(self) -> tuple[Array, dict[str, Array]]:
        """What the head's vertices see past themselves, hair, shoulders and things [N, D], and what light gets to the
        loose blocks through all of them, each [N, C]; at rest, in the head's axes."""
        studio = self.studio
        torso = self.rest[self.torso.anchors] + self.torso.offsets
        clouds = [Blockers.of_mesh(torso, self.torso.faces, _SOLID)]
        for hair in self.hair:
            if hair.name != "lashes":
                # Ribbons overlap many times: every eighth face throws the same shadow.
                clouds.append(Blockers.of_mesh(hair.vertices, hair.faces, _HAIR_SOLIDITY, 8))
        for thing in self.accessories:
            opacity = float(thing.material.texture[..., 3].mean()) / 255
            clouds.append(Blockers.of_mesh(thing.solid.vertices, thing.solid.faces, _SOLID * opacity))
        head = Blockers.of_mesh(self.rest, studio.outer_faces, _SOLID, 3)
        loose = {"torso": torso} | {thing.name: thing.solid.vertices for thing in self.accessories}
        loose |= {hair.name: hair.vertices[::2] if _in_pairs(hair) else hair.vertices for hair in self.hair}
        to_head, to_loose = transmittance(
            self.rest, self.rest_normals, np.concatenate(list(loose.values())), Blockers.joined(clouds), head
        )
        ends = np.cumsum([len(points) for points in loose.values()])
        let_through = dict(zip(loose, np.split(to_loose, ends[:-1])))
        for hair in self.hair:
            # Fair hair passes on what it stops: light gets deeper into it.
            passed_on = 0.5 * min(float(_TEXTURE_LEVEL * hair.tint.mean()), 1.0)
            let_through[hair.name] += passed_on * (1 - let_through[hair.name])
            if _in_pairs(hair):
                let_through[hair.name] = np.repeat(let_through[hair.name], 2, 0)
        return thinned(studio.visibility, to_head), let_through

    # -- one frame -----------------------------------------------------------------------------------------------------

    def pose(self, params: HeadParams) -> tuple[Array, Array]:
        """The head's vertices [N, 3] and its loose points [M, 3] for one frame's parameters (no leading dims)."""
        return self._identity.pose(params)

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
        return self.scene.render(posed, world_to_cam, K, height, width, lighting)

    def pose_blocks(self, vertices: Array, attachments: Array, lighting: Lighting) -> dict[str, Posed]:
        """All blocks of the scene for the head's vertices [N, 3] and loose points [M, 3] in the world."""
        studio = self.studio
        skull = rigid_pose(self.rest[studio.rigid_ids], vertices[studio.rigid_ids])
        normals = smooth_normals(vertices, studio.faces)
        light = arriving_light(lighting, skull.rotation)
        received, share = self._light_on_head(vertices, normals, skull, light)
        head = Posed(vertices, normals, received, share)
        shell = Posed(vertices + np.float32(0.004) * normals, normals, received, share)
        body = rigid_pose(self.rest[studio.neck_loop], vertices[studio.neck_loop])
        torso = shell.vertices[self.torso.anchors] + self.torso.offsets @ body.rotation.T
        torso_normals = smooth_normals(torso, self.torso.faces)
        arriving = irradiance(torso_normals @ skull.rotation, self._let_through["torso"], light.coarse)
        posed = {"head": head, "shell": shell, "torso": Posed(torso, torso_normals, *arriving)}
        points = np.concatenate([vertices, attachments])
        for hair in self.hair:
            arriving, open_share = irradiance(hair.normals, self._let_through[hair.name], light.coarse)
            moved = _follow_roots(
                points, hair.anchors, hair.weights, hair.vertices - hair.roots, np.ascontiguousarray(skull.rotation)
            )
            turned, fibre = hair.normals @ skull.rotation.T, self._fibres[hair.name] @ skull.rotation.T
            posed[hair.name] = Posed(
                moved, turned, arriving * hair.occlusion[:, None], open_share * hair.occlusion, fibre
            )
        for thing in self.accessories:
            arriving = irradiance(thing.solid.normals, self._let_through[thing.name], light.coarse)
            moved = thing.solid.vertices @ skull.rotation.T + skull.translation
            posed[thing.name] = Posed(moved, thing.solid.normals @ skull.rotation.T, *arriving)
        return posed

    def _light_on_head(
        self, vertices: Array, normals: Array, skull: Pose, light: ArrivingLight
    ) -> tuple[Array, Array]:
        """Light [N, 3] and its open share [N] at the head's vertices."""
        studio, soft = self.studio, self.studio.soft_regions
        turned = normals @ skull.rotation
        received, share = irradiance(turned, self._visibility, light.fine)
        # What the face stops it throws on itself, dimmer and in its own colour.
        lit = received[studio.frontal_ids].mean(0)
        thrown = 0.8 * lit * self.skin
        received += studio.blocked[:, None] * thrown
        for ball in studio.eyeballs:
            # An eyeball turns under the lids: each vertex sees what its place sees, not what it saw at rest.
            rest = self.rest[ball] - self.rest[ball].mean(0)
            here = (vertices[ball] - vertices[ball].mean(0)) @ skull.rotation
            places = ball[(here @ rest.T).argmax(1)]
            received[ball], share[ball] = irradiance(turned[ball], self._visibility[places], light.fine)
            received[ball] += studio.blocked[places, None] * thrown
        # Light wanders under the skin, red furthest: shadows and terminators turn soft and reddish.
        around = studio.neighbours @ received
        received += _SCATTER * (around - received)
        received[:, 0] += 0.3 * ((studio.neighbours @ received[:, 0]) - received[:, 0])
        upper_lip, lower_lip = studio.head.landmarks(torch.from_numpy(vertices))[list(studio.inner_lips)].numpy()
        open_mouth = float(np.clip((np.linalg.norm(upper_lip - lower_lip) - 0.001) / 0.008, 0, 1))
        inside = np.maximum.reduce(
            [
                (0.04 + 0.26 * open_mouth) * soft["teeth"],
                (0.02 + 0.13 * open_mouth) * soft["tongue"],
                0.12 * soft["mouth_interior"],
            ]
        )
        dimmed = np.where(inside > 0, inside, 1).astype(np.float32)
        return received * dimmed[:, None], share * dimmed


_SCATTER = np.array([0.6, 0.3, 0.15], np.float32)
"""How much of the light at a vertex (4 mm from the next) comes out beside it, by channel."""


def fibres(vertices: Array, faces: NDArray[np.int32], corner_uv: Array) -> Array:
    """Directions [N, 3] in which a hair texture's v runs along its mesh: from the roots to the tips."""
    return _texture_tangents(vertices, faces, np.ascontiguousarray(corner_uv, np.float32))


def _in_pairs(hair: HairPiece) -> bool:
    """Whether the hair is ribbons, whose two sides follow one root."""
    return len(hair.roots) % 2 == 0 and bool((hair.roots[::2] == hair.roots[1::2]).all())


@numba.njit(cache=True, fastmath=True, nogil=True)
def _texture_tangents(vertices, faces, corner_uv):
    out = np.zeros_like(vertices)
    for f in range(faces.shape[0]):
        i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
        du1, du2 = corner_uv[f, 1, 0] - corner_uv[f, 0, 0], corner_uv[f, 2, 0] - corner_uv[f, 0, 0]
        dv1, dv2 = corner_uv[f, 1, 1] - corner_uv[f, 0, 1], corner_uv[f, 2, 1] - corner_uv[f, 0, 1]
        area = du1 * dv2 - du2 * dv1
        if area == 0.0:
            continue
        for c in range(3):
            tangent = (du1 * (vertices[i2, c] - vertices[i0, c]) - du2 * (vertices[i1, c] - vertices[i0, c])) / area
            out[i0, c] += tangent
            out[i1, c] += tangent
            out[i2, c] += tangent
    for i in range(out.shape[0]):
        length = np.sqrt(out[i, 0] ** 2 + out[i, 1] ** 2 + out[i, 2] ** 2) + np.float32(1e-12)
        out[i] /= length
    return out


@numba.njit(cache=True, fastmath=True, nogil=True)
def _follow_roots(points, anchors, weights, offsets, rotation):
    """Roots follow the skin or their loose points [N + M, 3]; what grows from them turns with the skull."""
    out = np.empty_like(offsets)
    for i in range(offsets.shape[0]):
        for c in range(3):
            at = rotation[c, 0] * offsets[i, 0] + rotation[c, 1] * offsets[i, 1] + rotation[c, 2] * offsets[i, 2]
            for k in range(3):
                at += points[anchors[i, k], c] * weights[i, k]
            out[i, c] = at
    return out


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
