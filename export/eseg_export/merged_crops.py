"""An ONNX graph with fewer passes over memory: a crop along several axes is one operation, not one for each axis."""

from __future__ import annotations

from collections import Counter

from onnx import GraphProto, NodeProto, helper


def merge_crops(graph: GraphProto) -> None:
    """Make one Slice of each chain of them in the graph, in place; the exporter writes one for each axis.

    Each of them copies what it leaves. Slices of a chain are along different axes, so their order does not matter.
    """
    makers = {node.output[0]: node for node in graph.node}
    uses = Counter(name for node in graph.node for name in node.input)
    kept: list[NodeProto] = []
    for node in graph.node:
        inner = makers.get(node.input[0]) if node.op_type == "Slice" else None
        is_chain = inner is not None and inner.op_type == "Slice" and uses[inner.output[0]] == 1
        # Data, starts, ends, axes, and for some also steps.
        if inner is None or not is_chain or len(inner.input) != len(node.input):
            kept.append(node)
            continue
        kept.remove(inner)
        names = [f"{node.output[0]}_{what}" for what in ("starts", "ends", "axes", "steps")][: len(node.input) - 1]
        for name, *pair in zip(names, inner.input[1:], node.input[1:], strict=True):
            kept.append(helper.make_node("Concat", pair, [name], name, axis=0))
        merged = helper.make_node("Slice", [inner.input[0], *names], node.output, node.name)
        makers[node.output[0]] = merged
        kept.append(merged)
    del graph.node[:]
    graph.node.extend(kept)
