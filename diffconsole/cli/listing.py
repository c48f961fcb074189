"""The commands that show what is there: presets, encoders, models."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .common import PATH, Report, command, load_model, model_option, read_preset
from .encoder_options import rate_option, trust_option

__all__ = ["encoders", "models", "presets"]


@click.group()
def presets() -> None:
    """Show the presets that come with the program."""


@command("list", "diffconsole presets list")
def presets_list(report: Report) -> None:
    """List the factory presets, each with what it is for."""
    from ..strip.preset import factory_presets

    rows = [
        {"key": key, "name": p.name, "description": p.provenance.get("description", "")}
        for key, p in factory_presets().items()
    ]
    width = max((len(r["key"]) for r in rows), default=0)
    lines = [f"{r['key']:<{width}}  {r['name']}: {r['description']}" for r in rows]
    report.result({"presets": rows}, "\n".join(lines))


@command("show", "diffconsole presets show lead_vocal_pop > mine.preset.json")
@click.argument("preset", type=PATH)
def presets_show(report: Report, preset: Path) -> None:
    """Print a preset as JSON, to read or to start from."""
    # Bytes: a preset is UTF-8 whatever the terminal's encoding is.
    click.echo(read_preset(report, preset).to_json().encode("utf-8"), nl=False)


@click.group()
def encoders() -> None:
    """Show the pretrained encoders that a model can be built on."""


@command("list", "diffconsole encoders list")
def encoders_list(report: Report) -> None:
    """List the encoder families, as finetune --encoder takes them."""
    from ..encoders import added_families, families

    known, broken = families(), added_families().broken
    rows = [
        {
            "name": name,
            "usage": f"{name}:{family.sources}" if family.sources else name,
            "description": family.about,
            "sample_rate": family.sample_rate,
            "dim": family.dim,
            "licence": family.licence,
            "needs": family.needs,
            "published": family.published,
        }
        for name, family in known.items()
    ]
    width = max(map(len, known))
    lines = []
    for row in rows:
        rate = f"{row['sample_rate']} Hz" if row["sample_rate"] else "any rate"
        dim = f"{row['dim']} features a frame" if row["dim"] else "as many features as the file has"
        lines += [
            f"{row['name']:<{width}}  {row['description']}",
            f"{'':<{width}}  --encoder {row['usage']}; {rate}, {dim}",
            f"{'':<{width}}  weights: {row['licence']}; {row['published']}",
            f"{'':<{width}}  needs {row['needs']}",
        ]
    for name, reason in broken.items():
        report.say(f"Note: encoder {name} is left out: {reason}")
    report.result({"encoders": rows}, "\n".join(lines))


@command("info", "diffconsole encoders info speechflow:sr_ssl_flowmatching_16k_430m.nemo")
@click.argument("encoder", metavar="NAME[:PATH]")
@rate_option
@trust_option
def encoders_info(
    report: Report, encoder: str, encoder_rate: int | None, trust_checkpoint: bool
) -> None:
    """Show what an encoder's file holds: network, licence, rate, features, stages.

    The stages are what finetune freezes from the bottom, the first one first.
    """
    from ..encoders import open_encoder, split_spec

    name, source = split_spec(encoder)
    opened = open_encoder(name, source, encoder_rate, trust=trust_checkpoint)
    stages = {
        stage: sum(p.numel() for p in module.parameters()) for stage, module in opened.stages()
    }
    data = {
        "name": name,
        "about": opened.about,
        "licence": opened.licence,
        "non_commercial": _non_commercial(opened.licence),
        "sample_rate": opened.sample_rate,
        "dim": opened.dim,
        "frames_per_second": opened.frames_per_second,
        "parameters": sum(p.numel() for p in opened.parameters()),
        "stages": [{"name": stage, "parameters": count} for stage, count in stages.items()],
    }
    lines = [
        f"{name}: {opened.about}",
        f"licence of its weights: {opened.licence}",
        f"{opened.sample_rate} Hz, {opened.dim} features a frame, "
        f"{opened.frames_per_second:.2f} frames a second",
        f"{data['parameters']:,} parameters in {len(stages)} stages, from the bottom up:",
    ]
    if data["non_commercial"]:
        lines.insert(2, "these weights are for non-commercial use only")
    width = max(map(len, stages), default=0)
    lines += [f"  {stage:<{width}}  {count:>13,}" for stage, count in stages.items()]
    report.result(data, "\n".join(lines))


def _non_commercial(licence: str) -> bool:
    """Whether a licence says so; one that is not known says nothing."""
    words = licence.upper().replace("-", " ")
    return "NON COMMERCIAL" in words or "NONCOMMERCIAL" in words or " NC " in f" {words} "


@click.group()
def models() -> None:
    """Show what a model is made of."""


@command("info", "diffconsole models info --model studio/")
@model_option
def models_info(report: Report, model: Path | None) -> None:
    """Show a model's encoder, size, training and measured figures."""
    predictor, name = load_model(model)
    weights = sum(p.numel() for p in predictor.parameters())
    notices = predictor.known.notices()
    encoder = predictor.encoder
    data = {
        "model": name,
        "encoder": encoder.name,
        "about": encoder.about,
        "licence": encoder.licence,
        "sample_rate": encoder.sample_rate,
        "parameters": weights,
        **({"notices": list(notices)} if notices else {}),
        "info": predictor.info,
    }
    text = (
        f"{name}: encoder {encoder.name} at {encoder.sample_rate} Hz, "
        f"{weights / 1e6:.2f} million parameters\n"
        f"{encoder.about}; licence of its weights: {encoder.licence}\n"
        + "".join(f"{name} {notice}\n" for notice in notices)
        + f"{json.dumps(predictor.info, indent=2)}"
    )
    report.result(data, text)


presets.add_command(presets_list)
presets.add_command(presets_show)
encoders.add_command(encoders_list)
encoders.add_command(encoders_info)
models.add_command(models_info)
