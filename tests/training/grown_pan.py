"""The pan with the new parameter of :mod:`.grown_strip`, which does nothing to the audio."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffconsole.modules.call import Call
from diffconsole.modules.pan import module


def run(audio: Tensor, call: Call) -> Tensor:
    """Pan as before."""
    settings = {name: value for name, value in call.settings.items() if name != "spread"}
    return module.run(audio, call._replace(settings=settings))


def __getattr__(name: str) -> Any:
    return getattr(module, name)
