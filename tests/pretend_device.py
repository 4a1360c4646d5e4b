"""A device that is not there, with numbers: its tensors hold tensors of the CPU, and refuse what a GPU refuses.

    with pretend_device():
        torch.zeros(3, device=DEVICE) + torch.zeros(3)  # raises, as on a GPU

torch lets Python answer every operation in two places, and both are used here. A `Pretended` tensor is an empty shell
that says it is on DEVICE; torch calls its `__torch_dispatch__` with the shell. A mode sees all other operations, such
as `torch.zeros(3, device=DEVICE)`, in which no shell takes part. Both call `answer`, which

* raises torch's error where shells meet tensors of the CPU; like torch it lets tensors without dimensions pass, as well
  as indices and copies from one device to the other,
* carries the operation out on the tensors within, with the CPU in the place of DEVICE,
* puts the results into shells. What was changed in place stays in its own shell, and a view shares the memory of the
  tensor within, so that a change of one is a change of both.

Autograd needs nothing: it works above these calls, and sees the shells. DEVICE is `lazy`, the only type that a torch
without drivers creates tensors on and runs backward passes for, in the thread that asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = "lazy:0"
aten = torch.ops.aten
COPIES = {aten._to_copy, aten.copy_, aten.copy}  # between devices
INDEXED = {aten.index, aten.index_put_, aten.index_put, aten._index_put_impl_}  # by indices of either device


class Pretended(torch.Tensor):
    """A shell around a tensor of the CPU, `within`."""

    within: torch.Tensor

    @staticmethod
    def __new__(cls, within: torch.Tensor) -> Pretended:
        shell = torch.Tensor._make_wrapper_subclass(
            cls, within.shape, within.stride(), within.storage_offset(), dtype=within.dtype, device=DEVICE
        )
        shell.within = within
        return shell

    __torch_function__ = torch._C._disabled_torch_function_impl  # nothing happens above `__torch_dispatch__`

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return answer(function, args, kwargs or {})

    def tolist(self) -> Any:  # torch has none for shells
        return self.cpu().tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() first.")

    __array__ = numpy

    def untyped_storage(self) -> Any:  # by which safetensors knows which tensors share memory
        return self.within.untyped_storage()

    def __repr__(self, **_: Any) -> str:
        return f"Pretended({self.within})"

    def __reduce_ex__(self, protocol: Any) -> Any:  # `torch.load` says where it is wanted
        return self.within.detach().__reduce_ex__(protocol)


class Pretence(TorchDispatchMode):
    """Answers operations in which no shell takes part."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return answer(function, args, kwargs or {})


def answer(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What an operation gives on DEVICE, or on the CPU where nothing of it is on DEVICE."""
    operation, shells, here = function.overloadpacket, {}, []

    def opened(value: Any, place: int = 0) -> Any:
        if isinstance(value, Pretended):
            shells[id(value.within)] = value
            return value.within
        if isinstance(value, torch.Tensor):
            if value.ndim and not (operation in INDEXED and place == 1):
                here.append(value)
        elif isinstance(value, list | tuple):
            return type(value)([opened(entry, place) for entry in value])
        return value

    within = [opened(value, place) for place, value in enumerate(args)]
    options = {name: opened(value) for name, value in kwargs.items()}
    if shells and here and operation not in COPIES:
        raise RuntimeError("Expected all tensors to be on the same device, but found at least two devices, "
                           f"{DEVICE} and cpu! ({function})")  # fmt: skip
    there = isinstance(args[0], Pretended) if operation in COPIES else bool(shells)
    if (wanted := options.get("device")) is not None:
        there = torch.device(wanted).type == torch.device(DEVICE).type
        options["device"] = torch.device("cpu") if there else wanted
    found = function(*within, **options)

    def shelled(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(map(shelled, value))
        if isinstance(value, torch.Tensor):
            return shells[id(value)] if id(value) in shells else Pretended(value) if there else value
        return value

    assert all(shell.within.shape == shell.shape for shell in shells.values()), f"{function} changed a shell's shape"
    return shelled(found)


@contextmanager
def pretend_device() -> Iterator[None]:
    """DEVICE is there."""
    load, rebuild = torch.load, torch._utils._rebuild_tensor

    def loaded(*args: Any, map_location: Any = None, **kwargs: Any) -> Any:
        if map_location is None or torch.device(map_location).type == "cpu":
            return load(*args, map_location=map_location, **kwargs)
        with patch("torch._utils._rebuild_tensor", lambda *parts: rebuild(*parts).to(DEVICE)):
            return load(*args, map_location="cpu", **kwargs)

    with ExitStack() as stack:
        stack.enter_context(patch("torch.load", loaded))
        stack.enter_context(patch("torch.accelerator.synchronize", lambda _=None: None))
        stack.enter_context(Pretence())
        lifted = torch._C._only_lift_cpu_tensors()
        stack.callback(torch._C._set_only_lift_cpu_tensors, lifted)
        torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(list, device=DEVICE)` copies where the mode sees it
        yield
