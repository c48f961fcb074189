"""The command that writes the audition page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import PATH, Report, command, force_option, read_preset

if TYPE_CHECKING:
    from ..audition import Vocal

__all__ = ["audition"]


@command(
    "audition", "diffconsole audition take.wav rap lead_vocal_pop --mixed take_mix.wav -o take.html"
)
@click.argument("raw", type=PATH)
@click.argument("presets", metavar="PRESET...", nargs=-1, required=True, type=PATH)
@click.option(
    "--also", multiple=True, metavar="RAW", type=PATH, help="A further vocal; repeatable."
)
@click.option(
    "--mixed", multiple=True, metavar="MIXED", type=PATH,
    help="The engineer's mix of RAW; again for each --also, in their order.",
)  # fmt: skip
@click.option("-o", "--output", type=PATH, required=True, help="HTML file.")
@force_option
def audition(
    report: Report,
    raw: Path,
    presets: tuple[Path, ...],
    also: tuple[Path, ...],
    mixed: tuple[Path, ...],
    output: Path,
    force: bool,
) -> None:
    """Write one page to listen to a vocal through presets, at equal loudness, and to edit them.

    PRESET is a file or the key of a factory preset. The page holds its audio, needs no network,
    and opens in any browser.
    """
    from ..audition import write_page
    from ..files.results import check_results
    from ..progress import bar

    raws = (raw, *also)
    if len(mixed) > len(raws):
        raise click.UsageError(
            f"{len(mixed)} mixes for {len(raws)} vocals; give --mixed once for RAW and each --also"
        )
    check_results([output], [*raws, *mixed], force, inputs=presets)
    vocals = _vocals(report, raws, presets, mixed)
    with bar("audition", silent=report.silent) as update:
        page = write_page(output, vocals, force=force, progress=update)
    for notice in page.notices:
        report.say(f"Note: {notice}")
    report.say(f"→ {output}: {page.size_bytes / 1e6:.1f} MB")
    data = {
        "page": str(output),
        "bytes": page.size_bytes,
        "vocals": page.vocals,
        "notices": [line for _, preset in vocals[0].presets for line in preset.notices]
        + list(page.notices),
    }
    report.result(data)


def _vocals(
    report: Report,
    raws: tuple[Path, ...],
    presets: tuple[Path, ...],
    mixed: tuple[Path, ...],
) -> list[Vocal]:
    from ..audio import read_audio_file
    from ..audio.blocks import in_memory, is_long
    from ..audition import Vocal
    from ..jobs.long_process import audition_part
    from ..jobs.takes import open_take

    strips = []
    for path in presets:
        preset = read_preset(report, path)
        strips.append((preset.name or path.name.removesuffix(".json"), preset))
    vocals = []
    for i, raw in enumerate(raws):
        source = open_take(raw)
        mix = None
        found = [*source.messages]
        if i < len(mixed):
            file = read_audio_file(mixed[i])
            mix = (mixed[i].name, file.samples, file.sample_rate)
            found += file.messages
        for line in found:
            report.say(f"Note: {line}")
        if is_long(source) and mix is None:
            samples, place = audition_part(source)
            report.say(f"Note: {raw.name}: the page holds {place}")
        else:
            samples, _ = in_memory(source)
        vocals.append(Vocal(raw.name, samples, source.sample_rate, strips, mix))
    return vocals
