"""Hair styles and beards: which strands grow where, how long, and which way they fall."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sheap.people import face_places as places
from sheap.people import strands
from sheap.people.beards import WIDEST, BeardForm, BeardGround
from sheap.people.colours import srgb_to_linear
from sheap.people.hair_model import BoundMesh, open_hair
from sheap.people.noise import point_noise, smoothstep
from sheap.people.scene import HAIR, Material
from sheap.people.shapes import smooth_normals
from sheap.people.traits import Traits
from sheap.people.wearer import Wearer

if TYPE_CHECKING:
    from sheap.people.makehuman import AssetLooks

Array = NDArray[np.float32]

_COLUMNS = 8
_BEARD_POINTS = 4
_HANGS_FROM = -0.06
"""Height (m) below which hair hangs free, so that it can be longer or shorter."""


@dataclass(frozen=True)
class HairPiece:
    """Hair on one identity at rest: vertices, normals [N, 3], faces [F, 3], corner_uv [F, 3, 2], tint [N, 3],
    occlusion [N]. Each vertex follows its root: anchors [N, 3] are the head's vertices (then its loose points),
    weights [N, 3] theirs, and roots [N, 3] where that is at rest."""

    name: str
    vertices: Array
    normals: Array
    faces: NDArray[np.int32]
    corner_uv: Array
    tint: NDArray[np.floating]
    occlusion: Array
    anchors: NDArray[np.int64]
    weights: Array
    roots: Array
    material: Material


@dataclass(frozen=True)
class Grown:
    """Hair on the mean head, as HairPiece but for: shade [N, 3]: lightness of each lock (1: the person's colour); bound [N]: the
    skin's vertices nearest to it; root_heights [4, N]: how far (m) above the hairline it starts, as grown and as receded, and
    sheap.people.face_places.hairline_form there; chance [S]: a number in 0..1 of each strand, by which some are left out."""

    name: str
    vertices: Array
    normals: Array
    faces: NDArray[np.int32]
    corner_uv: Array
    shade: Array
    occlusion: Array
    anchors: NDArray[np.int64]
    weights: Array
    roots: Array
    root_heights: Array
    chance: Array
    material: Material
    bound: NDArray[np.int64]


@dataclass(frozen=True)
class _Style:
    """Lengths in metres. top, side: length ranges; layer: how thick the hair lies; lift: 0 flat .. 1 upright; flow:
    which way strands start; gravity: how fast they bend down; fringe: lowest y over the face."""

    count: int
    top: tuple[float, float]
    side: tuple[float, float]
    layer: float
    lift: float
    flow: str
    gravity: float
    width: float
    fringe: float = 0.040
    curl: float = 0.0
    curl_length: float = 0.03
    roll: float = 0.35
    fullness: float = 0.9
    receded: float = 0.0


_STYLES = {
    "receding": _Style(1000, (0.012, 0.03), (0.012, 0.025), 0.003, 0.06, "natural", 14, 0.004, receded=1.0),
    "buzz": _Style(1800, (0.006, 0.010), (0.003, 0.006), 0.001, 0.75, "natural", 0, 0.004, fullness=0.7),
    "short": _Style(1700, (0.03, 0.05), (0.010, 0.022), 0.007, 0.08, "part", 14, 0.0045),
    "quiff": _Style(1700, (0.04, 0.065), (0.008, 0.016), 0.014, 0.3, "back", 12, 0.0045, fringe=0.06),
    "fringe": _Style(1700, (0.05, 0.07), (0.02, 0.04), 0.008, 0.08, "forward", 20, 0.005, fringe=0.026),
    "curly": _Style(
        1700, (0.05, 0.085), (0.03, 0.05), 0.022, 0.35, "natural", 12, 0.008, curl=0.006, curl_length=0.025, roll=0.9
    ),
    "afro": _Style(
        2600, (0.030, 0.060), (0.020, 0.045), 0.030, 0.95, "natural", 0, 0.011, curl=0.007, curl_length=0.016, roll=1.5
    ),
    "medium": _Style(1400, (0.16, 0.24), (0.12, 0.20), 0.014, 0.2, "part", 18, 0.008),
    "long": _Style(1400, (0.30, 0.42), (0.28, 0.40), 0.014, 0.2, "part", 18, 0.009),
    "tied": _Style(1500, (0.13, 0.17), (0.10, 0.15), 0.006, 0.1, "tied", 1, 0.008),
}


VARIANTS = 3
"""Heads of hair that are grown of every style; people share them, each in their own colour, fit, volume and length."""
_PARTS = (0.0, 0.025, -0.025)
_LOWEST_HAIRLINE = -0.010

_MODELLED = {
    "short": ("short01", "short02", "short04"),
    "quiff": ("short01", "short04"),
    "fringe": ("short02", "short02", "short03"),
    "medium": ("bob02",),
    "long": ("long01",),
    "tied": ("ponytail01", "braid01"),
}
"""Which of the package's modelled hair suits a style; other styles are strands alone."""
_WOMENS = ("bob02", "braid01", "ponytail01")
_MODELLED_SHARE = 0.65
_MODELLED_RECEDED = 0.35
"""Modelled hair has its hairline where it is: it suits no one whose own went back farther."""


class HairStock:
    """Hair grown on the mean head, once a process and style; people take it over by where it lies on them."""

    def __init__(
        self,
        template: Array,
        loose: Array,
        normals: Array,
        faces: NDArray,
        regions: dict[str, Array],
        upper_lids: NDArray,
    ) -> None:
        """template [V, 3]; loose [M, 3]: the head model's loose points; the rest as MeanHead."""
        points = np.concatenate([template, loose])
        self.mirror = cKDTree(points).query(points * np.array([-1, 1, 1], np.float32))[1]
        """For each vertex and loose point, which lies on the other side."""
        self._mean = strands.MeanHead(template, normals, faces, regions, upper_lids)
        outside = (regions["skin"] > 0.5) & (regions["ears"] < 0.5) & (regions["eye_sockets"] < 0.5)
        self._surface = np.flatnonzero(outside & (regions["mouth_interior"] < 0.5))
        self._nearest = cKDTree(template[self._surface])
        self._grown: dict[tuple[str, int, int], list[Grown]] = {}

    def scalp(self, style: str, part: float, variant: int) -> list[Grown]:
        """Hair of a style, parted nearest to `part` (m from the middle)."""
        number = int(np.abs(np.array(_PARTS) - part).argmin()) if _STYLES[style].flow == "part" else 0
        return self._kept((style, number, variant), lambda rng: _scalp_hair(_STYLES[style], _PARTS[number], self._mean, rng))

    def beard(self, kind: str, variant: int) -> list[Grown]:
        return self._kept((kind, 0, variant), lambda rng: [_beard(kind, self._mean, rng)])

    def lashes(self, variant: int) -> list[Grown]:
        return self._kept(("lashes", 0, variant), lambda rng: [_lashes(self._mean, rng)])

    def _kept(self, key: tuple[str, int, int], grow: Callable[[np.random.Generator], list[Grown]]) -> list[Grown]:
        if key not in self._grown:
            grown = grow(np.random.default_rng([sum(map(ord, key[0])), *key[1:]]))
            self._grown[key] = [replace(g, bound=self._surface[self._nearest.query(g.vertices)[1]]) for g in grown]
        return self._grown[key]


def grow_hair(
    traits: Traits, seed: int, wearer: Wearer, stock: HairStock, assets: AssetLooks | None = None
) -> list[HairPiece]:
    """Lashes, hair and beard of one person; brows are painted on the skin unless the assets bring them."""
    rng = np.random.default_rng([seed, 21])
    variant, volume, length = int(rng.integers(VARIANTS)), rng.uniform(0.75, 1.2), rng.uniform(0.75, 1.12)
    modelled = rng.random() < _MODELLED_SHARE and traits.receded < _MODELLED_RECEDED
    names = [name for name in _MODELLED.get(traits.hair_style, ()) if traits.sex == "female" or name not in _WOMENS]
    black = (0.1, 0.08, 0.07)
    if assets is not None and assets.lashes is not None:
        pieces = [_bound("lashes", assets.lashes, black, wearer)]
    else:
        dark = tuple(min(c, 0.16) for c in traits.hair_color)
        long = 0.8 + 0.25 * traits.makeup + 0.3 * traits.lash_density
        pieces = [_carried(g, wearer, dark, long) for g in stock.lashes(variant)]
    if assets is not None and assets.brows is not None:
        pieces.append(_bound("brows", assets.brows, traits.brow_color, wearer, lift=0.0005))
    if assets is not None and assets.hair is not None:
        pieces.append(_bound("hair", assets.hair, traits.hair_color, wearer, lift=0.001))
    elif modelled and names:
        mesh = open_hair()[names[rng.integers(len(names))]]
        if rng.random() < 0.5:
            mesh = mesh.mirrored(stock.mirror)
        pieces.append(_bound("hair", mesh, traits.hair_color, wearer, lift=0.001, volume=volume**0.3, length=length))
    elif traits.hair_style in _STYLES:
        receded = max(_STYLES[traits.hair_style].receded, traits.receded)
        for grown in stock.scalp(traits.hair_style, traits.hair_part, variant):
            piece = _carried(grown, wearer, traits.hair_color, volume if grown.name == "hair" else 1.0)
            pieces.append(_cut_to_hairline(piece, grown, receded, traits))
    if traits.beard in ("moustache", "goatee", "full"):
        for grown in stock.beard(traits.beard, variant):
            piece = _carried(grown, wearer, traits.beard_color, traits.beard_length)
            pieces.append(_trimmed(piece, grown, traits))
    return pieces


def _carried(grown: Grown, wearer: Wearer, srgb: tuple[float, ...], volume: float) -> HairPiece:
    """Hair of the mean head on a person: moved as the skin nearest to it is. volume: how far it stands off, 1 as grown."""
    roots = (wearer.vertices[grown.anchors] * grown.weights[..., None]).sum(1)
    if grown.name in ("beard", "lashes"):
        moved = roots + np.float32(volume) * (grown.vertices - grown.roots)
    else:
        moved = wearer.vertices[grown.bound] + np.float32(volume) * (grown.vertices - wearer.template[grown.bound])
    # Texture streaks are grey around 0.35 in linear light; the tint brings them to the person's colour.
    tint = grown.shade * (srgb_to_linear(np.array(srgb)) / np.float32(0.35))
    return HairPiece(
        grown.name, moved.astype(np.float32), grown.normals, grown.faces, grown.corner_uv, tint, grown.occlusion,
        grown.anchors, grown.weights, roots.astype(np.float32), grown.material,
    )  # fmt: skip


def _cut_to_hairline(piece: HairPiece, grown: Grown, receded: float, traits: Traits) -> HairPiece:
    """Without the strands whose roots lie below a person's own hairline."""
    full, far, peak, corners = grown.root_heights
    own = traits.hairline_shift - traits.hairline_peak * peak + traits.hairline_corners * corners
    keep = (full + np.float32(receded) * (far - full) > own)[grown.faces[:, 0]]
    return piece if keep.all() else replace(piece, faces=piece.faces[keep], corner_uv=piece.corner_uv[keep])


def _trimmed(piece: HairPiece, grown: Grown, traits: Traits) -> HairPiece:
    """Without the strands that a man's own form and density of beard leave out."""
    roots = grown.roots[:: 2 * _BEARD_POINTS]
    cover = BeardGround.prepare(roots, np.zeros(len(roots), np.float32)).cover(traits.beard, BeardForm.of(traits))
    left = cover * np.float32(0.45 + 0.75 * traits.beard_density) > grown.chance
    keep = left[grown.faces[:, 0] // (2 * _BEARD_POINTS)]
    return replace(piece, faces=piece.faces[keep], corner_uv=piece.corner_uv[keep])


def _scalp_hair(style: _Style, part: float, mean: strands.MeanHead, rng: np.random.Generator) -> list[Grown]:
    faces, regions = mean.faces, mean.regions
    middle = mean.template[faces].mean(1)
    line = {"receded": style.receded, "shift": _LOWEST_HAIRLINE}
    above = places.hairline_height(middle, **line)
    density = (
        smoothstep(-0.006, 0.012, above) * (1 - regions["ears"][faces].max(1)) * (regions["skin"][faces].min(1) > 0.5)
    )
    inner = regions["eye_sockets"] + regions["mouth_interior"]
    density = density * (1 - smoothstep(0.3, 0.7, inner[faces].mean(1)))
    density[middle[:, 1] < -0.10] = 0
    # More locks along the hairline, where gaps would show.
    density = density * (1 + 0.8 * smoothstep(0.03, 0.0, above))
    roots = strands.sample_roots(rng, style.count, density.astype(np.float32), mean)
    edge = places.hairline_height(roots.positions, **line)
    keep = edge > rng.uniform(-0.004, 0.003, len(edge))
    roots = roots.pick(keep)
    count = len(roots.positions)
    flow = _flow(style.flow, part, roots, rng)
    top = smoothstep(0.035, 0.075, roots.positions[:, 1])
    low = style.side[0] + top * (style.top[0] - style.side[0])
    high = style.side[1] + top * (style.top[1] - style.side[1])
    personal = rng.random()
    lengths = low + (0.6 * personal + 0.4 * rng.random(count)) * (high - low)
    # Neighbouring strands share their ways: clumps.
    wander = np.stack([point_noise(rng, roots.positions, 0.02) for _ in range(3)], -1)
    flow = flow + 0.22 * wander + 0.10 * rng.standard_normal((count, 3))
    flow = flow - (flow * roots.normals).sum(-1, keepdims=True) * roots.normals
    flow /= np.linalg.norm(flow, axis=-1, keepdims=True) + 1e-6
    lift = np.clip(
        style.lift * rng.uniform(0.7, 1.2, count) * (0.55 + 0.45 * smoothstep(0.0, 0.03, edge[keep])), 0, 0.98
    )
    depth = rng.random(count).astype(np.float32)
    layer = style.layer * (0.1 + depth) * smoothstep(-0.004, 0.03, edge[keep])
    comb = {"back": (0, 0.1, -1.0), "forward": (0, 0, 1.0), "part": (0, 0, -0.45)}.get(style.flow, (0, 0, 0))
    centre = places.SKULL_CENTRE
    outer = (regions["skin"] > 0.5)[faces].all(1) & (regions["ears"][faces].min(1) < 0.5)
    radius_map = strands.head_radius_map(mean.template, faces[outer], centre, rng)
    widths = style.width * rng.uniform(0.7, 1.3, count).astype(np.float32)
    if style.flow == "tied":
        knot = _knot(mean.template)
        lines = strands.comb_towards(roots, knot, layer.astype(np.float32), centre, radius_map, 9)
        grown = strands.as_strands(lines, widths, style.roll, 0.0, 1.0, centre, rng)
        return [_piece("hair", grown, roots, depth, style.fullness, False, rng), _bun(rng, roots, knot)]
    grown = strands.grow(
        roots, flow.astype(np.float32), lengths.astype(np.float32), lift.astype(np.float32), layer.astype(np.float32),
        gravity=style.gravity, comb=np.broadcast_to(np.array(comb, np.float32), (count, 3)), comb_strength=12.0, curl=style.curl,
        curl_length=style.curl_length, centre=centre, radius_map=radius_map, rng=rng,
        points=8 if style.top[1] > 0.1 or style.curl > 0 else 6, widths=widths, roll=style.roll, keep_off_face=True,
        fringe_y=style.fringe,
    )  # fmt: skip
    return [_piece("hair", grown, roots, depth, style.fullness, style.curl > 0, rng)]


def _knot(vertices: Array) -> Array:
    """Where tied hair meets: behind the head at the height of the ears' tops."""
    back = vertices[vertices[:, 1] > -0.02]
    return np.array([0, 0.035, back[:, 2].min() - 0.006], np.float32)


def _flow(kind: str, part_x: float, roots: strands.Roots, rng: np.random.Generator) -> Array:
    """Directions [S, 3] in which strands leave their roots."""
    from_crown = roots.positions - places.CROWN
    from_crown = from_crown / (np.linalg.norm(from_crown, axis=-1, keepdims=True) + 1e-6)
    natural = from_crown + np.array([0, -0.25, 0], np.float32)
    x, y, z = roots.positions.T
    top = smoothstep(0.05, 0.085, y)[:, None]
    side = np.sign(x - part_x + 1e-6)[:, None]
    if kind == "natural":
        return natural
    if kind == "part":
        sideways = side * np.array([1.0, 0, 0], np.float32) + np.array([0, 0, 0.15], np.float32)
        return natural * (1 - top) + top * sideways + (1 - top) * np.array([0, -0.5, -0.25], np.float32)
    if kind == "back":
        return (
            np.array([0, 0.1, -1.0], np.float32) * np.ones_like(natural)
            + 0.15 * side * np.array([1.0, 0, 0], np.float32) * top
        )
    if kind == "forward":
        front = smoothstep(-0.05, 0.02, z)[:, None]
        return natural * (1 - front) + front * np.array([0, -0.3, 1.0], np.float32)
    if kind == "tied":
        return natural
    raise AssertionError(kind)


def _bun(rng: np.random.Generator, roots: strands.Roots, knot: Array) -> Grown:
    """A knot of hair: strands wound around a ball."""
    count, points = 260, 8
    centre = knot - np.array([0, 0, 0.012], np.float32)
    radius = rng.uniform(0.026, 0.038)
    axis = rng.standard_normal((count, 3)) * 0.35 + np.array([0, 0.3, 1.0])
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    start = rng.standard_normal((count, 3))
    start -= (start * axis).sum(-1, keepdims=True) * axis
    start /= np.linalg.norm(start, axis=-1, keepdims=True)
    other = np.cross(axis, start)
    tilt = rng.uniform(-0.9, 0.9, (count, 1, 1))
    angle = np.linspace(0, 2.4, points)[None, :, None]
    ball = (
        np.cos(tilt) * (np.cos(angle) * start[:, None] + np.sin(angle) * other[:, None]) + np.sin(tilt) * axis[:, None]
    )
    lines = centre + radius * rng.uniform(0.75, 1.05, (count, 1, 1)) * ball
    tangent = np.gradient(lines, axis=1)
    side = np.cross(tangent, ball)
    side /= np.linalg.norm(side, axis=-1, keepdims=True) + 1e-9
    nearest = int(((roots.positions - centre) ** 2).sum(-1).argmin())
    anchors = roots.pick(np.full(count, nearest))
    widths = np.full(count, 0.010, np.float32)
    grown = strands.Strands(lines.astype(np.float32), widths, side.astype(np.float32), ball.astype(np.float32))
    return _piece("bun", grown, anchors, rng.random(count).astype(np.float32), 0.95, False, rng)


def _beard(kind: str, mean: strands.MeanHead, rng: np.random.Generator) -> Grown:
    faces, regions = mean.faces, mean.regions
    middle, lips = mean.template[faces].mean(1), regions["lips"][faces].mean(1)
    density = BeardGround.prepare(middle, lips).cover(kind, WIDEST)
    density = density * (regions["face"][faces].mean(1) + regions["neck"][faces].mean(1) > 0.2)
    density = density * (1 - smoothstep(0.1, 0.5, regions["mouth_interior"][faces].mean(1)))
    count = {"full": 1900, "goatee": 1100, "moustache": 560}[kind]
    roots = strands.sample_roots(rng, count, density.astype(np.float32), mean)
    down = np.array([0, -1.0, 0.1], np.float32) + np.sign(roots.positions[:, :1]) * np.array([0.35, 0, 0], np.float32)
    flow = down + 0.25 * rng.standard_normal((count, 3))
    flow = flow - (flow * roots.normals).sum(-1, keepdims=True) * roots.normals
    flow /= np.linalg.norm(flow, axis=-1, keepdims=True) + 1e-6
    chin = smoothstep(-0.085, -0.11, roots.positions[:, 1])
    lengths = rng.uniform(0.005, 0.008) + chin * rng.uniform(0.002, 0.018) + 0.002 * rng.random(count)
    # No collision map: short hairs that start away from the skin stay off it.
    grown = strands.grow(
        roots, flow.astype(np.float32), lengths.astype(np.float32), rng.uniform(0.2, 0.45, count).astype(np.float32),
        np.zeros(count, np.float32), gravity=5.0, comb=np.zeros((count, 3), np.float32), comb_strength=0.0, curl=0.0,
        curl_length=0.02, centre=places.SKULL_CENTRE, radius_map=np.zeros((2, 4), np.float32), rng=rng,
        points=_BEARD_POINTS, widths=rng.uniform(0.0012, 0.0028, count).astype(np.float32), roll=0.6, keep_off_face=False,
        fringe_y=0.0,
    )  # fmt: skip
    return _piece("beard", grown, roots, rng.random(count).astype(np.float32), 0.75, False, rng)


def _lashes(mean: strands.MeanHead, rng: np.random.Generator) -> Grown:
    """A row of short dark hairs along each upper lid, curved upwards."""
    template, upper_lids = mean.template, mean.upper_lids
    edges, outwards = [], []
    for side in (1, -1):
        line = upper_lids[template[upper_lids, 0] * side > 0]
        line = line[np.argsort(np.abs(template[line, 0]))]
        at = np.sort(rng.uniform(1.0, len(line) - 1.001, 34))
        low = at.astype(int)
        edges.append((line[low], line[low + 1], (at - low)[:, None].astype(np.float32)))
        outwards.append((at / len(line)).astype(np.float32))
    near, following, part = (np.concatenate(values) for values in zip(*edges))
    outwards = np.concatenate(outwards)
    corners = np.stack([near, following, near], -1)
    weights = np.concatenate([1 - part, part, np.zeros_like(part)], -1)
    positions = template[near] * (1 - part) + template[following] * part
    count = len(near)
    side = np.sign(template[near][:, :1])
    flow = np.concatenate([side * (0.7 * outwards[:, None] - 0.15), np.full((count, 1), -0.1), np.ones((count, 1))], 1)
    flow += 0.08 * rng.standard_normal((count, 3))
    anchors = strands.Roots(corners, weights, positions.astype(np.float32), flow.astype(np.float32))
    lengths = (0.006 + 0.003 * outwards) * rng.uniform(0.8, 1.15, count)
    flat = np.zeros(count, np.float32)
    grown = strands.grow(
        anchors, flow.astype(np.float32), lengths.astype(np.float32), flat, flat,
        gravity=-110.0, comb=np.zeros((count, 3), np.float32), comb_strength=0.0, curl=0.0, curl_length=0.02,
        centre=places.SKULL_CENTRE, radius_map=np.zeros((2, 4), np.float32), rng=rng, points=4,
        widths=np.full(count, 0.0007, np.float32), roll=0.5, keep_off_face=False, fringe_y=0.0,
    )  # fmt: skip
    return _piece("lashes", grown, anchors, np.ones(count, np.float32), 1.0, False, rng)


def _bound(
    name: str,
    mesh: BoundMesh,
    srgb: tuple[float, ...],
    wearer: Wearer,
    *,
    lift: float = 0.0,
    volume: float = 1.0,
    length: float = 1.0,
) -> HairPiece:
    """A bound mesh in a person's colour, lifted a little (m) off the skin. volume: how far it stands off; length: of what hangs
    below the chin (1: as made)."""
    vertices, roots = mesh.fitted(np.concatenate([wearer.vertices, wearer.attachments]))
    vertices = roots + np.float32(volume) * (vertices - roots)
    vertices[:, 1] += np.minimum(vertices[:, 1] - _HANGS_FROM, 0) * np.float32(length - 1)
    normals = smooth_normals(vertices, mesh.faces)
    out = vertices - places.SKULL_CENTRE
    out = out / np.linalg.norm(out, axis=-1, keepdims=True)
    shading = 0.5 * normals + 0.6 * out
    shading /= np.linalg.norm(shading, axis=-1, keepdims=True)
    tint = np.broadcast_to(srgb_to_linear(np.array(srgb)) / 0.35, vertices.shape)
    material = Material(mesh.texture, HAIR, 0.08 if name == "hair" else 0.0, 5, two_sided=True)
    return HairPiece(
        name, (vertices + np.float32(lift) * out).astype(np.float32), shading.astype(np.float32), mesh.faces,
        mesh.corner_uv, tint.astype(np.float32), np.full(len(vertices), 0.85, np.float32), mesh.anchors, mesh.weights,
        roots, material,
    )  # fmt: skip


def _piece(
    name: str,
    grown: strands.Strands,
    roots: strands.Roots,
    depth: Array,
    fullness: float,
    curly: bool,
    rng: np.random.Generator,
) -> Grown:
    vertices, normals, faces, corner_uv = strands.ribbons(grown, _COLUMNS, rng)
    count, points = grown.lines.shape[:2]
    each = 2 * points
    lock = 1 + 0.16 * rng.standard_normal((count, 1)) + 0.05 * rng.standard_normal((count, 3))
    along = np.tile(np.repeat(np.linspace(0, 1, points, dtype=np.float32), 2), count)
    shade = np.repeat(np.clip(lock, 0.5, 1.6), each, 0) * (0.8 + 0.35 * along[:, None])
    buried = np.repeat(0.45 + 0.55 * depth, each)
    occlusion = np.clip(buried * (0.55 + 0.45 * np.minimum(1, along * 2.5)), 0, 1)
    if name in ("beard", "lashes"):
        occlusion = np.clip(0.6 + 0.4 * along, 0, 1)
    texture = strands.lock_texture(rng, _COLUMNS, fullness, 1.0 if curly else 0.0)
    gloss = 0.10 if not curly else 0.05
    # A little uneven, as hairlines are.
    ragged = rng.uniform(-0.003, 0.004, count)
    heights = [places.hairline_height(roots.positions, receded=value) + ragged for value in (0.0, 1.0)]
    heights = np.stack([*heights, *places.hairline_form(roots.positions)])
    return Grown(
        name=name,
        vertices=vertices,
        normals=normals,
        faces=faces,
        corner_uv=corner_uv,
        shade=shade.astype(np.float32),
        occlusion=occlusion.astype(np.float32),
        anchors=np.repeat(roots.corners, each, 0),
        weights=np.repeat(roots.weights, each, 0),
        roots=np.repeat(roots.positions, each, 0),
        root_heights=np.repeat(heights.astype(np.float32), each, 1),
        chance=rng.random(count).astype(np.float32),
        material=Material(texture, HAIR, gloss, 5, two_sided=True),
        bound=np.zeros(0, np.int64),
    )
