"""Programs that somebody wrote by hand: bounded in numbers, sizes and memory."""

from __future__ import annotations

import json
import resource
import weakref
from typing import Any

import pytest
import torch
from safetensors.torch import save

from diffconsole.encoders import program as module
from diffconsole.encoders.program import FORMAT, Program

AUDIO = {"node": "x"}


def content(nodes: list[Any], output: Any, **changes: Any) -> bytes:
    program = {
        "format": FORMAT, "input": "x", "shape": [[1, None, 1], [1, None, 1]], "tensors": {},
        "weights": [], "nodes": nodes, "output": output, **changes,
    }  # fmt: skip
    return save({"none": torch.zeros(1)}, metadata={"program": json.dumps(program)})


def made(nodes: list[Any], output: Any = AUDIO) -> Program:
    return Program(content(nodes, output))


def test_results_without_users_are_dropped(monkeypatch):
    """A hundred results of which none is wanted take no more room than one."""
    nodes = [[f"n{i}", "aten::mul.Tensor", [AUDIO, AUDIO], {}] for i in range(100)]
    alive: list[weakref.ref] = []
    most = 0
    mul = torch.ops.aten.mul.Tensor

    def counted(*args):
        nonlocal most
        result = mul(*args)
        if result.device.type != "meta":
            alive.append(weakref.ref(result))
            most = max(most, sum(ref() is not None for ref in alive))
        return result

    program = made(nodes)
    program.nodes = [(n, counted, args, kwargs) for n, _, args, kwargs in program.nodes]
    assert program(torch.ones(1, 8)).tolist() == [[1.0] * 8]
    assert most <= 2


@pytest.mark.parametrize(
    "nodes",
    [
        [["a", "aten::zeros.default", [[1 << 16, 1 << 16]], {}]],
        [["a", "aten::full.default", [[1 << 40], 1.0], {}]],
        [["a", "aten::arange.default", [1 << 33], {}]],
        [["a", "aten::repeat.default", [AUDIO, [1 << 20, 1 << 20]], {}]],
        [
            ["a", "pow", [2, 28], {}],
            ["b", "aten::zeros.default", [[{"node": "a"}, 2]], {}],
        ],
        [["a0", "aten::mul.Tensor", [AUDIO, AUDIO], {}]]
        + [
            [f"a{i + 1}", "aten::cat.default", [[{"node": f"a{i}"}, {"node": f"a{i}"}], 1], {}]
            for i in range(40)
        ],
    ],
    ids=["zeros", "full", "arange", "repeat", "by a size", "doubled"],
)
def test_results_are_bounded_before_memory_is_taken(monkeypatch, nodes):
    monkeypatch.setattr(module, "MOST_ELEMENTS", 1 << 24)
    program = made(nodes, {"node": nodes[-1][0]})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((ValueError, RuntimeError)) as caught:
        program(torch.zeros(1, 1 << 10))
    assert "numbers at one time" in str(caught.value)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert used * 1024 < 1 << 28


@pytest.mark.parametrize(
    "node",
    [
        ["a", "pow", [10, 10**9], {}],
        ["a", "pow", [2.5, 1e300], {}],
        ["a", "mul", [[1, 2], 1 << 40], {}],
        ["a", "mul", ["text", 1 << 40], {}],
        ["a", "mul", [1 << 62, 1 << 62], {}],
        ["a", "floordiv", [1, 0], {}],
        ["a", "add", [[1], [2]], {}],
    ],
    ids=lambda node: f"{node[1]} {str(node[2])[:20]}",
)
def test_operations_on_sizes_take_numbers_and_give_sizes(node):
    with pytest.raises(ValueError, match="damaged program"):
        made([node])(torch.zeros(1, 8))


@pytest.mark.parametrize(
    "nodes",
    [
        [["a", "aten::zeros.default", [[10**30]], {}]],
        [["a", "aten::zeros.default", [json.loads("[" * 40 + "]" * 40)], {}]],
        [["a", "aten::zeros.default", [[1]], 7]],
        [["a", "aten::zeros.default"]],
        7,
        {"a": 1},
        [[["a"], "aten::zeros.default", [[1]], {}], 5],
    ],
    ids=lambda nodes: str(nodes)[:30],
)
def test_damaged_programs_are_one_line(nodes):
    with pytest.raises(ValueError) as caught:
        made(nodes)
    assert "\n" not in str(caught.value)
