"""Compile every GPU kernel as it is launched, for a GPU that need not be there.

Triton's interpreter takes what its compiler refuses, so the tests run both. Run with
``TRITON_INTERPRET=0 python -m tests.modules.gpu_compiler`` for a list of what was compiled.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from diffconsole.kernels import operators as kernels
from diffconsole.modules.compressor.compressor_operator import compress
from diffconsole.modules.equalizer.sections_operator import sections as run_sections

from .helpers import noise, values

TARGET = GPUTarget("cuda", 80, 32)
TYPES = {torch.float32: "*fp32", torch.float64: "*fp64", torch.int32: "*i32"}

compiled: dict[str, int] = {}


def compile_only(kernel: Any, *arguments: Any, grid: Any, warmup: bool, **named: Any) -> None:
    """Stands in for a launch."""
    values_of = dict(zip(kernel.arg_names, arguments, strict=False)) | named
    signature, constants = {}, {}
    for parameter in kernel.params:
        value = values_of[parameter.name]
        # A 1 is a constant to Triton: there is code for one chunk, and code for many.
        if parameter.is_constexpr or (isinstance(value, int) and value == 1):
            signature[parameter.name], constants[parameter.name] = "constexpr", value
        else:
            is_tensor = isinstance(value, torch.Tensor)
            signature[parameter.name] = TYPES[value.dtype] if is_tensor else "i32"
    options = {"num_warps": named.get("num_warps", 4)}
    built = triton.compile(ASTSource(kernel, signature, constants), target=TARGET, options=options)
    name = kernel.__name__
    compiled[name] = max(compiled.get(name, 0), len(built.asm["cubin"]))


def main() -> None:
    """Run both operators, forward and backward, for many chunks and for one.

    The console has eight sections, whose code takes longest to compile.
    """
    triton.runtime.jit.JITFunction.run = compile_only
    for channels, kind, samples, count in (
        (1, torch.float32, 3000, 8),
        (2, torch.float64, 3000, 3),
        (2, torch.float32, 100, 2),
        (1, torch.float32, 1, 1),
    ):
        x = noise(1, channels, samples).to(kind).requires_grad_()
        section = [1.0, 0.5, 0.1, -0.4, 0.2]
        coefficients = torch.tensor([[section] * count]).double().requires_grad_()
        settings = [values(v).requires_grad_() for v in (0.98, 0.9995, -20.0, -0.75, 6.0, 2.0)]
        with kernels.use("gpu"):
            y = compress(run_sections(x, coefficients, 100), *settings)
        y.sum().backward()
    print(*sorted(compiled))


if __name__ == "__main__":
    main()
