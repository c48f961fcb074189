"""A command on several takes that was killed between them: how to continue is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..commands import contents, done, refused, write_model, write_take
from ..faults import short_work


@pytest.fixture
def takes(tmp_path: Path) -> list[Path]:
    return [write_take(tmp_path / f"{name}.wav", seconds=0.5) for name in "abc"]


@pytest.mark.parametrize("command", ["process", "predict"])
def test_some_takes_are_done(tmp_path, takes, command):
    model, out = write_model(tmp_path / "model"), tmp_path / "out"
    out.mkdir()
    given = ("-o", out, "--model", model)
    with short_work():
        one = done(command, takes[0], "-o", out / "a.preset.json", "--model", model) if (
            command == "predict"
        ) else done(command, takes[0], *given)  # fmt: skip
        assert one.exit_code == 0
        before = contents(out)
        said = refused(command, *takes, *given)
        assert said == (
            f"{out / 'a.preset.json'}: exists already, there are results of 1 of 3 takes; give "
            "only the others to continue, or add --force to replace them"
        )
        assert contents(out) == before
        done(command, *takes[1:], *given)
        assert before.items() <= contents(out).items()
        assert "of 3 of 3 takes; add --force" in refused(command, *takes, *given)
        done(command, *takes, *given, "--force")
