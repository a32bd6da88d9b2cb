"""Weights of the frozen face-landmark network, read from MediaPipe's TensorFlow Lite file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from torch import nn

from sheap.networks.face_mesh import FaceMesh

_LAYERS = {
    schema.BuiltinOperator.CONV_2D: nn.Conv2d,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: nn.Conv2d,
    schema.BuiltinOperator.PRELU: nn.PReLU,
}
_POINTS_OUTPUT = b"Identity"


def load_face_mesh_weights(network: FaceMesh, content: bytes) -> None:
    """Fills `network` from the bytes of `face_landmarks_detector.tflite`.

    The file lists its operations in the order in which they run, which is the order of the network's layers; its other heads
    (is there a face, is the tongue out) are skipped. Raises ValueError when the bytes are no such file, or a shape or the number
    of layers is another.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.PReLU))]
    try:
        stored = _stored_layers(content)
    except Exception as error:  # the flatbuffers reader checks nothing: any error may come of bytes that are no model
        raise ValueError(f"face landmark model: not a TensorFlow Lite file ({type(error).__name__}: {error})") from None
    if len(layers) != len(stored):
        raise ValueError(f"face landmark model: expected {len(layers)} layers with weights, got {len(stored)}")
    with torch.no_grad():
        for layer, (kind, weights) in zip(layers, stored, strict=True):
            shapes = [tuple(parameter.shape) for parameter in layer.parameters()]
            if not isinstance(layer, kind) or shapes != [array.shape for array in weights]:
                raise ValueError(f"face landmark model: expected {layer}, got weights {[w.shape for w in weights]}")
            for parameter, array in zip(layer.parameters(), weights, strict=True):
                parameter.copy_(torch.from_numpy(array))


def _stored_layers(content: bytes) -> list[tuple[type[nn.Module], list[NDArray[np.float32]]]]:
    """Class and weights, laid out as torch has them, of every layer that leads to the points."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content)))
    if not model.subgraphs or model.operatorCodes is None:
        raise ValueError("it holds no network")
    graph = model.subgraphs[0]
    maker = {int(tensor): operator for operator in graph.operators for tensor in operator.outputs}
    needed = {int(tensor) for tensor in graph.outputs if graph.tensors[tensor].name == _POINTS_OUTPUT}
    for operator in reversed(graph.operators):
        if needed.intersection(operator.outputs):
            needed.update(int(tensor) for tensor in operator.inputs)
    layers: list[tuple[type[nn.Module], list[NDArray[np.float32]]]] = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        if builtin not in _LAYERS or int(operator.outputs[0]) not in needed:
            continue
        arrays = [_constant(model, graph, maker, int(tensor)) for tensor in operator.inputs[1:]]
        if builtin == schema.BuiltinOperator.PRELU:
            arrays = [arrays[0].reshape(-1)]
        else:
            # [out, height, width, in], or [1, height, width, channels] where channels are kept apart.
            order = (3, 0, 1, 2) if builtin == schema.BuiltinOperator.DEPTHWISE_CONV_2D else (0, 3, 1, 2)
            arrays[0] = arrays[0].transpose(order)
        layers.append((_LAYERS[builtin], [np.ascontiguousarray(array, np.float32) for array in arrays]))
    return layers


def _constant(model: Any, graph: Any, maker: dict[int, Any], tensor: int) -> NDArray[Any]:
    """A stored array; weights in half precision are widened by an operation of their own."""
    while tensor in maker:
        tensor = int(maker[tensor].inputs[0])
    kinds = {schema.TensorType.FLOAT16: np.float16, schema.TensorType.FLOAT32: np.float32}
    described = graph.tensors[tensor]
    data = model.buffers[described.buffer].data
    return np.frombuffer(np.asarray(data, np.uint8).tobytes(), kinds[described.type]).reshape(described.shape)
