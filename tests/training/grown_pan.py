"""The pan with the new parameter of :mod:`.grown_strip`, which does nothing to the audio."""

from __future__ import annotations

from torch import Tensor

from diffconsole.modules.call import Call
from diffconsole.modules.pan import module

is_idle = module.is_idle


def run(audio: Tensor, call: Call) -> Tensor:
    """Pan as before."""
    settings = {name: value for name, value in call.settings.items() if name != "spread"}
    return module.run(audio, call._replace(settings=settings))
