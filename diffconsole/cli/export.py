"""The commands that bring a preset into other software, and back."""

from __future__ import annotations

from pathlib import Path

import click

from .archive import Archive, archive_options
from .common import PATH, Report, command, force_option, in_words, read_preset

__all__ = ["export", "import_"]


@command(
    "export",
    "diffconsole export take.preset.json --to reaper -o take_reaper/",
    "diffconsole export presets/ --recursive --to markdown -o sheets/ --jobs 4",
)
@click.argument("presets", metavar="[PRESET]...", nargs=-1, type=PATH)
@click.option("--to", "key", metavar="FORMAT", help="Of --list.")
@click.option(
    "-o", "--output", type=PATH, help="File; a folder where the format writes several files."
)
@click.option("--list", "listing", is_flag=True, help="Show the formats and how exact each is.")
@click.option(
    "--sample-rate", type=click.IntRange(16000, 192000), default=48000, show_default=True,
    help="Of the audio there; some formats depend on it.",
)  # fmt: skip
@click.option(
    "--channels", type=click.IntRange(1, 2), default=1, show_default=True,
    help="Of the audio there: 1 mono, 2 stereo.",
)  # fmt: skip
@archive_options
@force_option
def export(
    report: Report,
    presets: tuple[Path, ...],
    key: str | None,
    output: Path | None,
    listing: bool,
    sample_rate: int,
    channels: int,
    archive: Archive,
    force: bool,
) -> None:
    """Write a preset for other software; --list shows for which, and how exactly.

    What does not carry over is said, one line each. Of several PRESETs, folders and patterns -o is
    a folder that gets one file, or one folder, for each.
    """
    if listing:
        _list(report)
        return
    if not presets or key is None or output is None:
        raise click.UsageError("give PRESET, --to FORMAT and -o PATH; or --list")
    from ..export import export_preset
    from ..jobs.many.paths import is_many

    if archive.is_asked or len(presets) > 1 or is_many(presets):
        from .archive_takes import export_many

        export_many(
            report, archive, presets, key, output, sample_rate=sample_rate, channels=channels,
            force=force,
        )  # fmt: skip
        return
    preset = presets[0]
    strip = read_preset(report, preset)
    files, losses = export_preset(
        strip, key, output, sample_rate=sample_rate, channels=channels, force=force,
        inputs=[preset],
    )  # fmt: skip
    for line in losses:
        report.say(f"Note: {line}")
    for file in files:
        report.say(f"→ {file}")
    report.result(
        {"format": key, "files": [str(f) for f in files], "losses": [*strip.notices, *losses]}
    )


def _list(report: Report) -> None:
    from ..export import added_formats, formats

    known = formats()
    rows = [
        {
            "format": form.key,
            "title": form.title,
            "writes": form.ending or "folder",
            "figures": {figure.part: figure.error_db for figure in form.figures},
            "measured_with": form.consumer,
            "lost": dict(form.lost),
            "conditions": list(form.conditions),
            "import": form.read is not None,
        }
        for form in known.values()
    ]
    lines = []
    for form in known.values():
        back = "" if form.read is None else "; import reads it back"
        lines.append(f"{form.key:<13} {form.title}")
        lines.append(f"{'':<13} writes a {form.ending or 'folder'}{back}")
        if form.figures:
            figures = "; ".join(map(str, form.figures))
            lines.append(f"{'':<13} error, measured with {form.consumer}: {figures}")
        lines += [f"{'':<13} {name}: {words}" for name, words in form.lost.items()]
        lines += [f"{'':<13} {words}" for words in form.conditions]
    for name, reason in added_formats().broken.items():
        report.say(f"Note: format {name} is left out: {reason}")
    report.result({"formats": rows}, "\n".join(lines))


@command("import", "diffconsole import take.RfxChain -o take.preset.json")
@click.argument("path", type=PATH)
@click.option("--from", "key", metavar="FORMAT", help="[default: by the ending or the folder]")
@click.option("-o", "--output", type=PATH, required=True, help="Preset.")
@force_option
def import_(report: Report, path: Path, key: str | None, output: Path, force: bool) -> None:
    """Read a preset back from what export wrote, or the other software saved."""
    from ..export import find_format, import_preset
    from ..files.results import check_results

    check_results([output], [], force, inputs=[path])
    preset, found = import_preset(path, key)
    preset.write(output, force=force)
    # What the file could not hold has the table's values now, or is off.
    losses = [f"{name}: {words}" for name, words in find_format(found).lost.items()]
    for line in losses:
        report.say(f"Note: of {found}, {line}")
    own = preset.provenance.get("import", [])
    for line in own:
        report.say(f"Note: {line}")
    losses += own
    report.say(f"{path}: {in_words(preset)}", f"→ {output}")
    report.result({"format": found, "preset": str(output), "losses": losses})
