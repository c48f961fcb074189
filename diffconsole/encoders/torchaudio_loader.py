"""The one way to torchaudio: loaded when needed, also beside a CPU-only PyTorch.

PyPI's torchaudio wheel is linked to CUDA libraries, and importing it without them raises an
OSError. Only its compiled extension needs them; with a stand-in for that extension, transforms,
functional, models and pipelines work. Its file reading and writing needs a further package and is
not used: :mod:`diffconsole.audio.files` does that.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType

__all__ = ["load_torchaudio"]


@functools.cache
def load_torchaudio() -> ModuleType:
    """Import torchaudio, with its compiled extension if that loads, else without.

    Returns
    -------
    module
        ``torchaudio``.
    """
    try:
        return importlib.import_module("torchaudio")
    except OSError:
        for name in [n for n in sys.modules if n.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = _stand_in()
        return importlib.import_module("torchaudio")


def _stand_in() -> ModuleType:
    def fail_if_no_align(function: object) -> object:
        return function

    module = ModuleType("torchaudio._extension")
    vars(module).update(
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _check_cuda_version=lambda: None,
        fail_if_no_align=fail_if_no_align,
        __all__=[],
    )
    return module
