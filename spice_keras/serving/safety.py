"""What a SavedModel's graph may do: refuse one that reads files, reaches a network or runs Python.

A SavedModel is a program. TensorFlow runs parts of it when it is loaded and all of it when it is
asked. The graph is read here as data, without loading it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from spice_keras.errors import UserError

# Stateful in TensorFlow's sense, and without an effect outside of the process.
_HARMLESS = re.compile(
    r"(Assert|Placeholder\w*|NoOp|While|If|StatefulPartitionedCall|PartitionedCall|StatelessWhile"
    r"|StatelessIf|Case|Switch|Merge|VarHandleOp|VarIsInitializedOp|ReadVariableOp"
    r"|Assign(Add|Sub)?VariableOp|DestroyResourceOp|ResourceGather(Nd)?|Random\w+|Multinomial"
    r"|TruncatedNormal|Stateful\w*(Uniform|Normal|Random)\w*|Empty|(Mutable)?HashTable(V2)?"
    r"|LookupTable(Find|Import|Insert|Size|Export)(V2)?|InitializeTable(V2)?|TensorArray\w*V3"
    r"|(Map|ParallelMap|Range|TensorSlice|Tensor|IgnoreErrors|Batch|Filter|Concatenate|Options"
    r"|ZipD|Prefetch)(Dataset)?(V\d)?|DatasetToSingleElement|FusedBatchNormV\d|XlaLaunch)"
)
# Not marked stateful by every version of TensorFlow, or not by their names.
_FORBIDDEN = re.compile(
    r"(.*(File|PyFunc|Python|Summary|Checkpoint|Rpc|Socket|Remote|Collective|Save|Restore|Reader"
    r"|Record|Sql|TextLine|Debug|DataService|Snapshot|CacheDataset|Kafka|Bigtable|Session|Server"
    r"|Dlopen|Library).*|PrintV?2?|Print|Save|Abort|.*Barrier.*|.*Infeed.*|.*Outfeed.*|Send|Recv"
    r"|_HostSend|_HostRecv|.*CustomCall.*|_Nccl\w*|Nccl\w*|Tpu\w*"
    # These run a graph that lies in a text, register at a server, or name a file in an attribute.
    r"|DatasetFromGraph|RegisterDataset.*|(Decode|Encode)Proto.*|.*Remap.*)"
)
_MOST_SHOWN = 5


def refuse_unsafe(model: Path) -> None:
    """Refuse a SavedModel whose graph holds operations with effects beyond its answer.

    Args:
        model: The SavedModel's folder.

    Raises:
        UserError: If the graph reads or writes files, reaches a network, runs Python, or holds an
            operation this TensorFlow does not know; or if saved_model.pb is damaged.
    """
    found = sorted(unsafe_operations(model))
    if not found:
        return
    shown = ", ".join(found[:_MOST_SHOWN]) + (", ..." if len(found) > _MOST_SHOWN else "")
    raise UserError(
        f"The graph of {model} holds operations that can do more than sort images: {shown}. A "
        "SavedModel is a program: use --trust if you know who made it, or export the model again."
    )


def unsafe_operations(model: Path) -> set[str]:
    """Name the operations of a SavedModel that can do more than compute.

    What restores the weights is left out: TensorFlow reads them itself and runs none of it.

    Args:
        model: The SavedModel's folder.

    Returns:
        Names of operations.

    Raises:
        UserError: If saved_model.pb is damaged.
    """
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((model / "saved_model.pb").read_bytes())
    except (OSError, DecodeError, RecursionError) as error:
        raise UserError(f"The SavedModel {model} does not load: its graph is damaged.") from error
    operations: set[str] = set()
    for graph in saved.meta_graphs:
        operations |= set(_reachable(graph))
    return {name for name in operations if _is_unsafe(name)}


def _is_unsafe(name: str) -> bool:
    if _FORBIDDEN.fullmatch(name):
        return True
    known = op_def_registry.get(name)
    return known is None or (known.is_stateful and not _HARMLESS.fullmatch(name))


def _reachable(graph: Any) -> Iterator[str]:
    """Every operation that loading or asking can run."""
    library = {function.signature.name: function for function in graph.graph_def.library.function}
    saver = graph.saver_def
    own = {
        name.split(":")[0]
        for name in (saver.filename_tensor_name, saver.save_tensor_name, saver.restore_op_name)
    }
    waiting = [node for node in graph.graph_def.node if node.name not in own]
    objects = graph.object_graph_def
    seen: set[str] = set()
    for name in objects.concrete_functions:
        waiting += _body(library, name, seen)
    for node in objects.nodes:
        for saveable in node.saveable_objects.values():
            for place in (saveable.save_function, saveable.restore_function):
                functions = objects.nodes[place].function.concrete_functions if place else ()
                for name in functions:
                    waiting += _body(library, name, seen)
    while waiting:
        node = waiting.pop()
        if node.op not in library:
            yield node.op
        for name in (node.op, *_named_functions(node.attr.values())):
            waiting += _body(library, name, seen)


def _body(library: Mapping[str, Any], name: str, seen: set[str]) -> list[Any]:
    """The nodes of a function that was not seen before."""
    if name in seen or name not in library:
        return []
    seen.add(name)
    return list(library[name].node_def)


def _named_functions(attributes: Iterable[Any]) -> Iterator[str]:
    for value in attributes:
        if value.HasField("func"):
            yield value.func.name
            yield from _named_functions(value.func.attr.values())
        elif value.HasField("list"):
            for function in value.list.func:
                yield function.name
                yield from _named_functions(function.attr.values())
