"""A device that is not the CPU, on machines that have no other: its tensors report mixed devices.

Inside :func:`pretend_gpu` the device ``"meta"`` computes: its tensors hold their values in memory
of the CPU, but an operation on one of them and on a tensor of the CPU raises
:class:`MixedDevicesError`, as it would on a GPU. Numbers without dimensions and indices are
allowed, as there. With ``waiting=False`` whatever makes the CPU wait for a GPU raises
:class:`WaitingError`: a value that is read, a copy in either direction, a mask as an index.
The project's own operators run by the torch implementation, whose operations are checked too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = "meta"
COPIES = {"_to_copy", "copy_", "copy"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
# On a GPU these are loops of Triton; the torch implementation looks whether it is done.
TRITON = {"compress", "compress_backward"}
RESHAPED_IN_PLACE = {"transpose_", "t_", "squeeze_", "unsqueeze_", "swapaxes_", "as_strided_"}
# Views that say only how to read the values: a mode like this one is below what reads them so.
COMPUTED_VIEWS = {
    "_conj": torch.ops.aten.conj_physical.default,
    "_neg_view": torch.ops.aten.neg.default,
}
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique"}


class MixedDevicesError(RuntimeError):
    """An operation on tensors of two devices."""


class WaitingError(RuntimeError):
    """An operation for which the CPU waits for the device."""


class OnDevice(Tensor):
    """A tensor of the pretended device."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> OnDevice:
        made: OnDevice = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, values.size(), strides=values.stride(), storage_offset=values.storage_offset(),
            dtype=values.dtype, device=DEVICE,
        )  # fmt: skip
        made.values = values
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        made: Tensor = OnDevice(self.values.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            made = torch.nn.Parameter(made, self.requires_grad)
        memo[id(self)] = made
        return made

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({self.values})"

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{func}: outside of pretend_gpu()")


def _is_pretended(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE


class _Constructors(TorchFunctionMode):
    """``torch.tensor`` on the meta device would leave the values out."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and _is_pretended(kwargs.get("device")):
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        if func is Tensor.new_tensor and isinstance(args[0], OnDevice):
            kwargs.setdefault("dtype", args[0].dtype)
            return torch.tensor(*args[1:], **kwargs).to(DEVICE)
        if func is Tensor.tolist and isinstance(args[0], OnDevice):
            return args[0].cpu().tolist()
        return func(*args, **kwargs)


def _tensors(x: Any) -> list[Tensor]:
    """The tensors of an operation's arguments: PyTorch's trees know more, and take longer."""
    if isinstance(x, Tensor):
        return [x]
    if isinstance(x, (list, tuple)):
        return [each for part in x for each in _tensors(part)]
    return []


def _changed(change: Callable[[Tensor], Tensor], x: Any) -> Any:
    """The same arguments, with each tensor changed."""
    if isinstance(x, Tensor):
        return change(x)
    if isinstance(x, (list, tuple)):
        return type(x)([_changed(change, part) for part in x])
    return x


class _Device(TorchDispatchMode):
    def __init__(self, waiting: bool) -> None:
        super().__init__()
        self.waiting = waiting

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = func.__name__.split(".")[0]
        flat = _tensors((args, *kwargs.values()))
        ours = any(isinstance(x, OnDevice) for x in flat)
        if func.namespace == "diffconsole":
            _refuse_mixed(func, flat)
            with self if self.waiting or name not in TRITON else _Device(True):
                return func._op_dk(torch._C.DispatchKey.CompositeExplicitAutograd, *args, **kwargs)
        if torch.is_inference_mode_enabled():
            # Without autograd above, operators of several parts arrive as one.
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        asked = kwargs.get("device")
        to_device = _is_pretended(asked) if asked is not None else ours
        if _is_pretended(asked):
            kwargs["device"] = "cpu"
        if name not in COPIES:
            _refuse_mixed(func, _needed(name, args, flat))
        if not self.waiting:
            self.refuse_waiting(func, name, args, asked, ours)
        func = COMPUTED_VIEWS.get(name, func)
        before = {id(x.values): x for x in flat if isinstance(x, OnDevice)}
        if ours:
            args = _changed(_values, args)
            kwargs = {key: _changed(_values, value) for key, value in kwargs.items()}
        result = func(*args, **kwargs)
        if ours and name in RESHAPED_IN_PLACE:
            # The values have another shape now; so must what stands for them.
            with no_dispatch():
                func(flat[0], *args[1:], **kwargs)
            return flat[0]
        if name in ("copy_", "copy"):
            to_device = isinstance(flat[0], OnDevice)
        if not to_device:
            return result
        return _changed(lambda x: _first(before, x), result)

    def refuse_waiting(
        self, func: Any, name: str, args: tuple[Any, ...], asked: Any, ours: bool
    ) -> None:
        to, here = _is_pretended(asked), asked is not None and not _is_pretended(asked)
        copied = name == "_to_copy" and (to != ours if asked is not None else False)
        copied |= name == "copy_" and isinstance(args[0], OnDevice) != isinstance(args[1], OnDevice)
        indices = args[1] if name in INDEXING else ()
        by_mask = ours and any(x is not None and x.dtype == torch.bool for x in indices)
        by_cpu = ours and any(x is not None and not isinstance(x, OnDevice) for x in indices)
        if copied or by_mask or by_cpu or (here and ours) or (ours and name in WAITING):
            raise WaitingError(f"{func}: the CPU waits for the device")


def _values(x: Tensor) -> Tensor:
    return x.values if isinstance(x, OnDevice) else x


def _first(before: dict[int, Tensor], x: Tensor) -> Tensor:
    found = before.get(id(x))
    return OnDevice(x) if found is None else found


def _needed(name: str, args: tuple[Any, ...], flat: list[Tensor]) -> list[Tensor]:
    """The tensors that have to lie on one device; indices may stay on the CPU."""
    if name in INDEXING and isinstance(args[0], OnDevice):
        return [x for x in flat if not any(x is i for i in args[1])]
    return flat


def _refuse_mixed(func: Any, tensors: list[Tensor]) -> None:
    if any(isinstance(x, OnDevice) for x in tensors):
        for x in tensors:
            if not isinstance(x, OnDevice) and x.dim() > 0:
                raise MixedDevicesError(f"{func}: {tuple(x.shape)} on the CPU, others are not")


@contextmanager
def pretend_gpu(*, waiting: bool = True) -> Iterator[str]:
    """Make the device ``"meta"`` one that computes; see the module.

    Parameters
    ----------
    waiting : bool
        Whether the CPU may wait for it.
    """
    with _Constructors(), _Device(waiting):
        yield DEVICE
