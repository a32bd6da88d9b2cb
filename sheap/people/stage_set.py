"""The studio under its name of before, which tools outside of this repository import (they trace reference pictures)."""

from sheap.people.studio import shared_studio as shared_stage

__all__ = ["shared_stage"]
