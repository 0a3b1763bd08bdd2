"""`add_graph`: one run of a model as TensorBoard's GraphDef, operators inside the scopes of their modules."""

import inspect
from typing import Any

from facula.core.tensor import Tensor
from facula.extras import require
from facula.recording import Applied, Record, Visit, record

__all__ = ["graph"]


class _Names:
    """Unique names: the first of a name has it, others get a number."""

    def __init__(self):
        self.taken: dict[str, int] = {}

    def __call__(self, wanted: str) -> str:
        count = self.taken[wanted] = self.taken.get(wanted, 0) + 1
        return wanted if count == 1 else f"{wanted}_{count - 1}"


def _scope(visit: Visit) -> str:
    """`Net/Sequential[body]/Linear[0]`, as PyTorch's tracer names scopes."""
    parts = []
    for at in visit.path():
        if at.module is not None:
            kind, own = type(at.module).__name__, at.name.rpartition(".")[2]
            parts.append(f"{kind}[{own}]" if parts else kind)
    return "/".join(parts)


def _text(numbers: dict[str, Any]) -> str:
    """The arguments that are no tensors; TensorBoard stumbles over single quotes."""
    return str(numbers).replace("'", " ") if numbers else "{}"


def nodes_of(model: Any, seen: Record, names: list[str]) -> list[dict[str, Any]]:
    """The graph's nodes: name, kind, names of inputs, shape of the output, attributes."""
    unique, nodes = _Names(), []
    known: dict[int, str] = {}  # nodes of what no operator made, by tensor or memory
    made: dict[tuple[int, int], str] = {}  # by call and output

    def enter(wanted: str, kind: str, inputs: list[str], tensor: Tensor | None, attributes: str = "") -> str:
        name = unique(wanted)
        shape = None if tensor is None else list(tensor.shape)
        nodes.append({"name": name, "op": kind, "input": inputs, "outputsize": shape, "attributes": attributes})
        return name

    for name, tensor in zip(names, seen.inputs):
        known[id(tensor)] = enter(f"input/{name}", "IO Node", [], tensor)
    owners = {id(t): path for path, t in [*model.named_parameters(), *model.named_buffers()]}
    modules = dict(model.named_modules())
    base = type(model).__name__

    def source(tensor: Tensor, call: Applied | None, visit: Visit | None) -> str:
        """The node that a tensor comes from."""
        if call is not None:
            at = next((i for i, t in enumerate(call.outputs) if t is tensor), 0)
            return made[id(call), at]
        if id(tensor) not in known:
            path = owners.get(id(tensor))
            if path is None:
                where = _scope(visit) if visit is not None else base
                known[id(tensor)] = enter(f"{where}/constant", "prim::Constant", [], tensor)
            else:
                owner, _, last = path.rpartition(".")
                where, parts = base, []
                for part in owner.split(".") if owner else ():
                    parts.append(part)
                    where += f"/{type(modules['.'.join(parts)]).__name__}[{part}]"
                known[id(tensor)] = enter(f"{where}/{last}", "prim::GetAttr", [], tensor, f"{{ name :  {last} }}")
        return known[id(tensor)]

    for call in seen.order:
        inputs = [source(t, maker, call.visit) for t, maker in zip(call.inputs, call.sources)]
        wanted = f"{_scope(call.visit) or base}/{call.title}"
        first = enter(wanted, f"aten::{call.title}", inputs, next(iter(call.outputs), None), _text(call.numbers))
        for at in range(max(1, len(call.outputs))):
            made[id(call), at] = first
    for number, tensor in enumerate(seen.outputs, 1):
        enter(f"output/output.{number}", "IO Node", [source(tensor, seen.maker(tensor), None)], tensor)
    used = {name for node in nodes for name in node["input"]}
    return [n for n in nodes if n["name"] in used or not n["name"].startswith("input/")]


def _input_names(model: Any, example: Any, seen: Record) -> list[str]:
    """The names of `forward`'s parameters, for as many tensors as were given."""
    if isinstance(example, dict):
        return list(example)
    try:
        parameters = list(inspect.signature(model.forward).parameters)
    except (TypeError, ValueError):
        parameters = []
    return [parameters[i] if i < len(parameters) else f"input_{i}" for i in range(len(seen.inputs))]


def graph(model: Any, args: Any, verbose: bool = False, use_strict_trace: bool = True) -> tuple[Any, Any]:
    """(GraphDef, RunMetadata) of one run of the model in evaluation mode."""
    protos = {
        name: require(f"tensorboard.compat.proto.{name}_pb2", "tensorboard", "add_graph")
        for name in ("attr_value", "config", "graph", "node_def", "step_stats", "tensor_shape", "versions")
    }
    try:
        seen = record(model, args)
    except RuntimeError as error:
        print(error)
        print("Error occurs, No graph saved")
        raise
    nodes = nodes_of(model, seen, _input_names(model, args, seen))
    if verbose:
        for node in nodes:
            print(f"{node['name']}: {node['op']}({', '.join(node['input'])}) -> {node['outputsize']}")
    value, shape = protos["attr_value"].AttrValue, protos["tensor_shape"].TensorShapeProto
    entries = []
    for node in nodes:
        attr = {"attr": value(s=node["attributes"].encode())}
        if node["outputsize"] is not None:
            dims = shape(dim=[shape.Dim(size=n) for n in node["outputsize"]])
            attr["_output_shapes"] = value(list=value.ListValue(shape=[dims]))
        entries.append(protos["node_def"].NodeDef(name=node["name"], op=node["op"], input=node["input"], attr=attr))
    stats = protos["step_stats"]
    steps = stats.StepStats(dev_stats=[stats.DeviceStepStats(device="/device:CPU:0")])
    whole = protos["graph"].GraphDef(node=entries, versions=protos["versions"].VersionDef(producer=22))
    return whole, protos["config"].RunMetadata(step_stats=steps)
