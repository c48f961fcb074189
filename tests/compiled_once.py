"""Several processes of tests on one fresh machine: each loop is compiled by one of them.

All begin at once and need the same loops; numba alone would compile them in every process.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["compile_once"]


def compile_once() -> None:
    """Let numba wait for a process that compiles the same function, and take it from the cache."""
    try:
        import fcntl

        from numba.core.compiler_lock import global_compiler_lock
        from numba.core.dispatcher import Dispatcher
    except ImportError:
        return
    folder = Path(tempfile.gettempdir()) / f"diffconsole-compiled-once-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    plain = Dispatcher.compile

    def compile_alone(self: Any, sig: Any) -> Any:
        if not self._can_compile:
            return plain(self, sig)
        code = self.py_func.__code__
        key = f"{code.co_filename} {code.co_firstlineno} {sig}"
        path = folder / hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        # numba's lock first: threads of this process wait for each other there, not at the file.
        with global_compiler_lock, path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            return plain(self, sig)

    Dispatcher.compile = compile_alone
