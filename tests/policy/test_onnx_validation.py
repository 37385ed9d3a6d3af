"""What a policy file may not compute: each is refused before ONNX Runtime sees it."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sql_ros.common.errors import PolicyError
from sql_ros.policy.onnx_validation import (
    MAX_ELEMENTS,
    MAX_NODES,
    OPERATORS,
    check_graph,
    extract_output,
)


def _model(
    nodes, initializers=(), outputs=("action",), opsets=(("", 17),), **more
) -> onnx.ModelProto:
    """Of an observation (1, 3)."""
    observation = helper.make_tensor_value_info("observation", TensorProto.FLOAT, [1, 3])
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(list(nodes), "g", [observation], made, list(initializers))
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid(*opset) for opset in opsets], **more
    )


def _relu(source: str = "observation", to: str = "action") -> onnx.NodeProto:
    return helper.make_node("Relu", [source], [to])


def _refused(model: onnx.ModelProto | bytes, why: str) -> None:
    with pytest.raises(PolicyError, match=why):
        check_graph(model if isinstance(model, bytes) else model.SerializeToString())


def test_a_plain_graph_passes():
    check_graph(_model([_relu()]).SerializeToString())


def test_the_part_for_one_output_computes_nothing_else():
    ones = numpy_helper.from_array(np.ones((3, 2), np.float32), "weight")
    model = _model(
        [
            _relu(to="hidden"),
            _relu("hidden", "action"),
            helper.make_node("MatMul", ["hidden", "weight"], ["q"]),
        ],
        [ones],
        outputs=("action", "q"),
    )
    action, q = (
        onnx.load_model_from_string(extract_output(model, output)) for output in ("action", "q")
    )
    assert [node.output[0] for node in action.graph.node] == ["hidden", "action"]
    assert [node.output[0] for node in q.graph.node] == ["hidden", "q"]
    assert [len(part.graph.initializer) for part in (action, q)] == [0, 1]
    assert [item.name for item in action.graph.input] == ["observation"]


@pytest.mark.parametrize(
    "operator",
    ["Loop", "If", "Scan", "RandomNormal", "Expand", "ConstantOfShape", "Range", "Tile", "Resize"],
)
def test_other_operators_are_refused(operator):
    assert operator not in OPERATORS
    _refused(
        _model([helper.make_node(operator, ["observation"], ["action"])]),
        f"operators {operator}, allowed are: Add",
    )


def test_operators_of_somebody_else_are_refused():
    _refused(_model([_relu()], opsets=(("", 17), ("com.microsoft", 1))), "com.microsoft")
    _refused(
        _model([helper.make_node("Relu", ["observation"], ["action"], domain="evil")]), "evil.Relu"
    )
    function = helper.make_function(
        "",
        "Relu",
        ["x"],
        ["y"],
        [helper.make_node("Exp", ["x"], ["y"])],
        [helper.make_opsetid("", 17)],
    )
    _refused(_model([_relu()], functions=[function]), "functions")


def test_a_graph_inside_of_an_operator_is_refused():
    node = _relu()
    node.attribute.append(helper.make_attribute("body", _model([_relu()]).graph))
    _refused(_model([node]), "operators Relu")


@pytest.mark.parametrize("as_constant", [False, True])
def test_weights_in_another_file_are_refused(as_constant, tmp_path):
    weights = numpy_helper.from_array(np.ones((3, 2), np.float32), "w")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="/etc/passwd")
    product = helper.make_node("MatMul", ["observation", "w"], ["action"])
    constant = helper.make_node("Constant", [], ["w"], value=weights)
    _refused(
        _model([constant, product] if as_constant else [product], [] if as_constant else [weights]),
        "outside its file",
    )


def test_a_product_that_would_fill_the_memory_is_refused():
    length = 2 * round(MAX_ELEMENTS**0.5)
    column, row = (
        numpy_helper.from_array(np.ones(shape, np.float32), name)
        for shape, name in (((length, 1), "c"), ((1, length), "r"))
    )
    _refused(
        _model([helper.make_node("MatMul", ["c", "r"], ["action"])], [column, row]),
        "elements, expected at most",
    )
    _refused(
        _model([helper.make_node("Add", ["c", "r"], ["action"])], [column, row]),
        "elements, expected at most",
    )


def test_a_size_that_only_running_it_would_tell_is_refused():
    shape = helper.make_node("Cast", ["observation"], ["shape"], to=TensorProto.INT64)
    flat = helper.make_node("Reshape", ["shape", "minus"], ["flat"])
    minus = numpy_helper.from_array(np.array([-1], np.int64), "minus")
    _refused(
        _model(
            [shape, flat, helper.make_node("Reshape", ["observation", "flat"], ["action"])], [minus]
        ),
        "cannot be inferred",
    )


def test_a_graph_that_does_not_fit_together_is_refused():
    weights = numpy_helper.from_array(np.ones((5, 2), np.float32), "w")
    _refused(
        _model([helper.make_node("MatMul", ["observation", "w"], ["action"])], [weights]),
        "does not fit together",
    )
    _refused(_model([_relu("nowhere")]), "does not fit together|cannot be inferred")


def test_an_endless_graph_is_refused():
    names = ["observation", *(f"n{i}" for i in range(MAX_NODES)), "action"]
    _refused(_model([_relu(*pair) for pair in itertools.pairwise(names)]), f"{MAX_NODES + 1} nodes")


def test_a_graph_that_computes_for_seconds_is_refused():
    """Each tensor is of a modest size, and so is the number of nodes."""
    wide = numpy_helper.from_array(np.ones((3, 4000), np.float32), "wide")
    names = ["n0", *(f"n{i}" for i in range(1, MAX_NODES - 1)), "action"]
    square = numpy_helper.from_array(np.ones((4000, 4000), np.float32), "square")
    first = helper.make_node("MatMul", ["observation", "wide"], ["n0"])
    chain = [
        helper.make_node("MatMul", [before, "square"], [after])
        for before, after in itertools.pairwise(names)
    ]
    _refused(_model([first, *chain], [wide, square]), "operations in a run, expected at most")


def test_what_is_no_onnx_file_is_said_to_be_none():
    _refused(b"PK\x03\x04 a zip", "no ONNX file")


def test_sizes_are_inferred_once_for_graphs_of_other_weights(monkeypatch):
    """`infer_shapes` holds Python's lock, and a control loop waits."""
    inferred, infer = [], onnx.shape_inference.infer_shapes
    monkeypatch.setattr(
        onnx.shape_inference,
        "infer_shapes",
        lambda model, **how: inferred.append(1) or infer(model, **how),
    )
    product = helper.make_node("MatMul", ["observation", "w"], ["action"])

    def of(weights) -> bytes:
        return _model(
            [product], [numpy_helper.from_array(np.array(weights, np.float32), "w")]
        ).SerializeToString()

    check_graph(of(np.full((3, 17), 1.0)))
    check_graph(of(np.full((3, 17), 2.0)))
    assert len(inferred) == 1
    _refused(of(np.full((4, 17), 2.0)), "does not fit together")
    _refused(of(np.full((4, 17), 3.0)), "does not fit together")
    assert len(inferred) == 3
