"""Reads a bundle of presets of LSP's plug-ins back into a strip."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import ExportError
from ..strip.parameters import BY_KEY, EQ_BANDS
from ..strip.preset import Preset
from .lsp import (
    COMPRESSORS,
    FILTERS,
    decibels,
    ours,
    pan_position,
    read_text,
    switches_off,
    time_constant,
)
from .lsp_gate import GATE, Gate, settings_of
from .lv2_ports import HOME, MAPPED, SENDS
from .sends import SEND_KEYS
from .turtle import things

__all__ = ["read"]

MOST_FILES = 32
MOST_NAMED = 5
GAIN = "input_gain.gain_db"
VALUE = re.compile(r"(?<!\w)(\w+) (-?[0-9.]+)(?:,|$)")


def read(path: Path) -> Preset:
    """Return the strip of a bundle, of the folder around it, or of one preset in it."""
    name = ""
    found: dict[str, dict[str, float]] = {}
    settings: dict[str, float] = {}
    for file in _presets(path):
        ports: dict[str, float] = {}
        for thing in things(read_text(file)):
            if thing.first("symbol") and thing.first("value"):
                ports[thing.first("symbol")] = float(thing.first("value"))
            part = _part(thing.first("appliesTo"), ports, file)
            if part and ports:
                if part in found:
                    raise ExportError(
                        f"{path}: {file.name} is a second preset of the {part}; give a bundle with"
                        " one for each plug-in, or the .ttl file of one"
                    )
                found[part], ports = ports, {}
                name = thing.first("label") or name
                if part == "reverb" and found[part]["wet"]:
                    settings |= _from_recipe(thing.first("comment"))
    if not found:
        raise ExportError(f"{path}: no preset of LSP's plug-ins in it, as <name>.preset.lv2/")
    off = _take_chain(found, settings)
    return Preset.from_settings(settings, bypass=off, name=name)


def _presets(path: Path) -> list[Path]:
    """Return the files of one bundle: that which is given, or the only one in the folder."""
    files = [path] if path.is_file() else sorted(path.glob("*.ttl")) or sorted(path.glob("*/*.ttl"))
    bundles = sorted({file.parent.name for file in files})
    if len(bundles) > 1:
        some = ", ".join(bundles[:MOST_NAMED]) + (", …" if len(bundles) > MOST_NAMED else "")
        raise ExportError(f"{path}: {len(bundles)} bundles in it ({some}); give one of them")
    if len(files) > MOST_FILES:
        raise ExportError(f"{path}: over {MOST_FILES} .ttl files; give the .ttl file of one preset")
    return files


def _part(address: str, ports: dict[str, float], file: Path) -> str:
    if address.startswith(f"{HOME}para_equalizer_"):
        return "equalizer" if "ft_0" in ports else "pan"
    # Two presets of one plug-in: the file's name says which.
    compressor = "compressor_2" if file.stem == "compressor_2" else "compressor"
    parts = {compressor: "compressor_", "reverb": "impulse_reverb_", GATE: "gate_"}
    return next((p for p, start in parts.items() if address.startswith(HOME + start)), "")


def _take_chain(found: dict[str, dict[str, float]], settings: dict[str, float]) -> set[str]:
    """Write the ports' settings over those that are there; return what is off."""
    off, off_bands, muted = set(), set(), set()
    equalizer = found.get("equalizer", {})
    for place, band in enumerate(EQ_BANDS if equalizer else ()):
        kind = equalizer.get(f"ft_{place}")
        if kind not in (0.0, FILTERS[band][0]):
            raise ExportError(f"filter {place} is of type {kind}, not {FILTERS[band][1]}")
        settings |= ours(MAPPED, equalizer, f"eq.{band}")
        if kind == 0.0:
            off_bands.add(band)
        elif equalizer.get(f"xm_{place}"):
            muted.add(band)
    if equalizer:
        off |= switches_off(off_bands, muted)
    if GATE in found:
        settings |= _from_gate(found[GATE])
    output = 1.0
    for key in COMPRESSORS:
        if key not in found:
            continue
        ports = found[key]
        settings |= ours(MAPPED, ports, key)
        if key == "compressor":
            gain_db = ours(MAPPED, ports, "input_gain")[GAIN]
            settings[GAIN] = settings.get(GAIN, 0.0) + gain_db
        output *= ports["g_out"]
        if ports.get("cwt") == 0.0:
            off.add(key)
            del settings[f"{key}.mix"]
    if "pan" in found:
        settings["pan.position"] = pan_position(found["pan"]["bal"])
    if "reverb" in found:
        ports = found["reverb"]
        output *= ports["g_out"]
        if ports.get("p"):
            settings["pan.position"] = pan_position(ports["p"])
        if ports["wet"] and "delay.wet_db" not in settings:
            settings |= ours((m for m in MAPPED if m.name == "wet"), ports, "reverb")
    settings["output_gain.gain_db"] = decibels(output)
    return off


def _from_gate(ports: dict[str, float]) -> dict[str, float]:
    """Return the settings of a gate and the gain in front of it."""
    settings = ours((m for m in MAPPED if m.key == f"{GATE}.attack_ms"), ports, GATE)
    gate = Gate(
        threshold_db=decibels(ports["gt"]),
        zone_db=decibels(ports["gz"]),
        reduction_db=decibels(ports["gr"]),
        preamp_db=decibels(ports["scp"]),
        release_ms=time_constant(ports["rt"]),
    )
    return {**settings, **settings_of(gate), **ours(MAPPED, ports, "input_gain")}


def _from_recipe(comment: str) -> dict[str, float]:
    found: dict[str, float] = {}
    sections = dict(part.split(": ", 1) for part in comment.split("; ") if ": " in part)
    for section in SENDS:
        if section not in sections:
            continue
        values = dict(VALUE.findall(sections[section]))
        found |= {f"{section}.{name}": float(value) for name, value in values.items()}
    wanted = [k for k in SEND_KEYS if BY_KEY[k].module in sections]
    if "delay" not in sections:
        wanted = [key for key in wanted if key != "reverb.wet_db"]
    if not wanted or set(wanted) != set(found):
        raise ExportError(
            "has a reverb, whose settings cannot be read from its response but stand in the"
            " preset's rdfs:comment, as export wrote it; put that back, or set 'wet' to 0 to import"
            " the strip without a reverb"
        )
    return found
