"""Validation of the graph in a policy file, before the graph is run.

A policy may use a short list of operators over tensors of bounded size, and has all its weights in
the file. ONNX Runtime would run any graph: loops, weights from other files, a product of two small
vectors that fills the memory. So the graph is first read with the `onnx` package, which runs
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import onnx
from google.protobuf.message import DecodeError

from sql_ros.common.errors import PolicyError

OPERATORS = frozenset(
    (
        "Add",
        "Cast",
        "Clip",
        "Concat",
        "Constant",
        "Div",
        "Erf",
        "Exp",
        "Flatten",
        "Gemm",
        "Greater",
        "Identity",
        "LayerNormalization",
        "MatMul",
        "Min",
        "Mul",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Slice",
        "Softmax",
        "Squeeze",
        "Sub",
        "Tanh",
    )
)
"""Operators that `learning.export` writes, for our networks and those of stable-baselines3."""
DOMAINS = ("", "ai.onnx")
MAX_NODES = 1000
MAX_CANDIDATES = 64  # assumed first dimension of a tensor where the graph leaves it free
MAX_ELEMENTS = 1 << 22  # largest number of elements of one tensor
# largest number of operations of one run: elements computed, in products times the length of the
# sums
MAX_OPERATIONS = 1 << 28
PRODUCTS = frozenset(("Gemm", "MatMul"))
# `onnx` registers its operators at the first use, which holds Python's lock for 20 ms. This use is
# before a control loop runs
onnx.defs.has("Relu")
ATTRIBUTE_TYPES = (
    onnx.AttributeProto.FLOAT,
    onnx.AttributeProto.INT,
    onnx.AttributeProto.FLOATS,
    onnx.AttributeProto.INTS,
    onnx.AttributeProto.TENSOR,
)


def check_graph(data: bytes) -> onnx.ModelProto:
    """Check that the graph of a policy file may be run.

    It may if it has at most `MAX_NODES` nodes, only `OPERATORS` of ONNX itself with plain
    attributes, all weights dense and in the file, and sizes that `_check_sizes` accepts.

    Args:
        data: Bytes of an ONNX file.

    Returns:
        The decoded model.

    Raises:
        PolicyError: The file is not ONNX, or its graph is not allowed; the message names the fault.
    """
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise PolicyError("the policy is no ONNX file") from None
    foreign = sorted({item.domain for item in model.opset_import} - set(DOMAINS))
    if foreign or model.functions or model.training_info:
        raise PolicyError(
            f"policy has operator sets {foreign}, functions or training graphs of its own, expected"
            " ONNX's own operators only"
        )
    nodes = model.graph.node
    if len(nodes) > MAX_NODES:
        raise PolicyError(f"policy has {len(nodes)} nodes, expected at most {MAX_NODES}")
    refused = sorted(
        {
            f"{node.domain}.{node.op_type}"[:80].lstrip(".")
            for node in nodes
            if not _is_allowed(node)
        }
    )
    if refused:
        raise PolicyError(
            f"policy has the operators {', '.join(refused[:10])}, allowed are:"
            f" {', '.join(sorted(OPERATORS))}"
        )
    if model.graph.sparse_initializer or any(
        tensor.external_data or tensor.data_location for tensor in _tensors(model)
    ):
        raise PolicyError(
            "policy has weights outside its file, or sparse weights, expected dense weights in the"
            " file"
        )
    _check_sizes(_without_weights(model))
    return model


def _without_weights(model: onnx.ModelProto) -> bytes:
    """Return the bytes of the same graph without float weights and metadata.

    No size of a tensor depends on these, and the result is the same for all policies of a learner.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for tensor in bare.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    bare.ClearField("metadata_props")
    data: bytes = bare.SerializeToString(deterministic=True)
    return data


def extract_output(model: onnx.ModelProto, output: str) -> bytes:
    """Return the part of a graph that computes one output, as an ONNX file.

    Args:
        model: The whole graph; it is not changed.
        output: Name of the output.

    Returns:
        Bytes of an ONNX file. It keeps all inputs, also those that the output does not need.
    """
    needed = {output}
    kept = []
    # nodes are in the order in which they can be computed
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = model.graph.name
    part.graph.input.extend(model.graph.input)
    part.graph.output.extend(item for item in model.graph.output if item.name == output)
    part.graph.node.extend(reversed(kept))
    part.graph.initializer.extend(
        tensor for tensor in model.graph.initializer if tensor.name in needed
    )
    data: bytes = part.SerializeToString()
    return data


def extract_q(model: onnx.ModelProto) -> bytes:
    """Return the part of a policy's graph that computes Q at given actions, as an ONNX file.

    Args:
        model: The whole graph; it is not changed.

    Returns:
        Bytes of an ONNX file with the inputs "observation" (1, S) and "action" (K, A), and the
        output "q" (K,).

    Raises:
        PolicyError: The graph computes Q from more than the observation and the action.
    """
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    kept = [node for node in whole.graph.node if "action" not in node.output]
    del whole.graph.node[:]
    whole.graph.node.extend(kept)
    action = next(item for item in model.graph.output if item.name == "action")
    whole.graph.input.append(action)
    part = onnx.load_model_from_string(extract_output(whole, "q"))
    used = {name for node in part.graph.node for name in node.input}
    if "noise" in used or "action" not in used:
        raise PolicyError(
            "policy computes Q together with the draw of its actions, expected Q as a function of"
            " the action: a composed policy cannot be a skill, name its skills instead; export a"
            " policy of an earlier version anew"
        )
    inputs = [item for item in part.graph.input if item.name != "noise"]
    del part.graph.input[:]
    part.graph.input.extend(inputs)
    data: bytes = part.SerializeToString()
    return data


def _is_allowed(node: onnx.NodeProto) -> bool:
    """Return whether the operator, the domain and the attribute types of a node are allowed."""
    has_plain_attributes = all(
        attribute.type in ATTRIBUTE_TYPES and not attribute.ref_attr_name
        for attribute in node.attribute
    )
    return node.op_type in OPERATORS and node.domain in DOMAINS and has_plain_attributes


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every constant tensor of a model: initializers and attributes of nodes."""
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t


@lru_cache(maxsize=2)
def _check_sizes(graph: bytes) -> None:
    """Check that the size of every tensor can be inferred and is allowed, and bound the work of a
    run.

    The check is cached. The policies of a learner differ in their weights only, and `infer_shapes`
    holds Python's lock for as long as a control period.

    Args:
        graph: Bytes of an ONNX file without weights, see `_without_weights`.

    Raises:
        PolicyError: Shapes do not fit together, a size cannot be inferred, a tensor has more than
            `MAX_ELEMENTS`, or a run takes more than `MAX_OPERATIONS`.
    """
    try:
        model = onnx.load_model_from_string(graph)
        inferred = onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
    except Exception as error:  # the exceptions of onnx share no public base class
        raise PolicyError(
            f"policy has a graph that does not fit together: {_one_line(error)}"
        ) from None
    known = {
        item.name: item.type.tensor_type
        for item in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    }
    computed = [name for node in inferred.graph.node for name in node.output if name]
    names = (*computed, *(item.name for item in inferred.graph.input))
    sizes = {name: _checked_size(name, known.get(name)) for name in names}
    lengths = {name: kind.shape.dim[-1].dim_value for name, kind in known.items() if kind.shape.dim}
    lengths |= {item.name: item.dims[-1] for item in inferred.graph.initializer if item.dims}
    operations = 0
    for node in inferred.graph.node:
        # length of the sums that make each element
        length = lengths.get(node.input[0], 1) if node.op_type in PRODUCTS else 1
        operations += length * sum(sizes[name] for name in node.output if name)
    if operations > MAX_OPERATIONS:
        raise PolicyError(
            f"policy computes {operations} operations in a run, expected at most {MAX_OPERATIONS}"
        )


def _checked_size(name: str, kind: onnx.TypeProto.Tensor | None) -> int:
    """Return the number of elements of a tensor.

    A free first dimension counts as `MAX_CANDIDATES`.

    Args:
        name: Name of the tensor, for error messages.
        kind: Inferred type of the tensor; None: it could not be inferred.

    Raises:
        PolicyError: The size cannot be inferred, or is more than `MAX_ELEMENTS`.
    """
    if kind is None or not kind.HasField("shape"):
        raise PolicyError(f"policy computes '{name[:80]}', whose size cannot be inferred")
    elements = 1
    for axis, dimension in enumerate(kind.shape.dim):
        if dimension.HasField("dim_value"):
            elements *= dimension.dim_value
        elif axis == 0:
            elements *= MAX_CANDIDATES
        else:
            raise PolicyError(f"policy computes '{name[:80]}', whose size cannot be inferred")
    if not 0 <= elements <= MAX_ELEMENTS:
        raise PolicyError(
            f"policy computes '{name[:80]}' with {elements} elements, expected at most"
            f" {MAX_ELEMENTS}"
        )
    return elements


def _one_line(error: Exception) -> str:
    """Return the text of an error in one line of at most 300 characters."""
    return " ".join(str(error).split())[:300]
