"""ONNX files: read without trusting them, written without a second copy in memory.

A file is mapped and its protobuf fields are walked: large weights become views of the mapping. Sizes that a
file claims are compared with what it holds before anything is allocated. Wire format:
https://protobuf.dev/programming-guides/encoding; field numbers: onnx.proto3.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mien.errors import ModelError
from mien.models.graph import Network, Port, port_of
from mien.types import Array

LARGEST = 4 << 30
"""Bytes of the largest file, tensor or picture that any network of this field comes near."""
WRITABLE = (2 << 30) - (1 << 20)
"""Bytes of the largest file that protobuf's readers take."""
AGAIN = "Fetch the file again from its publisher."

_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
_GRAPH, _INITIALIZER, _RAW = 7, 5, 9
_VIEWED = 4096
"""Bytes from which raw data is viewed and not copied."""
_OPAQUE = 256 << 20
"""Bytes of everything that is not raw data: far beyond any network's nodes and names."""
_WIDTH = {0: 0, 1: 8, 5: 4}


class _Broken(Exception):  # noqa: N818
    """The bytes are no protobuf message; the text says how."""


class _Span(NamedTuple):
    """A field: its number, its wire type, and where it, and what is in it, lies."""

    number: int
    wire: int
    start: int
    body: int
    end: int


def read(path: Path) -> Network:
    """A file's graph, checked.

    Args:
        path: An ONNX file. It stays mapped for as long as the network's constants live.

    Raises:
        ModelError: It is absent, not ONNX, cut short; claims sizes that it does not hold or that are absurd;
            has weights outside its folder; or uses operators of an unknown domain.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST:
                raise ModelError(path, f"{size} bytes are too many for a network", AGAIN)
            if size == 0:
                raise ModelError(path, "the file is empty", AGAIN)
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ModelError(path, f"cannot be read: {error.strerror or error}", "Check the path.") from error
    try:
        return _network(path, data)
    except _Broken as error:
        raise ModelError(path, str(error), AGAIN) from error
    except (DecodeError, UnicodeDecodeError) as error:
        raise ModelError(path, "it is not an ONNX file", AGAIN) from error


def write(network: Network, path: Path) -> int:
    """Write a graph as one self-contained file, under another name first, and give its size in bytes.

    Raises:
        ValueError: It is larger than such a file can be.
        OSError: It cannot be written.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    heads = [(_head(name, array), array) for name, array in network.constants.items()]
    shell = helper.make_graph(
        network.nodes, "mended", [p.proto() for p in network.inputs], [p.proto() for p in network.outputs]
    ).SerializeToString()
    tensors = [len(head) + len(_key(_RAW, array.nbytes)) + array.nbytes for head, array in heads]
    total = len(shell) + sum(len(_key(_INITIALIZER, n)) + n for n in tensors)
    if total > WRITABLE:
        raise ValueError(f"{path.name}: {total} bytes are too many for one file")
    model = helper.make_model(
        GraphProto(), opset_imports=[helper.make_opsetid("", network.opset)], ir_version=max(network.ir, 4)
    )
    model.ClearField("graph")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("xb") as file:
            file.write(model.SerializeToString() + _key(_GRAPH, total) + shell)
            for (head, array), length in zip(heads, tensors, strict=True):
                file.write(_key(_INITIALIZER, length) + head + _key(_RAW, array.nbytes))
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            size = file.tell()
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return size


def _head(name: str, array: Array) -> bytes:
    """A tensor without its data."""
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return bytes(TensorProto(dims=array.shape, data_type=kind, name=name).SerializeToString())


def _key(number: int, length: int) -> bytes:
    """What stands before a field of `length` bytes."""
    return _encoded(number << 3 | 2) + _encoded(length)


def _encoded(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise _Broken("the file is cut short")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise _Broken("it is not an ONNX file")


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[_Span]:
    """The fields of the message in [start, end)."""
    at = start
    while at < end:
        key, body = _varint(data, at, end)
        number, wire = key >> 3, key & 7
        if wire == 2:
            length, body = _varint(data, body, end)
            stop = body + length
        elif wire == 0:
            _, stop = _varint(data, body, end)
        elif wire in _WIDTH:
            stop = body + _WIDTH[wire]
        else:
            raise _Broken("it is not an ONNX file")
        if number == 0:
            raise _Broken("it is not an ONNX file")
        if stop > end:
            raise _Broken("the file is cut short, or it is not an ONNX file")
        yield _Span(number, wire, at, body, stop)
        at = stop


def _network(path: Path, data: mmap.mmap) -> Network:
    shell, graphs = _parts(data, 0, len(data), _GRAPH)
    model = ModelProto.FromString(shell)
    if len(graphs) != 1 or not model.ir_version or not model.opset_import:
        raise _Broken("it is not an ONNX file")
    rest, tensors = _parts(data, graphs[0].body, graphs[0].end, _INITIALIZER)
    graph = GraphProto.FromString(rest)
    constants: dict[str, Array] = {}
    odd = ""
    last = ""
    for span in tensors:
        name, array = _tensor(path, data, span)
        last = name
        if array is None:
            odd = odd or f"the type of constant {name}"
        else:
            constants[name] = array
    opsets = {imported.domain: int(imported.version) for imported in model.opset_import}
    for sparse in graph.sparse_initializer:
        _check_inline(sparse.values)
        _check_inline(sparse.indices)
    for function in model.functions:
        for node in function.node:
            for tensor in _inline(node):
                _check_inline(tensor)
    network = Network(
        nodes=[],
        constants=constants,
        inputs=[port_of(info) for info in graph.input if info.name not in constants],
        outputs=[port_of(info) for info in graph.output],
        opset=opsets.get("", opsets.get("ai.onnx", 0)),
        ir=int(model.ir_version),
        odd=odd or _odd(model, graph),
        last=last,
        mapped=(data,),
    )
    for port in (*network.inputs, *network.outputs):
        _check_port(port)
    local = {function.domain for function in model.functions}
    _take_nodes(path, graph, network, local)
    return network


def _parts(data: mmap.mmap, start: int, end: int, large: int) -> tuple[bytes, list[_Span]]:
    """A message without its fields of number `large`, and where these are."""
    kept: list[bytes] = []
    spans: list[_Span] = []
    total = 0
    for span in _fields(data, start, end):
        if span.number == large and span.wire == 2:
            spans.append(span)
            continue
        total += span.end - span.start
        if total > _OPAQUE:
            raise _Broken("it holds too much that is neither node nor weight")
        kept.append(data[span.start : span.end])
    return b"".join(kept), spans


def _odd(model: ModelProto, graph: GraphProto) -> str:
    """What the editing layer cannot express."""
    if model.functions:
        return "functions of its own"
    if graph.sparse_initializer:
        return "sparse weights"
    if any(not info.type.HasField("tensor_type") for info in (*graph.input, *graph.output)):
        return "sequences or maps at its edges"
    return ""


def _check_port(port: Port) -> None:
    """Refuse inputs and outputs of absurd size."""
    lengths = [n for n in port.shape or () if isinstance(n, int)]
    if any(n < 0 for n in lengths) or prod(max(n, 1) for n in lengths) * 4 > LARGEST:
        raise _Broken(f"{port.name} has the absurd shape {port.shape}")


def _take_nodes(path: Path, graph: GraphProto, network: Network, local: set[str]) -> None:
    """Move nodes into the network, constants among them into its constants."""
    for node in graph.node:
        if node.domain not in _DOMAINS and node.domain not in local:
            if node.domain == "com.microsoft":  # ONNX Runtime's own, always there
                network.odd = network.odd or "operators of ONNX Runtime"
            else:
                raise ModelError(
                    path,
                    f"it uses the operator {node.op_type} of the unknown domain {node.domain}",
                    "Export the network with ONNX's own operators.",
                )
        for tensor in _inline(node):
            _check_inline(tensor)
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            network.odd = network.odd or f"control flow ({node.op_type})"
        if node.op_type == "Constant" and not network.odd and not _moved(node, network):
            network.odd = f"the kind of constant {node.output[0]}"
        elif node.op_type != "Constant" or network.odd:
            network.nodes.append(node)


def _inline(node: NodeProto) -> Iterator[TensorProto]:
    """The tensors in a node's attributes, and in the graphs of control flow among these."""
    for a in node.attribute:
        yield from (a.t, *a.tensors) if a.HasField("t") else a.tensors
        for graph in (a.g, *a.graphs) if a.HasField("g") else a.graphs:
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            for inner in graph.node:
                yield from _inline(inner)


def _moved(node: NodeProto, network: Network) -> bool:
    """Whether a Constant node could become a constant."""
    attribute = node.attribute[0] if node.attribute else onnx.AttributeProto()
    value: Array
    if attribute.name == "value" and attribute.t.data_type in _TYPES:
        value = _small(attribute.t)
    elif attribute.name in ("value_float", "value_floats", "value_int", "value_ints"):
        kind = np.float32 if "float" in attribute.name else np.int64
        value = np.array(helper.get_attribute_value(attribute), kind)
    else:
        return False
    network.constants[node.output[0]] = value
    return True


_TYPES: dict[int, np.dtype[Any]] = {
    int(kind): helper.tensor_dtype_to_np_dtype(kind)
    for kind in (
        TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BOOL,
        TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
        TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
    )
}  # fmt: skip


def _bytes_of(name: str, dims: list[int], kind: int) -> int:
    """Bytes of a tensor, by what it claims."""
    if any(n < 0 for n in dims):
        raise _Broken(f"tensor {name} has a negative length")
    width = _TYPES[kind].itemsize if kind in _TYPES else 1
    size = prod(dims) * width
    if size > LARGEST:
        raise _Broken(f"tensor {name} claims the absurd size of {size} bytes")
    return size


def _check_inline(tensor: TensorProto) -> None:
    """Check a tensor that was read whole."""
    size = _bytes_of(tensor.name, list(tensor.dims), tensor.data_type)
    if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
        raise _Broken("a constant inside a node lies in another file")
    if tensor.data_type in _TYPES and tensor.HasField("raw_data") and len(tensor.raw_data) != size:
        raise _Broken(f"tensor {tensor.name} claims {size} bytes and has {len(tensor.raw_data)}")


def _small(tensor: TensorProto) -> Array:
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise _Broken(f"tensor {tensor.name} is not as large as it claims") from error


def _tensor(path: Path, data: mmap.mmap, span: _Span) -> tuple[str, Array | None]:
    """Name and array of an initializer; None for a type that NumPy lacks."""
    rest: list[bytes] = []
    raw: _Span | None = None
    for part in _fields(data, span.body, span.end):
        if part.number == _RAW and part.wire == 2 and part.end - part.body >= _VIEWED:
            raw = part
        else:
            rest.append(data[part.start : part.end])
    tensor = TensorProto.FromString(b"".join(rest))
    size = _bytes_of(tensor.name, list(tensor.dims), tensor.data_type)
    if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
        return tensor.name, _external(path, tensor, size)
    if raw is None:
        _check_inline(tensor)
        return tensor.name, _small(tensor) if tensor.data_type in _TYPES else None
    if tensor.data_type not in _TYPES:
        return tensor.name, None
    if raw.end - raw.body != size:
        raise _Broken(f"tensor {tensor.name} claims {size} bytes and has {raw.end - raw.body}")
    return tensor.name, _view(data, tensor, raw.body)


def _view(data: mmap.mmap, tensor: TensorProto, offset: int) -> Array:
    kind = _TYPES[tensor.data_type].newbyteorder("<")
    dims = tuple(tensor.dims)
    return np.frombuffer(data, kind, prod(dims), offset).reshape(dims)


def _external(path: Path, tensor: TensorProto, size: int) -> Array | None:
    """A tensor whose data is in a file beside this one."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    names = {PurePosixPath(location).name, PureWindowsPath(location).name}
    if names != {location} or location in ("", ".", ".."):
        raise _Broken(f"its weights lie outside its folder, in {location!r}")
    beside = path.parent / location
    if beside.is_symlink() or not beside.is_file():
        raise _Broken(f"its weights in {location!r} are not beside it")
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
    except ValueError as error:
        raise _Broken(f"tensor {tensor.name} lies at no number") from error
    if tensor.data_type not in _TYPES:
        return None
    if offset < 0 or length != size or offset + length > beside.stat().st_size:
        raise _Broken(f"tensor {tensor.name} claims {size} bytes that {location!r} does not hold")
    if size == 0:
        return np.zeros(tuple(tensor.dims), _TYPES[tensor.data_type])
    with beside.open("rb") as file:
        return _view(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), tensor, offset)
