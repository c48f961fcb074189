"""``python -m diffconsole`` is ``diffconsole``."""

from .cli import main

main(prog_name="diffconsole")
