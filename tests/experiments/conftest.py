"""What several experiments are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import rendered_photos


@pytest.fixture(scope="session")
def state(tmp_path_factory) -> Path:
    """Two people to train on and two held out, as the campaign leaves them."""
    folder = tmp_path_factory.mktemp("campaign")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered_photos, "PEOPLE_A_CHUNK", 2)
        for role in ("train", "validation"):
            place = folder / "photos" / role
            place.mkdir(parents=True)
            count = rendered_photos.render_chunk(place, role, 0)
            assert count == 2 * rendered_photos.PHOTOS_OF[role]
        rendered_photos.assemble(folder)
    return folder
