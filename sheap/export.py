"""The trained predictor as one file for other programs: head crops in, parameters and vertices out.

torchscript (.pt, torch.jit.load), pt2 (.pt2, torch.export.load) and onnx (.onnx; needs the extra `export`). The batch is free,
everything else is fixed. What is written is read again and compared with the network that it came from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from sheap.files import whole_path
from sheap.networks.both_sides import BothSides
from sheap.networks.config import EncoderConfig
from sheap.networks.sheap_network import SheapNetwork

Format = Literal["torchscript", "pt2", "onnx"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[Format, str] = {"torchscript": ".pt", "pt2": ".pt2", "onnx": ".onnx"}
TOLERANCE_MM = 0.02
"""Greatest distance of a vertex from the eager network's that an export may have."""
CHECKED_BATCH = 3


OUTPUTS = ("shape_coefficients", "expression_coefficients", "eyelids", "rotvecs", "translation", "vertices")
"""[B, S], [B, E], [B, 2] (absent where the head model has no lids), [B, J, 3] (root, neck, jaw, left and right eye, those there
are; radians), [B, 3] and [B, N, 3] (metres, in the world of the fixed camera, `SheapPredictor.camera`). Plain names such as
"shape" would meet ONNX's own."""


class CropToHead(nn.Module):
    """Crops [B, 3, S, S] in [0, 1] of the network's own side -> OUTPUTS, as `SheapPredictor.predict` answers.

    both_sides: False looks at each crop once: twice as fast, and its shapes are off by some 2 % more.
    """

    def __init__(self, network: SheapNetwork, *, both_sides: bool = True) -> None:
        super().__init__()
        self.network = network
        self._sides = BothSides.of(network) if both_sides else BothSides(network, None)

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        params = self._sides.params(crops)
        vertices = self.network.head(params).vertices
        values = (params.shape, params.expression, params.eyelids, params.rotvecs(), params.translation, vertices)
        return tuple(value for value in values if value is not None)


def output_names(network: SheapNetwork) -> list[str]:
    """OUTPUTS, without the lids where the head model has none."""
    return [name for name in OUTPUTS if name != "eyelids" or network.head.num_eyelids]


def export(network: SheapNetwork, path: Path, to: Format) -> float:
    """Writes a predictor's network to `path` and gives the greatest distance (mm) of a vertex from the eager network's.

    Raises ImportError naming the extra where `onnx` needs packages that are missing, ValueError where the network has a step that
    ONNX lacks, or what was written answers otherwise than the network by more than TOLERANCE_MM, and NotWritten. Nothing is left
    of an export that fails.
    """
    encoder = network.config.encoder
    if to == "onnx" and isinstance(encoder, EncoderConfig) and encoder.face_points:
        raise ValueError(
            f"{path}: ONNX has no singular value decomposition, by which this model's encoder lays the face's points on the mean "
            "face; export it to torchscript or pt2"
        )
    module = CropToHead(network).eval().cpu()
    side = network.config.encoder.image_size
    crops = torch.rand(CHECKED_BATCH, 3, side, side, generator=torch.Generator().manual_seed(0))
    with whole_path(path) as temporary:
        # torch tells formats by their endings.
        named = temporary.with_name(f"{temporary.name}{SUFFIXES[to]}")
        try:
            run = {"torchscript": _torchscript, "pt2": _pt2, "onnx": _onnx}[to](module, crops[:2], named)
            with torch.inference_mode():
                wanted = module(crops)[-1]
            apart = 1e3 * float((run(crops) - wanted).norm(dim=-1).max())
            if not apart <= TOLERANCE_MM:
                raise ValueError(f"{path}: its vertices lie up to {apart:.3f} mm from the network's; {TOLERANCE_MM} are allowed")
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)
    return apart


Runner = Callable[[Tensor], Tensor]


def _torchscript(module: CropToHead, crops: Tensor, path: Path) -> Runner:
    with torch.inference_mode():
        traced = torch.jit.trace(module, crops, check_trace=False)
    torch.jit.save(traced, str(path))
    read = torch.jit.load(str(path))
    return lambda images: read(images)[-1].detach()


def _pt2(module: CropToHead, crops: Tensor, path: Path) -> Runner:
    batch = torch.export.Dim("batch", min=1, max=4096)
    with torch.no_grad():
        program = torch.export.export(module, (crops,), dynamic_shapes=({0: batch},))
    torch.export.save(program, str(path))
    read = torch.export.load(str(path)).module()
    return lambda images: read(images)[-1].detach()


def _onnx(module: CropToHead, crops: Tensor, path: Path) -> Runner:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        remedy = "install the extra `export` (pip install 'sheap[export]')"
        raise ImportError(f"ONNX needs the package {error.name}: {remedy}") from None
    batch = torch.export.Dim("batch", min=1, max=4096)
    with torch.no_grad():
        torch.onnx.export(
            module, (crops,), str(path), input_names=["crops"], output_names=output_names(module.network),
            dynamic_shapes=({0: batch},), dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["vertices"], {"crops": np.asarray(images)})[0])
