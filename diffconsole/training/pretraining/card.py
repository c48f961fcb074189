"""Model cards: what a model was trained on, how, under which licences, and how good it measured."""

from __future__ import annotations

import csv
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...errors import AudioError
from ...strip.parameters import section_name
from .pretrain_options import STREAMS, with_present_names

__all__ = ["finetune_card", "pretrain_card", "sources_of"]

MANIFEST = "manifest.csv"
STAGES = {
    "before": "the model as it was",
    "studio": "one strip for every vocal",
    "ridge": "offsets by the voice, from each pair's estimated settings",
    "head": "the same, trained through the console",
    "top": "the encoder's top stages too",
}


def finetune_card(info: Mapping[str, Any]) -> str:
    """Return the card of a fine-tuned model, which is the report of the run, as Markdown.

    Parameters
    ----------
    info : mapping
        What ``finetune`` records: base, pairs, held out, distances, scores by stage, epochs,
        seconds, seed.
    """
    columns = list(info["distance"])
    rows = [
        f"| {_cell(name)} | " + " | ".join(f"{row[c]:.3f}" for c in columns) + " |"
        for name, row in info["distances"].items()
    ]
    ends = [
        f"| **{name}** | " + " | ".join(f"**{info[key][c]:.3f}**" for c in columns) + " |"
        for name, key in (("mean", "distance"), ("median", "median"))
    ]
    scores = "\n".join(
        f"| {STAGES[name]} | {value:.3f} |" for name, value in info["scores"].items()
    )
    lines = "\n".join([*rows, *ends])
    return f"""# A fine-tuned vocal model

Fine-tuned from `{info["base"]}` on {info["pairs"]} raw/mixed pairs of one studio,
{_held(info)}; {info["labelled"]} matched for labels,
{info["epochs"]} epochs, {info["steps"]} steps, {info["seconds"]:.0f} s, seed {info["seed"]}.
Budget: {_budget(info["budget"])}.
{_found_modules(info)}
Distance to the mixes {_whose(info)} (lower is better):

| pair | {" | ".join(columns)} |
|---|{"---|" * len(columns)}
{lines}

*Level only* is the raw vocal at the mix's loudness; *one preset* the factory preset with the
lowest distance to the pairs trained on; *before* and *after* the model. Of long pairs the loudest
20 s count, as in `diffconsole evaluate`. A mix that is nearly mono can decide the mean; see the
median then.

![The distance over the run](finetune.png)

| state, on five-second segments of the same pairs | distance |
|---|---|
{scores}

These are robust: the median at the start, times the factor by which the distances have changed,
without the quarter that changed most and least; sides count no lower than 40 dB below the mid. The
best of these is the model: **{STAGES[info["best"]]}**. {_caution(info)}
they chose it: expect new mixes to lie a little further.

Use: `diffconsole process take.wav --model FOLDER`. The weights know the sound of the pairs they
were trained on: treat them as you treat the pairs.
"""


def _found_modules(info: Mapping[str, Any]) -> str:
    """Which modules the mixes showed, a line each."""
    lines = [f"- {each['words']}" for each in info.get("modules", {}).values()]
    return "\n".join(["", "Modules that the mixes showed:", "", *lines, ""]) if lines else ""


def _held(info: Mapping[str, Any]) -> str:
    """How many pairs were not trained on."""
    if info.get("crossed"):
        return "all of them trained on, each predicted from the others to decide"
    return f"{len(info['held_out'])} of them held out"


def _whose(info: Mapping[str, Any]) -> str:
    """Which mixes the distances are of."""
    return "of pairs that the others predict" if info.get("crossed") else "held out"


def _caution(info: Mapping[str, Any]) -> str:
    """What the figures leave out."""
    if info.get("crossed"):
        return (
            "*After* is what the other\npairs predict for each, but all of them trained the strip, "
            "and"
        )
    return "These pairs were not trained on, but"


def _budget(budget: Mapping[str, Any]) -> str:
    """What ended the run at the latest, in words."""
    if "steps" in budget:
        return f"at most {budget['steps']} steps, whatever time they take"
    return f"at most {budget['minutes']:g} minutes of the machine it ran on"


def _cell(name: str) -> str:
    """A name in a table, on one line."""
    return " ".join(name.split()).replace("|", "\\|")


def pretrain_card(info: Mapping[str, Any]) -> str:
    """Return the card of a pretrained model as Markdown.

    Parameters
    ----------
    info : mapping
        What ``pretrain`` records: date, options, steps, people, figures on the test speakers,
        sources of the data, and where it continued another run what that one recorded.
    """
    options = with_present_names(info["options"])
    figures = dict(info["held_out"])
    fixed = figures.pop("fixed")
    labels = {
        "total": "loss",
        "likelihood": "negative log-likelihood of the settings",
        "error": "mean absolute error, share of range, weighted by audibility",
        "curve_db": "error of the EQ's curve, dB",
    }
    start = info.get("started_from", {}).get("held_out", {})
    columns = ("model", "start", "anchor") if start else ("model", "anchor")
    named = {"model": figures, "start": start, "anchor": fixed}
    rows = "\n".join(
        f"| {labels.get(name, name)} | "
        + " | ".join(f"{named[column][name]:.3f}" for column in columns)
        + " |"
        for name in figures
        if name in fixed
    )
    held = options["held_out"]
    speakers = options.get("validation") or held
    return f"""# A pretrained vocal model

Analyses a raw vocal and predicts the settings of the channel strip that mixes it. Log-mel
spectrogram at 44.1 kHz, a small convolutional network, a head with a mean and an uncertainty for
each setting, and a second head that also analyses a mixed vocal and predicts the settings that lead
to its style.
{_runs(info)}

**How.** Raw vocals whose right settings are known are made from the voices: a channel strip is
drawn from the statistics of 435 real vocal mixes (fitted by the DiffVox project, MIT), about one
strip that is close to all mixes, the anchor, and undone, with wandering level, rumble and room. The
network learns to predict the strip; beside it, it learns
to recognise a random strip that a voice went through, which of other passages went through the
same, and the strip that brings a raw voice to the style of a mixed one, its own or another.
The uncertainty is scaled so that four of five right settings of speakers that it was not trained on
lie within its middle 80 %.{_anchored(info)}

**Measured** on speakers that were never trained on ({", ".join(speakers) or "none was held out"}),
which also chose the best state, against the anchor for every vocal:

| | {" | ".join(columns)} |
|---|{"---|" * len(columns)}
{rows}

Distances to mixes, simulated and real: `python -m tests.benchmarks.first_model`.
{_references(info)}{_modules(info)}
**Limits.** Lead vocals, one voice at a time. Trained on few speakers and singers: it analyses
tone, level, rumble and room, and predicts values close to the middle of real mixes where it is not
certain; the uncertainty of each setting says so. It does not know your taste: fine-tune it on your
pairs.

**Voices** (the audio is not part of the package)

{_sources(info, "voices", (*held, *speakers))}

**Rooms**

{_sources(info, "rooms", ())}
{_mixed_vocals(info)}"""


def _anchored(info: Mapping[str, Any]) -> str:
    """How far predictions differ from the anchor."""
    if "anchor_share" not in info:
        return ""
    return (
        " For the mean voice it predicts the anchor, and for others it adds\n"
        f"{info['anchor_share']:g} of the offsets that it learnt: most of what turns a raw vocal "
        "into a mixed one is common to all."
    )


def _references(info: Mapping[str, Any]) -> str:
    """How it was measured what references say."""
    if not info.get("style_statistics"):
        return ""
    text = (
        "**References.** How much of a mixed vocal's style is the strip's, and how much the "
        "singer's, was measured on several singers through one strip each time: "
        f"{info['style_statistics']}."
    )
    return "\n" + textwrap.fill(text, 100, break_long_words=False) + "\n"


def _modules(info: Mapping[str, Any]) -> str:
    """What the modules that were learnt apart from the rest answer."""
    if not info.get("modules"):
        return ""
    record = info["modules"]
    run = with_present_names(record["options"])
    text = (
        f"**{_titles(record['figures'])}** were learnt on {record['trained']} from "
        f"{run['module_examples']} simulated raw vocals, the rest of the model as it is. A module "
        "that is on with a probability below 0.8 is left off. On the validation speakers:"
    )
    lines = ["| | decided right whether it is on | always the same | errors where it is on |"]
    lines += ["|---|---|---|---|"]
    for key, figures in record["figures"].items():
        errors = ", ".join(
            f"`{name}` {error:g} (the median {figures['medians'][name]:g})"
            for name, error in figures["errors"].items()
            if figures["medians"][name]
        )
        lines.append(
            f"| {section_name(key)} | {100.0 * figures['decided']:.0f} % | "
            f"{100.0 * figures['always']:.0f} % | {errors} |"
        )
    apart = ""
    if run.get("only_modules"):
        apart = f"\n\n```sh\n{_command(run)}\n```"
    table = "\n".join(lines)
    return f"\n{textwrap.fill(text, 100, break_long_words=False)}\n\n{table}{apart}\n"


def _titles(keys: Iterable[str]) -> str:
    """Names of modules for a sentence."""
    names = [section_name(key) for key in keys]
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def _mixed_vocals(info: Mapping[str, Any]) -> str:
    """The mixed vocals whose long-term spectra finished voices have."""
    if not info.get("sources", {}).get("finished"):
        return ""
    return f"\n**Mixed vocals** (their long-term spectra)\n\n{_sources(info, 'finished', ())}\n"


def _runs(info: Mapping[str, Any]) -> str:
    """How the model was trained: its last run, and those that this one went on from."""
    earlier = info.get("started_from")
    runs = "" if earlier is None else _runs(earlier) + "\n\n"
    start = "Trained from scratch" if earlier is None else "Continued from there"
    mean = "; the model is the mean of start and end" if info["options"].get("average") else ""
    return f"""{runs}{start} on {info["trained"]}, {info["steps"]} steps{mean}:

```sh
{_command(with_present_names(info["options"]))}
```"""


def _command(options: Mapping[str, Any]) -> str:
    """The command of a run."""
    command = f"diffconsole pretrain {options['voices']}"
    if options["rooms"]:
        command += f" --rooms {options['rooms']}"
    if options.get("finished"):
        command += f" --finished {options['finished']}"
    for name, option in (
        ("held_out", "held-out"), ("validation", "validation"), ("reference", "reference")
    ):  # fmt: skip
        if options.get(name):
            command += f" --{option} {','.join(options[name])}"
    if options.get("start_from"):
        command += f" --start-from {options['start_from']}"
    if options.get("average"):
        command += " --average"
    if "learning_rate" in options:
        command += f" --learning-rate {options['learning_rate']:g}"
    if options.get("batch", 48) != 48:
        command += f" --batch {options['batch']}"
    if options.get("streams", STREAMS) != STREAMS:
        command += f" --streams {options['streams']}"
    if options.get("bfloat16"):
        command += " --bfloat16"
    if "anchor_share" in options:
        command += f" --anchor-share {options['anchor_share']:g}"
    if "style_strips" in options:
        command += f" --style-strips {options['style_strips']}"
    if "module_examples" in options:
        command += f" --module-examples {options['module_examples']}"
    if options.get("only_modules"):
        return f"{command} --only-modules --seed {options['seed']} -o MODEL"
    if options.get("steps") is not None:
        budget = f"--steps {options['steps']}"
    else:
        budget = f"--minutes {options['minutes']:g}"
    return f"{command} {budget} --seed {options['seed']} -o MODEL"


def sources_of(folder: str | Path | None, group: str) -> list[dict[str, Any]]:
    """Return who or what is in a folder, by its ``manifest.csv``: nothing where there is none.

    Parameters
    ----------
    folder : str or Path, optional
        Of voices or rooms.
    group : str
        The column of the manifest that names a speaker or a kind.

    Returns
    -------
    list of dict
        ``name``, ``minutes``, ``licence`` and ``source``.

    Raises
    ------
    AudioError
        The manifest lacks a column, or a length is no number.
    """
    manifest = None if folder is None else Path(folder) / MANIFEST
    if manifest is None or not manifest.is_file():
        return []
    with open(manifest, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    minutes: dict[tuple[str, str, str], float] = {}
    for row in rows:
        try:
            key = (row[group], row["licence"], row["source_repo"])
            minutes[key] = minutes.get(key, 0.0) + float(row["seconds"]) / 60.0
        except (KeyError, TypeError, ValueError):
            columns = f"{group}, licence, source_repo and seconds"
            raise AudioError(
                f"{manifest}: needs the columns {columns} in each line; mend or remove it"
            ) from None
    return [
        {"name": name, "minutes": round(sum_of, 2), "licence": licence, "source": source}
        for (name, licence, source), sum_of in minutes.items()
    ]


def _sources(info: Mapping[str, Any], kind: str, held: Any) -> str:
    """A table of licence and source of each, of this run and of those that it went on from."""
    found: dict[str, Mapping[str, Any]] = {}
    run: Mapping[str, Any] | None = info
    while run is not None:
        for row in run.get("sources", {}).get(kind, ()):
            found.setdefault(row["name"], row)
        run = run.get("started_from")
    if not found:
        return "No manifest named their licences."
    lines = ["| | minutes | licence | source |", "|---|---|---|---|"]
    for name, row in found.items():
        note = ", held out" if name in held else ""
        lines.append(
            f"| {name}{note} | {row['minutes']:.1f} | {row['licence']} | {row['source']} |"
        )
    return "\n".join(lines)
