"""The table of results of an archive: CSV, or Parquet where pyarrow is installed.

Rows wait in a temporary file, so a large archive is not held in memory, and the table appears whole
when all are there.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ...errors import SettingsError
from ...files import atomic_path, check_output
from ...files.results import protect_inputs
from ...files.spreadsheet import as_text

__all__ = ["Table", "check_table"]

GROUP = 1000
WHOLE_NUMBERS = {"sample_rate", "channels", "polarity"}


def check_table(
    path: Path, *, replace: bool, output: Path | None = None, inputs: Sequence[Path] = ()
) -> None:
    """Refuse early a table that could not be written.

    Parameters
    ----------
    path : Path
        Ends in ``.csv`` or ``.parquet``.
    replace : bool
        Whether a file that exists may be replaced.
    output : Path, optional
        The folder of the results, which is made later if it is missing.
    inputs : sequence of Path
        What the command reads.

    Raises
    ------
    SettingsError
        Another ending, or Parquet without pyarrow.
    OutputError
        It cannot be written, or would replace an input.
    """
    ending = path.suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise SettingsError(f"--results {path}: give a name that ends in .csv or .parquet")
    if ending == ".parquet":
        _parquet(path)
    protect_inputs([path], inputs, "is read by this command")
    is_made_later = output is not None and os.path.abspath(path.parent) == os.path.abspath(output)
    if path.parent.is_dir() or not is_made_later:
        check_output(path, force=replace)


class Table:
    """Gathers rows, and writes them.

    Parameters
    ----------
    path : Path
        Ends in ``.csv`` or ``.parquet``.
    columns : sequence of str
        All columns, in order.
    texts : sequence of str
        Those of them that hold text; the others hold numbers.
    """

    def __init__(self, path: Path, columns: Sequence[str], texts: Sequence[str]) -> None:
        self.path, self.columns, self.texts = path, tuple(columns), frozenset(texts)
        self._rows: IO[str] = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row; columns that it lacks stay empty."""
        self._rows.write(json.dumps([row.get(column) for column in self.columns]) + "\n")

    def write(self, *, replace: bool) -> None:
        """Write all rows, whole or not at all.

        Raises
        ------
        OutputError
            The file exists and `replace` is not set, or cannot be written.
        """
        write = _write_parquet if self.path.suffix.lower() == ".parquet" else _write_csv
        with atomic_path(self.path, force=replace) as temporary:
            write(temporary, self)

    def rows(self) -> Iterator[list[Any]]:
        """Yield the rows as they were added."""
        self._rows.seek(0)
        for line in self._rows:
            yield json.loads(line)


def _write_csv(path: Path, table: Table) -> None:
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns)
        for row in table.rows():
            writer.writerow(as_text(cell) if isinstance(cell, str) else cell for cell in row)


def _write_parquet(path: Path, table: Table) -> None:
    arrow, parquet = _parquet(table.path)
    kinds = {
        name: arrow.string() if name in table.texts
        else arrow.int64() if name in WHOLE_NUMBERS
        else arrow.float64()
        for name in table.columns
    }  # fmt: skip
    schema = arrow.schema(list(kinds.items()))

    def write(rows: list[list[Any]]) -> None:
        columns = [
            arrow.array([_cell(row[i], kind == arrow.string()) for row in rows], kind)
            for i, kind in enumerate(kinds.values())
        ]
        writer.write_table(arrow.table(columns, schema=schema))

    with parquet.ParquetWriter(path, schema) as writer:
        some: list[list[Any]] = []
        for row in table.rows():
            some.append(row)
            if len(some) == GROUP:
                write(some)
                some = []
        write(some)


def _cell(value: Any, is_text: bool) -> Any:
    if is_text and value is not None:
        # A name that is not valid UTF-8 has its bytes as escapes.
        return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return value


def _parquet(path: Path) -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise SettingsError(
            f"--results {path}: Parquet needs the package pyarrow; install it by "
            "pip install 'diffconsole[parquet]', or give a name that ends in .csv"
        ) from None
