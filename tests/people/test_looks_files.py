"""The package's files of skins, brows and hair, and the recipe that makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from pipeline.commands.looks import app
from sheap.people.hair_model import OPEN_HAIR_PATH, open_hair, read_hair
from sheap.people.hair_recipe import _evened
from sheap.people.skin_model import OPEN_SKINS_PATH, open_skins, read_skins

PACK = Path(__file__).parents[3] / "shared/assets/makehuman-cc0"


def test_the_package_has_skins_of_all_kinds(studio):
    model = open_skins()
    assert model.colours.shape == (len(model.sources), len(studio.template), 3)
    assert np.isfinite(model.colours).all() and OPEN_SKINS_PATH.stat().st_size < 3e6
    assert {source.sex for source in model.sources} == {"female", "male"}
    assert np.array([source.ancestry for source in model.sources]).max(0).tolist() == [1, 1, 1]
    assert np.ptp([source.age_years for source in model.sources]) > 30
    # Brows: something in each, and not all of it.
    covered = (model.brows > 60).mean((1, 2))
    assert covered.min() > 0.01 and covered.max() < 0.4


def test_skins_have_no_tone_of_their_own(studio):
    """A mixture of patterns keeps a person's tone: each pattern is nothing on average over the face."""
    face = (studio.soft_regions["face"] > 0.5) & (studio.soft_regions["lips"] < 0.5) & (studio.soft_regions["eyelids"] < 0.5)
    assert np.abs(open_skins().colours[:, face].mean(1)).max() < 0.15


def test_mirrored_detail_is_the_other_side(studio):
    patch = studio.canvases_at(1.0)[0].patch
    details = studio.canvases_at(1.0)[0].details
    count = len(open_skins().sources)
    left = patch.positions[..., 0] > 0.01
    # The patch's middle row is the face's middle but for a texel: what is left in one is right in the other.
    turned = details[count][::-1]
    agree = np.corrcoef(details[0][left].astype(float), turned[left].astype(float))[0, 1]
    assert agree > 0.5


def test_modelled_hair_fits_the_head(studio):
    points = np.concatenate([studio.template, studio.head.attachment_template.numpy()])
    mirror = studio.hair_stock.mirror
    assert np.abs(points[mirror] * [-1, 1, 1] - points).max() < 1e-3
    for mesh in open_hair().values():
        vertices, _ = mesh.fitted(points)
        assert np.linalg.norm(vertices, axis=1).max() < 0.75 and mesh.faces.max() < len(vertices)
        other, _ = mesh.mirrored(mirror).fitted(points)
        assert np.abs(other * [-1, 1, 1] - vertices).max() < 2e-3
        # Eyes stay free.
        x, y, z = vertices.T
        assert not ((np.abs(np.abs(x) - 0.032) < 0.015) & (np.abs(y) < 0.012) & (z > 0.05)).any()


def test_a_fringe_is_cut_and_not_torn(studio):
    """Where hair had been pushed to both sides of the face, its triangles spanned the forehead: edges of 11 cm."""
    points = np.concatenate([studio.template, studio.head.attachment_template.numpy()])
    for mesh in open_hair().values():
        corners = mesh.fitted(points)[0][mesh.faces]
        ends = np.stack([corners, np.roll(corners, -1, axis=1)])
        x, y, z = np.moveaxis(ends.mean(0), -1, 0)
        before_face = (np.abs(x) < 0.06) & (y > -0.01) & (y < 0.07) & (z > 0.03)
        assert np.linalg.norm(ends[0] - ends[1], axis=-1)[before_face].max() < 0.055


def test_a_torn_edge_is_worn_smooth_and_an_old_one_kept():
    """A strip two quads high without its upper row but for every other quad: the teeth wear down, the outline stays."""
    columns = np.arange(13)
    points = np.stack([np.tile(columns, 3), np.repeat([0.0, 1.0, 2.0], 13), np.zeros(39)], -1).astype(np.float32)
    first = np.concatenate([columns[:-1], columns[:-1] + 13])
    faces = np.concatenate([np.stack([first, first + 1, first + 14], -1), np.stack([first, first + 14, first + 13], -1)])
    # Every other upper triangle that points up: a saw.
    upper = points[faces][..., 1].mean(1) > 1
    stands_up = (points[faces][..., 1] == 1).sum(1) == 2
    left = faces[~upper | stands_up]
    even = _evened(points, faces, left)
    saw = np.r_[16:23, 29:36]
    assert np.array_equal(even[:13], points[:13])
    assert np.ptp(points[saw, 1]) == 1 and np.ptp(even[saw, 1]) < 0.1
    assert np.array_equal(_evened(points, faces, faces), points)


def test_foreign_files_are_named(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"x": np.zeros(3, np.float32)}, path)
    for read in (read_skins, read_hair):
        with pytest.raises(ValueError, match=r"other\.safetensors"):
            read(path)
        with pytest.raises(ValueError, match=r"missing\.safetensors"):
            read(tmp_path / "missing.safetensors")


def test_a_wrong_folder_is_told_in_one_line(tmp_path):
    result = CliRunner().invoke(app, ["build", "--assets", str(tmp_path / "nowhere")])
    assert result.exit_code == 1 and "nowhere" in result.output and "Traceback" not in result.output


@pytest.mark.slow
def test_the_recipe_makes_the_shipped_files(tmp_path):
    if not PACK.is_dir():
        pytest.skip("MakeHuman's CC0 pack is not beside the checkout")
    result = CliRunner().invoke(app, ["build", "--assets", str(PACK), "--output", str(tmp_path)])
    assert result.exit_code == 0, result.output
    made, shipped = read_skins(tmp_path / OPEN_SKINS_PATH.name), open_skins()
    assert made.sources == shipped.sources
    # Interpolation differs in the last bit between machines: bytes may differ by one, not more.
    assert np.abs(made.colours - shipped.colours).max() < 0.01 and np.abs(made.tones - shipped.tones).max() < 1e-3
    for name, detail in shipped.details.items():
        assert np.abs(made.details[name].astype(int) - detail).max() <= 1
    assert np.abs(made.brows.astype(int) - shipped.brows).max() <= 2
    hair = read_hair(tmp_path / OPEN_HAIR_PATH.name)
    assert hair.keys() == open_hair().keys()
    for name, mesh in open_hair().items():
        assert np.array_equal(hair[name].faces, mesh.faces) and np.allclose(hair[name].offsets, mesh.offsets, atol=1e-3)
        assert np.abs(hair[name].texture.astype(int) - mesh.texture).max() <= 1
