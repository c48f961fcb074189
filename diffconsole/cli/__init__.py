"""The command line: ``diffconsole``."""

from .main import main

__all__ = ["main"]
