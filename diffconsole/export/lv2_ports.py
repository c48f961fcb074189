"""What LSP's plug-ins call a strip's settings: their control ports.

The plug-ins stand in this order: gate, equalizer, compressors, pan, impulse reverb. The first one
that works by level has the input gain. The last plug-in takes the mean of the channels through the
response of delay and reverb, adds it to the dry signal, and has the output gain; without it a
compressor has that gain. In mono it also pans the dry signal, ``dry·(1 ∓ p/100)/2``; in stereo a
second equalizer without bands does so by its balance, and the reverb's inputs take the pan back
out. Source: the ports as ``lv2info`` lists them, and measurement with release 1.2.5.
"""

from __future__ import annotations

from ..strip.parameters import BY_KEY, EQ_BANDS
from .base import Mapped, Strip
from .lsp import (
    COMPRESSORS,
    FILTER_MODE,
    FILTERS,
    decibels,
    linear,
    pan_balance,
    pan_level,
    pan_position,
    theirs,
    time,
    time_constant,
)
from .lsp_gate import GATE, gate_of
from .sends import SEND_KEYS

__all__ = ["HOME", "MAPPED", "SENDS", "plugins", "sends"]

HOME = "http://lsp-plug.in/plugins/lv2/"
FILTER_COUNT = 16
SENDS = tuple(dict.fromkeys(BY_KEY[key].module for key in SEND_KEYS))
# Hard left or right silences a side, which the reverb's input mix cannot bring back.
MOST_MAKEUP = 100.0

MAPPED = (
    Mapped("input_gain.gain_db", "g_in", "", linear, decibels),
    *(
        mapped
        for place, band in enumerate(EQ_BANDS)
        for mapped in (
            Mapped(f"eq.{band}.freq_hz", f"f_{place}", "Hz"),
            *(
                ()
                if band.endswith("pass")
                else (Mapped(f"eq.{band}.gain_db", f"g_{place}", "", linear, decibels),)
            ),
            Mapped(f"eq.{band}.q", f"q_{place}"),
        )
    ),
    *(
        mapped
        for key in COMPRESSORS
        for mapped in (
            Mapped(f"{key}.threshold_db", "al", "", linear, decibels),
            Mapped(f"{key}.ratio", "cr"),
            Mapped(f"{key}.attack_ms", "at", "ms", time, time_constant),
            Mapped(f"{key}.release_ms", "rt", "ms", time, time_constant),
            Mapped(
                f"{key}.knee_db",
                "kn",
                "",
                lambda knee_db: linear(-knee_db / 2.0),
                lambda factor: -2.0 * decibels(factor) + 0.0,
            ),
            Mapped(f"{key}.makeup_db", "mk", "", linear, decibels),
            # The dry gain, cdr, is what is missing to 1.
            Mapped(f"{key}.mix", "cwt", "", lambda mix: mix / 100.0, lambda wet: 100.0 * wet),
        )
    ),
    *(
        Mapped(f"{GATE}.{name}", theirs_name, unit, *((time, time_constant) if unit else ()))
        for name, theirs_name, unit in (
            ("threshold_db", "gt", ""),
            ("ratio", "gz", ""),
            ("range_db", "gr", ""),
            ("attack_ms", "at", "ms"),
            ("hold_ms", "rt", "ms"),
            ("release_ms", "rt", "ms"),
        )
    ),
    Mapped("pan.position", "balance", "%", pan_balance, pan_position),
    *(Mapped(key, "samples") for key in SEND_KEYS if key != "reverb.wet_db"),
    Mapped("reverb.wet_db", "wet", "", linear, decibels),
    Mapped("output_gain.gain_db", "g_out", "", linear, decibels),
)


def plugins(strip: Strip) -> dict[str, tuple[str, dict[str, float]]]:
    """Return the plug-ins' addresses and control ports by part, in their order.

    Parameters
    ----------
    strip : Strip
        Whose channels choose between the plug-ins' mono and stereo variants.
    """
    kind = "mono" if strip.channels == 1 else "stereo"
    chain = {}
    if strip.on(GATE):
        chain[GATE] = (f"{HOME}gate_{kind}", _gate(strip))
    # An EQ that is off goes along, muted, for its bands to come back.
    if any(f"eq.{band}" not in strip.off for band in EQ_BANDS):
        chain["equalizer"] = (f"{HOME}para_equalizer_x16_{kind}", _equalizer(strip))
    # The first one has the gains around it, so it is there when it is off, too.
    for key in COMPRESSORS:
        if key == "compressor" or strip.on(key):
            chain[key] = (f"{HOME}compressor_{kind}", _compressor(strip, key))
    position = strip["pan.position"]
    if strip.on("pan") and strip.channels == 2:
        # Without a filter's ports: a host leaves them as they are, off in a new plug-in.
        ports = {"enabled": 1, "bal": pan_balance(position), "g_out": pan_level(position)}
        chain["pan"] = (f"{HOME}para_equalizer_x16_stereo", ports)
    if sends(strip) or (strip.on("pan") and strip.channels == 1):
        chain["reverb"] = (f"{HOME}impulse_reverb_{kind}", _reverb(strip))
    last = next(chain[part][1] for part in ("reverb", *COMPRESSORS[::-1]) if part in chain)
    last["g_out"] = linear(strip.gain_db("output_gain"))
    return chain


def _equalizer(strip: Strip) -> dict[str, float]:
    ports: dict[str, float] = {"enabled": 1, "g_in": 1, "g_out": 1, "mode": 0, "frqs": 0}
    ports |= {"bal": 0} if strip.channels == 2 else {}
    for place, band in enumerate(EQ_BANDS):
        is_off = f"eq.{band}" in strip.off
        ports[f"ft_{place}"] = 0 if is_off else FILTERS[band][0]
        ports[f"fm_{place}"] = FILTER_MODE[0]
        ports[f"s_{place}"] = 0
        ports |= {f"xs_{place}": 0, f"xm_{place}": 0 if strip.on("eq") or is_off else 1}
        ports |= theirs(MAPPED, strip.settings, f"eq.{band}")
    return ports | {f"ft_{place}": 0 for place in range(len(EQ_BANDS), FILTER_COUNT)}


def sends(strip: Strip) -> list[str]:
    """Return the modules that are on and stand in the impulse response."""
    return [key for key in SENDS if strip.on(key)]


def _gate(strip: Strip) -> dict[str, float]:
    gate = gate_of(strip.of(GATE))
    return {
        "enabled": 1, "g_in": linear(strip.gain_db("input_gain")), "g_out": 1,
        # As the compressor's detector.
        "scm": 0, "scr": 0, "scp": linear(gate.preamp_db), "sla": 0, "scl": 0,
        "shpm": 0, "slpm": 0, **({"scs": 5} if strip.channels == 2 else {}),
        "gh": 0, "gt": linear(gate.threshold_db), "gz": linear(gate.zone_db),
        "gr": linear(gate.reduction_db), "at": time(strip[f"{GATE}.attack_ms"]),
        "rt": time(gate.release_ms), "mk": 1, "cdr": 0, "cwt": 1,
    }  # fmt: skip


def _compressor(strip: Strip, key: str) -> dict[str, float]:
    wet = strip[f"{key}.mix"] / 100.0 if strip.on(key) else 0.0
    gain_db = strip.gain_db("input_gain") if key == "compressor" and not strip.on(GATE) else 0.0
    return {
        "enabled": 1, "g_in": linear(gain_db), "g_out": 1,
        # Feed-forward, peak, without smoothing before the detector; one gain for both channels.
        "sct": 0, "scm": 0, "scr": 0, "scp": 1, "sla": 0, "scl": 0, "shpm": 0, "slpm": 0,
        "cm": 0, "rrl": 0,
        **({"scs": 5} if strip.channels == 2 else {}),
        **theirs([m for m in MAPPED if m.name != "cwt"], strip.settings, key),
        "cdr": 1.0 - wet, "cwt": wet,
    }  # fmt: skip


def _reverb(strip: Strip) -> dict[str, float]:
    ports: dict[str, float] = {"enabled": 1, "pd": 0, "dry": 1, "g_out": 1, "wpp": 0}
    position = strip["pan.position"] if strip.on("pan") else 0.0
    send, mix = 1.0, 0.0
    if strip.channels == 1:
        ports |= {"p": pan_balance(position), "dry": 2.0 * pan_level(position)}
    else:
        ports |= {"pl": -100, "pr": 100}
        if strip.on("pan"):
            # The inputs are panned already: each side's share of the send is over its factor.
            sides = [max(pan_level(position) * (1.0 + sign * pan_balance(position) / 100.0), 1e-9)
                     for sign in (-1.0, 1.0)]  # fmt: skip
            shares = [0.5 / side for side in sides]
            mix = 100.0 * (shares[1] - shares[0]) / sum(shares)
            send = min(sum(shares), MOST_MAKEUP)
    if not sends(strip):
        return {**ports, "wet": 0}
    for side, pan in enumerate((-100, 100)):
        ports |= {f"csf{side}": 1, f"cst{side}": side, f"mk{side}": send, f"com{side}": pan}
        ports |= {f"cim{side}": mix} if strip.channels == 2 else {}
    # The response of the delay holds both levels.
    return {**ports, "wet": 1 if strip.on("delay") else linear(strip["reverb.wet_db"])}
