"""The weights and operations of an ONNX file, read without the package ``onnx``.

ONNX is protocol buffers: numbered fields, each a number or a length and its bytes. An encoder
wants the tensors and how the operations join them, a small part of the format; the package brings
35 MB and protobuf for it, and wheels for new versions of Python come late. The fields' numbers are
those of ``onnx.proto3``, which are never changed. Nothing in a file is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..errors import ModelError

__all__ = ["Graph", "Node", "read_onnx"]

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_OUTPUT, NODE_OPERATION, NODE_ATTRIBUTE = 1, 2, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_INT, ATTRIBUTE_STRING = 1, 3, 4
TENSOR_DIMS, TENSOR_TYPE, TENSOR_FLOATS, TENSOR_NAME, TENSOR_RAW = 1, 2, 4, 8, 9
TENSOR_ELSEWHERE = 14
FLOAT = 1
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
LONGEST_VARINT = 10

Field = tuple[int, "int | memoryview"]


class Node(NamedTuple):
    """An operation: its kind, the names of what goes in and comes out, its attributes.

    Of the attributes those that are a whole number or text.
    """

    operation: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, int | str]


class Graph(NamedTuple):
    """The operations in their order, and the float32 tensors by name."""

    nodes: list[Node]
    tensors: dict[str, np.ndarray]


def read_onnx(content: bytes, name: str) -> Graph:
    """Read the content of a file; `name` is for the message.

    Raises
    ------
    ModelError
        Damaged, of another kind, or its weights lie in another file.
    """
    try:
        graphs = [value for number, value in _fields(memoryview(content)) if number == MODEL_GRAPH]
        graph = _bytes(graphs[0])
        nodes: list[Node] = []
        tensors: dict[str, np.ndarray] = {}
        for number, value in _fields(graph):
            if number == GRAPH_NODE:
                nodes.append(_node(_bytes(value)))
            elif number == GRAPH_INITIALIZER:
                _add_tensor(_bytes(value), tensors)
    except (ValueError, IndexError, OverflowError) as error:
        raise ModelError(f"{name}: damaged, or no ONNX file ({error})") from None
    return Graph(nodes, tensors)


def _node(content: memoryview) -> Node:
    node = Node("", [], [], {})
    for number, value in _fields(content):
        if number == NODE_INPUT:
            node.inputs.append(_text(value))
        elif number == NODE_OUTPUT:
            node.outputs.append(_text(value))
        elif number == NODE_OPERATION:
            node = node._replace(operation=_text(value))
        elif number == NODE_ATTRIBUTE:
            held = dict(_fields(_bytes(value)))
            key = _text(held.get(ATTRIBUTE_NAME, memoryview(b"")))
            if ATTRIBUTE_INT in held:
                node.attributes[key] = _number(held[ATTRIBUTE_INT])
            elif ATTRIBUTE_STRING in held:
                node.attributes[key] = _text(held[ATTRIBUTE_STRING])
    return node


def _add_tensor(content: memoryview, tensors: dict[str, np.ndarray]) -> None:
    name, kind, shape = "", FLOAT, []
    raw = bytearray()
    for number, value in _fields(content):
        if number == TENSOR_NAME:
            name = _text(value)
        elif number == TENSOR_TYPE:
            kind = _number(value)
        elif number == TENSOR_DIMS:
            # Packed or one by one: writers do both.
            shape += [value] if isinstance(value, int) else list(_varints(value))
        elif number in (TENSOR_RAW, TENSOR_FLOATS):
            raw += _bytes(value)
        elif number == TENSOR_ELSEWHERE and value != 0:
            raise ValueError("its weights lie in another file")
    if kind == FLOAT:
        # As many numbers as there are bytes for: a shape alone takes no memory.
        tensors[name] = np.frombuffer(raw, "<f4").reshape(shape)


def _fields(content: memoryview) -> Iterator[Field]:
    """The numbers of the fields and what they hold."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        kind, length = key & 7, 0
        if kind == VARINT:
            value, at = _varint(content, at)
            yield key >> 3, value
            continue
        if kind == LENGTH:
            length, at = _varint(content, at)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if length > len(content) - at:
            raise ValueError("truncated")
        yield key >> 3, content[at : at + length]
        at += length


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, low bits first, and where it ends."""
    value = 0
    for i in range(LONGEST_VARINT):
        if at + i >= len(content):
            raise ValueError("truncated")
        value |= (content[at + i] & 0x7F) << (7 * i)
        if content[at + i] < 0x80:
            return value, at + i + 1
    raise ValueError("a number of more than ten bytes")


def _varints(content: memoryview) -> Iterator[int]:
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        yield value


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where bytes should be")
    return value


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("bytes where a number should be")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)).decode("utf-8")
