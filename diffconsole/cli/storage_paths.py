"""Arguments that are URLs: what the commands on many files do where a storage holds the files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import DiffconsoleError

if TYPE_CHECKING:
    from .archive import Archive

__all__ = ["in_storage"]

LOCAL = ("model", "results", "reference", "listed", "pairs")
"""Parameters whose files are read or written on this machine."""


@contextmanager
def in_storage(
    archive: Archive, arguments: Mapping[str, Any]
) -> Iterator[tuple[Archive, dict[str, Any]]]:
    """Give the arguments of a command with folders of this machine in the place of URLs.

    Parameters
    ----------
    archive : Archive
        The options of commands on many files.
    arguments : dict
        The other parameters.

    Raises
    ------
    DiffconsoleError
        What the block raises, with the URLs instead of what stands for them.
    """
    arguments = dict(arguments)
    urls = {name: some for name, value in arguments.items() if (some := _urls(value))}
    if _urls(archive.results):
        raise click.UsageError("--results: give a file on this machine")
    if not urls:
        yield archive, arguments
        return
    first = next(iter(urls.values()))[0]
    if archive.ray is None:
        raise click.UsageError(f"{first}: a storage needs --ray")
    wrong = next((name for name in urls if name in LOCAL), None)
    if wrong is not None:
        raise click.UsageError(f"{urls[wrong][0]}: give a path of this machine for this option")
    if "output" not in urls and arguments.get("output") is None:
        raise click.UsageError(f"{first}: give a folder for the results by -o")
    from ..jobs.many.storage import Places, url_in

    with Places() as places:

        def local(path: Path, name: str) -> Path:
            url = url_in(path)
            if url is None:
                return path
            return places.lay_out(url, recursive=archive.recursive, is_output=name == "output")

        for name in urls:
            value = arguments[name]
            is_one = isinstance(value, Path)
            found = [local(path, name) for path in ([value] if is_one else value)]
            arguments[name] = found[0] if is_one else tuple(found)
        try:
            yield replace(archive, places=places), arguments
        except DiffconsoleError as error:
            error.args = (places.shown(str(error)), *error.args[1:])
            raise


def _urls(value: Any) -> list[str]:
    """The URLs that an argument holds; nothing of the storage's library is loaded for paths."""
    if isinstance(value, Path):
        value = (value,)
    if not isinstance(value, tuple) or not all(isinstance(each, Path) for each in value):
        return []
    if not any(re.match(r"[a-z][a-z0-9+.\-]+:", each.as_posix()) for each in value):
        return []
    from ..jobs.many.storage import url_in

    return [url for each in value if (url := url_in(each)) is not None]
