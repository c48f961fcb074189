"""The command that recovers settings from pairs: match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import DiffconsoleError, PairError
from .archive import Archive, archive_options
from .common import (
    PATH,
    FiniteRange,
    Report,
    command,
    device_option,
    force_option,
    in_words,
    one_line,
    seed_option,
)
from .pair_options import find_files, pair_options, try_pair

if TYPE_CHECKING:
    from ..jobs.match import PlannedMatch
    from ..pairs import Pair, PairFiles
    from ..strip.preset import Preset
    from ..training.matching.match import Match, MatchOptions

__all__ = ["match"]

BATCH = 16
"""Pairs in memory at once."""


@command(
    "match",
    "diffconsole match take.wav take.mix.wav -o take.preset.json --report take.png",
    "diffconsole match --raw raw/ --mixed mixed/ -o presets/ --recursive --jobs 8 --resume",
)
@click.argument("files", metavar="[RAW MIXED]", nargs=-1, type=PATH)
@pair_options
@click.option(
    "-o", "--output", type=PATH, required=True,
    help="Preset; for folders of pairs a folder, which gets a preset each and match.csv.",
)  # fmt: skip
@click.option(
    "--seconds", type=FiniteRange(min=0.1),
    help="Time per pair; 20 s or less try no later modules.  [default: a fixed effort of about "
    "a minute]",
)  # fmt: skip
@click.option(
    "--quick", is_flag=True,
    help="Fast, less accurate search of EQ, compressor, pan and reverb alone.",
)  # fmt: skip
@click.option(
    "--without", metavar="MODULES",
    help="Modules that are not tried, by commas: delay,gate. \"all\" leaves EQ, compressor, pan "
    "and reverb.",
)  # fmt: skip
@click.option(
    "--bpm", type=FiniteRange(min=20.0, max=400.0),
    help="Tempo of the song; the time of a delay is then reported as a note value.",
)  # fmt: skip
@click.option(
    "--report", "picture", type=PATH,
    help="Picture of the strip and of what it leaves unexplained: PNG, SVG or PDF by its ending; "
    "for folders of pairs a folder, which gets a PNG each.",
)  # fmt: skip
@archive_options
@device_option
@seed_option
@force_option
def match(
    report: Report,
    files: tuple[Path, ...],
    raw: Path | None,
    mixed: Path | None,
    pairs: Path | None,
    output: Path,
    seconds: float | None,
    quick: bool,
    without: str | None,
    bpm: float | None,
    picture: Path | None,
    archive: Archive,
    device: str,
    seed: int,
    force: bool,
) -> None:
    """Recover the settings that turn a raw vocal into a mix of it.

    One pair, or folders of them: --raw DIR --mixed DIR, or --pairs CSV. Timing, speed and
    polarity are found; the settings act on the raw file as it lies. Ctrl-C keeps the best so far.
    Repeated, a command on folders resumes with the pairs that are not done.
    """
    from ..jobs.options import check_device
    from ..training.matching.match import MatchOptions

    if seconds is not None and quick:
        raise click.UsageError("--seconds and --quick exclude each other")
    folders = any(option is not None for option in (raw, mixed, pairs))
    if len(files) not in (0, 2) or bool(files) == folders:
        raise click.UsageError("give RAW MIXED, or --raw DIR and --mixed DIR, or --pairs CSV")
    if without is not None and quick:
        raise click.UsageError("--without and --quick exclude each other: --quick tries none")
    options = MatchOptions(
        seconds=seconds, quick=quick, seed=seed, without=_left_out(without or "")
    )
    check_device(device)
    if archive.is_asked:
        if files:
            raise click.UsageError("the options of many files go with --raw DIR and --mixed DIR")
        from .archive_pairs import match_many, pairs_of

        folders_of_results = (output,) if picture is None else (output, picture)
        placed = pairs_of(report, archive, raw, mixed, pairs, folders_of_results)
        listed = [pairs] if pairs is not None else []
        match_many(report, archive, placed, output, picture, options, device, force, listed)
    elif files:
        _match_one(report, files[0], files[1], output, picture, options, device, force, bpm)
    else:
        found = find_files(raw, mixed, pairs, report)
        inputs = [pairs] if pairs is not None else []
        _match_many(report, found, output, picture, options, device, force, inputs, bpm)


def _match_one(
    report: Report,
    raw: Path,
    mixed: Path,
    output: Path,
    picture: Path | None,
    options: MatchOptions,
    device: str,
    force: bool,
    bpm: float | None,
) -> None:
    from ..files import check_output
    from ..jobs.match import check_inputs, contents_of
    from ..jobs.plan import plan_presets
    from ..jobs.takes import read_take
    from ..pairs import PairFiles, load_pair
    from ..plots.page import image_format
    from ..progress import bar
    from ..training.matching.match import match as search

    entry = PairFiles(raw.stem, raw, mixed)
    (target,) = plan_presets([raw], output, force).values()
    check_inputs([target], [entry])
    if picture is not None:
        image_format(picture)
        check_inputs([target, picture], [entry])
        check_output(picture, force=force)
    for path in (raw, mixed):
        if path.is_dir():
            read_take(path)
    pair = load_pair(entry)
    with bar("matching", silent=report.silent) as update:

        def show(event: dict[str, Any]) -> None:
            update(event["fraction"], f"distance {event['loss']:.3f}")

        (found,) = search([pair], options, device=device, report=show)
    preset = found.preset(raw.name, mixed.name, contents_of(entry))
    _write_one(entry, target, picture, pair, preset, force)
    data = _report_match(report, raw, target, pair, found, preset, bpm)
    if picture is not None:
        report.say(f"  → {picture}")
        data["report"] = str(picture)
    report.result(data)
    if found.stopped:
        raise DiffconsoleError(f"stopped; the best so far is in {target}")


def _write_one(
    files: PairFiles, target: Path, picture: Path | None, pair: Pair, preset: Preset, force: bool
) -> None:
    """Write the preset, and together with it the picture if one is asked for."""
    from ..files import atomic_set
    from ..plots.match import plot_match

    if picture is None:
        preset.write(target, force=force)
        return
    title = f"{files.raw.name} → {files.mixed.name}"
    try:
        with atomic_set():
            preset.write(target, force=force)
            plot_match(pair, preset, picture, title=title, force=force)
    except BaseException:
        # The search took long and the strip is found: it is kept without its picture.
        preset.write(target, force=force)
        raise


def _left_out(without: str) -> tuple[str, ...]:
    """The modules that an option names, by commas."""
    from ..training.matching.match import TRIED

    names = tuple(dict.fromkeys(name.strip() for name in without.split(",") if name.strip()))
    return TRIED if names == ("all",) else names


def _echo_time(preset: Preset, bpm: float | None) -> str:
    """The time of its delay as a note value; empty without a delay or a value that fits."""
    from ..modules.delay.words import in_beats

    if bpm is None or "delay" in preset.bypass():
        return ""
    return in_beats(preset.settings()["delay.time_ms"], bpm)


def _report_match(
    report: Report,
    raw: Path,
    target: Path,
    pair: Pair,
    found: Match,
    preset: Preset,
    bpm: float | None,
) -> dict[str, Any]:
    """Report the strip, its distance and what it leaves unexplained; return the same as data."""
    from ..jobs.match import figures
    from ..pairs import about_pair
    from ..pairs.residual import in_words as words_of
    from ..pairs.residual import measure_residual

    row = figures(found.name, target, preset)
    left = words_of(measure_residual(pair, preset))
    lag_ms = 1000.0 * pair.lag_seconds
    polarity = "" if pair.polarity > 0 else ", inverted"
    share = row["explained"]
    explained = "nothing to explain" if share is None else f"{100.0 * share:.0f} % explained"
    report.say(
        f"{raw}: distance to the mix {found.distance:.3f}, at its level alone "
        f"{found.level_distance:.3f}: {explained}"
    )
    report.say(f"  {in_words(preset)}")
    report.say(
        f"  the mix lies {abs(lag_ms):.2f} ms {'later' if lag_ms >= 0 else 'earlier'}{polarity}; "
        f"correlation {pair.correlation:.2f}"
    )
    echo = _echo_time(preset, bpm)
    if echo:
        report.say(f"  the delay: {echo}")
    for line in pair.messages:
        report.say(f"  notice: {line}")
    for line in left:
        report.say(f"  left: {line}")
    report.say(f"  → {target}")
    about = about_pair(pair)
    data = {**row, **about, "unexplained": left, "steps": found.steps, "stopped": found.stopped}
    return {**data, "echo": echo} if echo else data


def _match_many(
    report: Report,
    files: Sequence[Any],
    output: Path,
    pictures: Path | None,
    options: MatchOptions,
    device: str,
    force: bool,
    inputs: Sequence[Path],
    bpm: float | None,
) -> None:
    from ..files import results_folder
    from ..jobs.match import TABLE, plan_matches, write_table
    from ..progress import bar

    planned = plan_matches(files, output, pictures, options, force, inputs)
    waiting = [entry for entry in planned if not entry.is_done]
    kept = len(planned) - len(waiting)
    if kept:
        report.say(f"{kept} of {len(planned)} pairs are done already; --force searches them again")
    refused: list[str] = []
    done: dict[Path, dict[str, Any]] = {}
    _keep_found(planned, done)
    stopped = False
    with results_folder(output), results_folder(pictures):
        try:
            with bar("matching", silent=report.silent) as update:
                for start in range(0, len(waiting), BATCH):
                    some = waiting[start : start + BATCH]
                    show = _progress(update, start, len(waiting))
                    stopped = _batch(report, some, options, device, show, refused, done, bpm)
                    if stopped:
                        break
        except KeyboardInterrupt:
            stopped = True
        rows = [done[entry.preset] for entry in planned if entry.preset in done]
        if rows:
            write_table(output / TABLE, rows)
    data = {"pairs": rows, "refused": refused, "failed": report.failed}
    report.result({**data, "table": str(output / TABLE) if rows else None}, _summary(rows))
    if rows:
        report.say(f"→ {output / TABLE}")
    if stopped:
        raise DiffconsoleError(
            f"stopped after {len(rows)} of {len(planned)} pairs; what was found is in {output}: "
            "repeat the command, without --force, to resume"
        )
    if not rows:
        raise PairError("no usable pair is left; see the lines above")


def _keep_found(planned: Sequence[PlannedMatch], done: dict[Path, dict[str, Any]]) -> None:
    from ..jobs.match import figures

    for entry in planned:
        if entry.found is not None:
            done[entry.preset] = figures(entry.files.name, entry.preset, entry.found)


def _progress(
    update: Callable[[float, str], None], start: int, count: int
) -> Callable[[dict[str, Any]], None]:
    shares: dict[int, float] = {}

    def show(event: dict[str, Any]) -> None:
        # Several pairs advance beside each other.
        shares[event["pair"]] = event["fraction"]
        share = (start + sum(shares.values())) / count
        note = f"{one_line(event['name'])}, {start + event['pair'] + 1} of {count}"
        update(share, f"{note}, distance {event['loss']:.3f}")

    return show


def _batch(
    report: Report,
    some: Sequence[PlannedMatch],
    options: MatchOptions,
    device: str,
    show: Callable[[dict[str, Any]], None],
    refused: list[str],
    done: dict[Path, dict[str, Any]],
    bpm: float | None,
) -> bool:
    """Match some pairs and write each as soon as it is there; whether Ctrl-C ended it."""
    from ..jobs.match import contents_of
    from ..training.matching.match import match as search

    loaded = [(entry, try_pair(entry.files, refused)) for entry in some]
    usable = [(entry, pair) for entry, pair in loaded if pair is not None]
    for entry, pair in usable:
        if entry.found is not None:
            _draw(report, entry, pair, entry.found)
    todo = [(entry, pair) for entry, pair in usable if entry.found is None]
    results = search([pair for _, pair in todo], options, device=device, report=show)
    stopped = False
    for (entry, pair), found in zip(todo, results, strict=False):
        contents = contents_of(entry.files)
        preset = found.preset(entry.files.raw.name, entry.files.mixed.name, contents)
        with report.attempt(entry.files.raw):
            preset.write(entry.preset, force=entry.replace)
            row = _report_match(report, entry.files.raw, entry.preset, pair, found, preset, bpm)
            done[entry.preset] = row
            _draw(report, entry, pair, preset)
        stopped = stopped or found.stopped
    return stopped


def _draw(report: Report, entry: PlannedMatch, pair: Pair, preset: Preset) -> None:
    if entry.picture is None:
        return
    from ..plots.match import plot_match

    title = f"{entry.files.raw.name} → {entry.files.mixed.name}"
    plot_match(pair, preset, entry.picture, title=title, force=entry.replace)
    report.say(f"  → {entry.picture}")


def _summary(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return ""
    width = max(4, *(len(one_line(row["name"])) for row in rows))
    mean = {key: sum(r[key] for r in rows) / len(rows) for key in ("level_distance", "distance")}
    lines = [f"{'':<{width}}  level only  match"]
    lines += [
        f"{one_line(row['name']):<{width}}  {row['level_distance']:10.3f}  {row['distance']:5.3f}"
        for row in [*rows, {"name": "mean", **mean}]
    ]
    return "\n".join(lines)
