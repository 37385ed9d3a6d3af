"""What a policy file may compute: a short list of operators over tensors of bounded size, everything in the file itself.

ONNX Runtime would run whatever a file says: loops, files beside it, a product of two small vectors that fills the memory. So a graph is
read first by the `onnx` package, which runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import onnx
from google.protobuf.message import DecodeError

from sql_ros.core.errors import PolicyError

OPERATORS = frozenset((
    "Add", "Cast", "Clip", "Concat", "Constant", "Div", "Erf", "Exp", "Flatten", "Gemm", "Greater", "Identity", "LayerNormalization",
    "MatMul", "Min", "Mul", "ReduceMean", "Relu", "Reshape", "Slice", "Softmax", "Squeeze", "Sub", "Tanh",
))  # fmt: skip
"""Those that `core.export` writes, for our networks and those of stable-baselines3."""
DOMAINS = ("", "ai.onnx")
MOST_NODES = 1000
MOST_ELEMENTS = 1 << 22  # of one tensor, with `MOST_CANDIDATES` where its first dimension is free
MOST_CANDIDATES = 64
onnx.defs.has("Relu")  # it registers its operators when first asked, in 20 ms with Python's lock: now rather than beside a control loop
PLAIN = (
    onnx.AttributeProto.FLOAT,
    onnx.AttributeProto.INT,
    onnx.AttributeProto.FLOATS,
    onnx.AttributeProto.INTS,
    onnx.AttributeProto.TENSOR,
)


def check_graph(data: bytes) -> onnx.ModelProto:
    """Passes a graph that may be run.

    Args:
        data: an ONNX file.

    Returns:
        What is in it.

    Raises:
        PolicyError: says what is in it that may not be.
    """
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise PolicyError("the policy is no ONNX file") from None
    foreign = sorted({item.domain for item in model.opset_import} - set(DOMAINS))
    if foreign or model.functions or model.training_info:
        raise PolicyError(
            f"policy has operator sets {foreign}, functions or training graphs of its own, expected ONNX's own operators only"
        )
    nodes = model.graph.node
    if len(nodes) > MOST_NODES:
        raise PolicyError(f"policy has {len(nodes)} nodes, expected at most {MOST_NODES}")
    strange = sorted({f"{node.domain}.{node.op_type}"[:80].lstrip(".") for node in nodes if not _is_allowed(node)})
    if strange:
        raise PolicyError(f"policy has the operators {', '.join(strange[:10])}, allowed are: {', '.join(sorted(OPERATORS))}")
    if model.graph.sparse_initializer or any(tensor.external_data or tensor.data_location for tensor in _tensors(model)):
        raise PolicyError("policy has weights outside of its file, or sparse ones, expected all of them in it, dense")
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for tensor in bare.graph.initializer:  # no size depends on weights
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    bare.ClearField("metadata_props")
    _check_sizes(bare.SerializeToString(deterministic=True))
    return model


def part_for(model: onnx.ModelProto, output: str) -> bytes:
    """The graph that is left where only this output is asked for, as a file: the inputs stay, also those that it does not need."""
    needed, kept = {output}, []
    for node in reversed(model.graph.node):  # which stand in the order in which they can be computed
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = model.graph.name
    part.graph.input.extend(model.graph.input)
    part.graph.output.extend(item for item in model.graph.output if item.name == output)
    part.graph.node.extend(reversed(kept))
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    whole: bytes = part.SerializeToString()
    return whole


def _is_allowed(node: onnx.NodeProto) -> bool:
    plain = all(attribute.type in PLAIN and not attribute.ref_attr_name for attribute in node.attribute)
    return node.op_type in OPERATORS and node.domain in DOMAINS and plain


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t


@lru_cache(maxsize=2)
def _check_sizes(graph: bytes) -> None:
    """Every tensor that is computed has a size that can be told without computing it, and a modest one.

    Once for all policies of a learner, which differ in their weights: `infer_shapes` holds Python's lock for as long as a control period.
    """
    try:
        model = onnx.load_model_from_string(graph)
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # onnx's own share no public base class
        raise PolicyError(f"policy has a graph that does not fit together: {_short(error)}") from None
    known = {item.name: item.type.tensor_type for item in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)}
    made = [name for node in inferred.graph.node for name in node.output if name]
    for name in (*made, *(item.name for item in inferred.graph.input)):
        if name not in known or not known[name].HasField("shape"):
            raise PolicyError(f"policy computes '{name[:80]}', whose size cannot be told")
        elements = 1
        for place, dimension in enumerate(known[name].shape.dim):
            if not dimension.HasField("dim_value") and place:
                raise PolicyError(f"policy computes '{name[:80]}', whose size cannot be told")
            elements *= dimension.dim_value if dimension.HasField("dim_value") else MOST_CANDIDATES
        if not 0 <= elements <= MOST_ELEMENTS:
            raise PolicyError(f"policy computes '{name[:80]}' with {elements} elements, expected at most {MOST_ELEMENTS}")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
