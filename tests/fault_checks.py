"""What must hold when a command is killed, stopped or out of room at any of its steps.

Every check takes a fault and what makes the states (:func:`.faults.states`, or the benchmark's,
which kills real processes), goes through all of them, and returns how many there were.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from .cli.test_match import write_pair
from .commands import contents, one_error, samples_of, write_model, write_take
from .faults import Outcome, States, run

__all__ = ["CHECKS", "FOUR"]

FOUR = {"take.preset.json", "take.processed.wav", "take.png", "take.html"}
STUDIO = {"model.json", "model.safetensors", "README.md", "finetune.png", "finetune.jsonl"}
FULL = "the disk is full; free some space"


def _visible(folder: Path) -> set[str]:
    return {name for name in contents(folder) if not Path(name).name.startswith(".")}


def _is_new(state: dict[str, bytes | None], seen: list[dict[str, bytes | None]]) -> bool:
    """Whether no fault left the same before; then it is noted, for what follows is the same."""
    if state in seen:
        return False
    seen.append(state)
    return True


def _assert_whole(folder: Path) -> None:
    """Every file that has its name is complete."""
    for name in _visible(folder):
        path = folder / name
        if name.endswith(".json"):
            json.loads(path.read_text(encoding="utf-8"))
        elif name.endswith(".jsonl"):
            assert all(json.loads(line) for line in path.read_text().splitlines())
        elif name.endswith(".wav"):
            assert samples_of(path).shape[1] > 10_000
        elif name.endswith(".html"):
            assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
        elif name.endswith(".png"):
            assert path.read_bytes().endswith(b"IEND")
        elif name.endswith(".safetensors"):
            import safetensors

            with safetensors.safe_open(path, "pt") as file:
                assert list(file.keys())
        elif name.endswith(".csv"):
            assert path.read_text().endswith("\n")


def _assert_said(fault: str, outcome: Outcome) -> None:
    """A command that could end by itself did so with its one line of error, or was done."""
    assert "Traceback" not in outcome.stderr
    if fault == "kill":
        assert outcome.code is None
    elif fault == "full":
        assert outcome.code == 1
        # Of several pairs each has its line.
        assert FULL in outcome.stderr
        one_error(outcome.stderr.splitlines(keepends=True)[-1])
    else:
        assert outcome.code in (0, 1)


def _assert_refused_or_done(outcome: Outcome, was_complete: bool) -> None:
    if outcome.code != 0:
        assert was_complete
        assert "--force" in one_error(outcome.stderr)


def _process(root: Path, *more: str) -> tuple[Path, list[object]]:
    take = write_take(root / "take.wav", seconds=0.5)
    model = write_model(root / "model")
    out = root / "work" / "out"
    out.parent.mkdir()
    return out, ["process", take, "-o", out, "--model", model, *more]


def check_process(root: Path, fault: str, states: States) -> int:
    """The same command, without --force, is not in the way of itself."""
    out, command = _process(root)
    count, partial, seen = 0, 0, list[dict[str, bytes | None]]()
    for outcome in states(fault, out.parent, command):
        count += 1
        _assert_said(fault, outcome)
        if fault != "kill" and not out.exists():
            # Not even the new folder is left.
            assert outcome.code == 1
            continue
        visible = _visible(out) if out.exists() else set()
        # A stop may come when all is done.
        assert fault == "kill" or set(contents(out)) == FOUR
        assert fault != "full"
        partial += 0 < len(visible) < len(FOUR)
        if not _is_new(contents(out.parent), seen):
            continue
        _assert_whole(out)
        again = run(*command)
        _assert_refused_or_done(again, visible == FOUR)
        assert set(contents(out)) == FOUR, f"after a fault at step {count}"
        _assert_whole(out)
    assert set(contents(out)) == FOUR
    assert partial or count < 12 or fault != "kill"
    return count


def check_process_over_older(root: Path, fault: str, states: States) -> int:
    """What was there before is there again, or all of the new."""
    out, command = _process(root, "--force")
    assert run(*command, "--amount", "0.3").code == 0
    before = contents(out)
    count, undone = 0, 0
    for outcome in states(fault, out.parent, command):
        count += 1
        _assert_said(fault, outcome)
        _assert_whole(out)
        if fault == "kill":
            # A command that is refused looks at the folder, too.
            refused = run(*command[:-1])
            assert "exists already" in one_error(refused.stderr)
        after = contents(out)
        assert set(after) == FOUR, f"after a fault at step {count}"
        if after == before:
            undone += 1
        else:
            assert fault != "full"
            # The picture is a stand-in, always the same.
            assert not any(after[name] == before[name] for name in FOUR - {"take.png"})
    assert undone
    return count


def check_match_folders(root: Path, fault: str, states: States) -> int:
    """A repeated command goes on; what was found before is not searched again."""
    for seed in range(2):
        write_pair(root, seed, seconds=1.0)
    work = root / "work"
    work.mkdir()
    out, pictures = work / "out", work / "pictures"
    given = ("--raw", root / "raw", "--mixed", root / "mixed", "-o", out)
    command = ("match", *given, "--quick", "--report", pictures)
    expected = {"match.csv", "song 0.preset.json", "song 1.preset.json"}
    inputs = {**contents(root / "raw"), **contents(root / "mixed")}
    count, seen = 0, list[dict[str, bytes | None]]()
    for outcome in states(fault, work, command):
        count += 1
        _assert_said(fault, outcome)
        for folder in (out, pictures):
            _assert_whole(folder)
        if fault != "kill":
            assert not any(Path(name).name.startswith(".") for name in contents(work))
        if not _is_new(contents(work), seen):
            continue
        kept = {path: path.read_bytes() for path in out.glob("song*.json")}
        again = run(*command)
        assert again.code == 0, again.stderr
        assert set(contents(out)) == expected, f"after a fault at step {count}"
        assert set(contents(pictures)) == {"song 0.match.png", "song 1.match.png"}
        assert all(path.read_bytes() == data for path, data in kept.items())
    assert {**contents(root / "raw"), **contents(root / "mixed")} == inputs
    return count


def check_match_pair(root: Path, fault: str, states: States) -> int:
    """A strip and its picture together; a strip that was found is kept without the picture."""
    write_pair(root, seconds=1.0)
    out = root / "work"
    out.mkdir()
    pair = (root / "raw" / "song 0.wav", root / "mixed" / "song 0 mix.wav")
    command = ("match", *pair, "-o", out / "p.json", "--report", out / "p.png", "--quick")
    both, count, seen = {"p.json", "p.png"}, 0, list[dict[str, bytes | None]]()
    for outcome in states(fault, out, command):
        count += 1
        _assert_said(fault, outcome)
        _assert_whole(out)
        visible = _visible(out)
        if fault != "kill":
            assert set(contents(out)) in ({"p.json"}, both, set())
        if not _is_new(contents(out), seen):
            continue
        again = run(*command)
        _assert_refused_or_done(again, "p.json" in visible)
        assert set(contents(out)) == (both if again.code == 0 else visible)
    assert set(contents(out)) == both
    return count


def _finetune(root: Path, *more: str) -> tuple[Path, tuple[object, ...]]:
    for seed in range(2):
        write_pair(root, seed, seconds=1.0)
    model = write_model(root / "model")
    folder = root / "work" / "studio"
    folder.parent.mkdir()
    given = ("--raw", root / "raw", "--mixed", root / "mixed", "--model", model)
    return folder, ("finetune", *given, "-o", folder, *more)


def check_finetune(root: Path, fault: str, states: States) -> int:
    """A repeated command goes on and ends with the whole model."""
    folder, command = _finetune(root)
    count, seen = 0, list[dict[str, bytes | None]]()
    for outcome in states(fault, folder.parent, command):
        count += 1
        _assert_said(fault, outcome)
        if not _is_new(contents(folder.parent), seen):
            continue
        if folder.exists():
            _assert_whole(folder)
        was_complete = folder.exists() and _visible(folder) == STUDIO
        again = run(*command)
        _assert_refused_or_done(again, was_complete)
        assert set(contents(folder)) == STUDIO, f"after a fault at step {count}"
    return count


def check_finetune_over_older(root: Path, fault: str, states: States) -> int:
    """Who reads the model finds one of both, never a mixture."""
    folder, command = _finetune(root, "--force")
    assert run(*command).code == 0
    (folder / "README.md").write_text("older\n")
    with (folder / "model.json").open("a") as file:
        file.write("\n")
    before = contents(folder)
    count, undone, seen = 0, 0, list[dict[str, bytes | None]]()
    for outcome in states(fault, folder.parent, command):
        count += 1
        _assert_said(fault, outcome)
        if _is_new(contents(folder), seen):
            _assert_whole(folder)
            assert run("models", "info", "--model", folder).code == 0
            assert not any(name.startswith(".diffconsole-old") for name in contents(folder))
        after = contents(folder)
        same = {after[name] == before[name] for name in ("model.json", "README.md")}
        assert len(same) == 1, f"a mixture after a fault at step {count}"
        undone += same == {True}
    assert undone
    return count


CHECKS: dict[str, Callable[[Path, str, States], int]] = {
    "process": check_process,
    "process over older": check_process_over_older,
    "match of folders": check_match_folders,
    "match of a pair": check_match_pair,
    "finetune": check_finetune,
    "finetune over older": check_finetune_over_older,
}
