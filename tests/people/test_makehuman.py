from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sheap.people.cast import cast_member
from sheap.people.makehuman import MakeHumanAssets
from sheap.people.person import Person

PACK = Path(__file__).parents[3] / "shared/assets/makehuman-cc0"


def ids(studio):
    return np.concatenate([studio.head.base_vertex_ids.numpy(), studio.head.attachment_base_ids.numpy()])


def small_pack(folder: Path, studio, binding: str | None = None) -> Path:
    """A pack with one hair mesh: a triangle bound to three scalp vertices, one of them 1 cm out."""
    base = studio.head.base_vertex_ids.numpy()
    a, b, c = base[studio.rigid_ids[:3]]
    eyes = base[[int(studio.template[:, 0].argmax()), int(studio.template[:, 0].argmin())]]
    hair = folder / "hair/short01"
    hair.mkdir(parents=True)
    lines = [
        "name short01",
        *(f"{axis}_scale {eyes[0]} {eyes[1]} 1.0" for axis in "xyz"),
        "verts 0",
        binding or f"{a} {b} {c} 1.0 0.0 0.0 0.0 0.0 0.0",
        f"{b}",
        f"{a} {b} {c} 0.2 0.3 0.5 0.1 0.0 0.0",
    ]
    (hair / "short01.mhclo").write_text("\n".join(lines))
    obj = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n"
    (hair / "short01.obj").write_text(obj)
    cv2.imwrite(str(hair / "short01_diffuse.png"), np.full((8, 8, 4), 200, np.uint8))
    return folder


def chosen_hair(assets, studio):
    for seed in range(40):
        looks = assets.choose(cast_member(seed, "train", 0, studio.head).traits, np.random.default_rng(seed))
        if looks.hair is not None:
            return looks.hair
    raise AssertionError("no hair chosen in 40 people")


def test_bindings_put_vertices_where_the_file_says(tmp_path, studio):
    mesh = chosen_hair(MakeHumanAssets(small_pack(tmp_path, studio), ids(studio)), studio)
    points = np.concatenate([studio.template, studio.head.attachment_template.numpy()])
    fitted, base = mesh.fitted(points)
    a, b, c = studio.template[studio.rigid_ids[:3]]
    width = np.ptp(studio.template[:, 0])
    assert np.allclose(fitted[0], a, atol=1e-6) and np.allclose(fitted[1], b, atol=1e-6)
    assert np.allclose(base[2], 0.2 * a + 0.3 * b + 0.5 * c, atol=1e-6)
    assert np.allclose(fitted[2] - base[2], [0.1 * width, 0, 0], atol=1e-6)
    assert mesh.faces.tolist() == [[0, 1, 2]] and mesh.corner_uv[0, 0].tolist() == [0, 1]


def test_mistakes_name_the_file(tmp_path, studio):
    with pytest.raises(ValueError, match="nowhere"):
        MakeHumanAssets(tmp_path / "nowhere", ids(studio))
    with pytest.raises(ValueError, match="holds no"):
        MakeHumanAssets(tmp_path, ids(studio))
    foreign = MakeHumanAssets(small_pack(tmp_path / "foreign", studio, "99997 99998 99999 1 0 0 0 0 0"), ids(studio))
    with pytest.raises(ValueError, match=r"short01\.mhclo: binds to base vertex"):
        chosen_hair(foreign, studio)
    broken = small_pack(tmp_path / "broken", studio)
    (broken / "hair/short01/short01_diffuse.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"short01_diffuse\.png"):
        chosen_hair(MakeHumanAssets(broken, ids(studio)), studio)
    short = small_pack(tmp_path / "short", studio)
    (short / "hair/short01/short01.obj").write_text("v 0 0 0\nvt 0 0\nf 1/1 1/1 1/1\n")
    with pytest.raises(ValueError, match="binds 3 vertices"):
        chosen_hair(MakeHumanAssets(short, ids(studio)), studio)


def test_the_community_pack_dresses_people(studio):
    if not PACK.is_dir():
        pytest.skip("MakeHuman's CC0 pack is not beside the checkout")
    assets = MakeHumanAssets(PACK, ids(studio))
    kinds: set[str] = set()
    for index in range(12):
        member = cast_member(3, "train", index, studio.head)
        looks = assets.choose(member.traits, member.rng(901))
        kinds |= set(looks.names)
        for mesh in (looks.hair, looks.brows, looks.lashes):
            if mesh is None:
                continue
            points = np.concatenate([studio.template, studio.head.attachment_template.numpy()])
            fitted, _ = mesh.fitted(points)
            # On a head: nothing farther than a long pony tail from its middle.
            assert np.linalg.norm(fitted, axis=1).max() < 0.6
    assert kinds == {"skin", "iris", "hair", "brows", "lashes"}
    member = cast_member(3, "train", 1, studio.head)
    dressed = Person(
        studio, member.shape, member.traits, member.looks_seed, assets=assets.choose(member.traits, member.rng(901))
    )
    assert np.isfinite(dressed.rest).all()
