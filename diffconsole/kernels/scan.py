"""A first-order recursion as a parallel scan, from torch operations alone."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["linear_scan"]


def linear_scan(multiply: Tensor, add: Tensor) -> Tensor:
    """Solve ``s[n] = multiply[n]·s[n−1] + add[n]``, s[−1] = 0, by doubling strides."""
    stride = 1
    while stride < add.shape[-1]:
        later_add = add[..., stride:] + multiply[..., stride:] * add[..., :-stride]
        later_multiply = multiply[..., stride:] * multiply[..., :-stride]
        add = torch.cat((add[..., :stride], later_add), dim=-1)
        multiply = torch.cat((multiply[..., :stride], later_multiply), dim=-1)
        stride *= 2
    return add
