"""The table of results: CSV, Parquet, and what is refused before any work."""

from __future__ import annotations

import csv

import pytest

from diffconsole.errors import OutputError, SettingsError
from diffconsole.jobs.many.rows import columns, texts
from diffconsole.jobs.many.table import GROUP, Table, check_table

from ...programs import needs_module

COLUMNS, TEXTS = ("name", "seconds", "channels"), ("name",)


def test_csv(tmp_path):
    path = tmp_path / "t.csv"
    with Table(path, COLUMNS, TEXTS) as table:
        table.add({"name": "=1+1", "seconds": 1.5, "channels": 2, "other": 3})
        table.add({"name": "b\udcff,\n", "seconds": None})
        table.write(replace=False)
        with pytest.raises(OutputError, match="exists already"):
            table.write(replace=False)
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [list(COLUMNS), ["'=1+1", "1.5", "2"], ["b\\udcff,\n", "", ""]]


def test_parquet(tmp_path):
    parquet = needs_module("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    with Table(path, COLUMNS, TEXTS) as table:
        for i in range(GROUP + 3):
            table.add({"name": f"n{i}", "seconds": i / 2, "channels": None if i else 1})
        table.write(replace=False)
    found = parquet.read_table(path).to_pydict()
    assert found["name"] == [f"n{i}" for i in range(GROUP + 3)]
    assert found["seconds"][-1] == (GROUP + 2) / 2
    assert found["channels"][:2] == [1, None]


def test_refusals(tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match=r"ends in \.csv or \.parquet"):
        check_table(tmp_path / "t.xlsx", replace=False)
    (tmp_path / "t.csv").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        check_table(tmp_path / "t.csv", replace=False)
    check_table(tmp_path / "t.csv", replace=True)
    with pytest.raises(OutputError, match="does not exist; create it first"):
        check_table(tmp_path / "new" / "t.csv", replace=False)
    check_table(tmp_path / "new" / "t.csv", replace=False, output=tmp_path / "new")
    with pytest.raises(OutputError, match="is read by this command"):
        check_table(tmp_path / "t.csv", replace=True, inputs=[tmp_path / "t.csv"])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(SettingsError, match=r"pip install 'diffconsole\[parquet\]'"):
        check_table(tmp_path / "t.parquet", replace=False)


@pytest.mark.parametrize("command", ["process", "predict", "apply", "export", "match", "evaluate"])
def test_every_command_has_columns(command):
    found = columns(command)
    assert len(set(found)) == len(found)
    assert {"name", "state", "failure"} <= set(found) & set(texts(command))
    assert ("eq.peak_1.gain_db" in found) == (command not in ("export", "evaluate"))
    assert ("eq.peak_1.gain_db.low" in found) == (command not in ("export", "evaluate"))
