"""What a head model has and what it lacks, in words a user can act on."""

from __future__ import annotations

from collections.abc import Sequence

from sheap.head.model import HeadModel
from sheap.head.params import JOINT_NAMES

CONVERT = "sheap head convert makes them, and so does training"


def describe(head: HeadModel, files: Sequence[str] = ()) -> list[str]:
    """Lines: kind and licence, sizes, what there is, and each missing thing with what does not work without it."""
    lines = [] if head.source is None else [f"{head.source.kind}; licence: {head.source.licence}"]
    if head.source is not None and head.source.name not in files:
        lines.append(f"made from: {head.source.name}")
    if files:
        shown = list(files) if len(files) <= 10 else [*files[:3], f"... {len(files) - 4} more ...", files[-1]]
        lines.append(f"read: {', '.join(shown)}")
    lines.append(
        f"{head.num_vertices} vertices, {head.num_faces} triangles, {head.num_shape} identity and {head.num_expression} "
        f"expression coefficients, {head.num_eyelids or 'no'} eyelids, joints: {', '.join(head.joint_names)}"
    )
    if head.landmark_faces is not None:
        trusted = int((head.landmark_weights > 0).sum())
        lines.append(f"MediaPipe landmarks: {trusted} of {len(head.landmark_faces)}")
    lines.append(f"regions: {', '.join(head.region_names) or 'none'}")
    if head.source is not None and head.source.made:
        lines.append(f"made here, not its publisher's: {', '.join(head.source.made)}")
    return lines + [f"missing: {what}" for what in missing(head)]


def missing(head: HeadModel) -> list[str]:
    """What is missing, and what follows from it."""
    found = []
    if head.landmark_faces is None:
        found.append(f"MediaPipe's landmarks: no training, no landmark measures ({CONVERT})")
    if head.now_faces is None:
        found.append(f"NoW's seven landmarks: no NoW submission, no expression benchmark ({CONVERT})")
    if head.uv_coords is None:
        found.append(f"UVs: no training ({CONVERT})")
    if not has_hidden_faces(head):
        found.append(f"what no camera sees: no Gaussians can be bound to the rest ({CONVERT})")
    for name in JOINT_NAMES:
        if name not in head.joint_names:
            instead = {"jaw": "its mouth opens by expression", "neck": "only the whole head turns"}
            found.append(f"joint {name}: {instead.get(name, 'the eyes look by expression')}")
    if head.num_eyelids == 0:
        found.append("eyelid coefficients: lids close by expression, as far as it has that")
    return found


def has_hidden_faces(head: HeadModel) -> bool:
    """Whether the head says what lies behind lids and lips, by name or as looked for."""
    return "hidden" in head.region_names or {"eye_sockets", "mouth_interior"} <= set(head.region_names)
