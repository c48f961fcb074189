"""Starts the processes of a distributed run as torchrun does, without its agent; for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["start_processes"]


def start_processes(
    size: int, arguments: Sequence[str], **options: Any
) -> list[subprocess.Popen[Any]]:
    """Start ``python ARGUMENTS`` once for each rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    given = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
             "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}  # fmt: skip
    return [
        subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **given, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=Path(__file__).parents[2],
            **options,
        )
        for rank in range(size)
    ]
