"""A channel strip as the text of an ffmpeg filter graph, and back.

Filters carry the name of our part of the strip, as in ``equalizer@peak_1``, so that the text says
what is what and can be read back. What is known of the filters, measured with 5.1 and 9.0:

- ``highpass``, ``lowshelf``, ``equalizer``, ``highshelf`` and ``lowpass`` with ``t=q`` are the
  cookbook's sections; in float32 they cost −59 dB, so everything runs in ``dblp``.
- ``acompressor`` with ``detection=peak:link=maximum`` is our compressor: its ``attack`` and
  ``release`` are ms with ``4000/(ms·fs) = 1 − exp(−1/(τ·fs))``, its ``knee`` is ``10^(W/20)`` and
  ends at 8, which is 18.06 dB. A wider knee is computed sample by sample by ``aeval``, whose
  registers keep the detector. Its make-up only goes up: ``volume`` follows. Where the dry signal
  is mixed in, ``aeval`` computes all of it.
- Gate and de-esser are computed by ``aeval`` too: ``agate`` has no hold, and ``deesser`` is another
  effect.
- The saturation is eight branches, one for each place between samples, of ``biquad``, ``aeval`` and
  ``biquad`` (:mod:`.ffmpeg_saturation`); ``asoftclip`` is another curve at another latency.
- ``afir`` levels its response, by other rules in every version: 5.1 takes a Σ|h| above 1 down to 1,
  leaves one below, and returns the double of the convolution; 6.1 to 9.0 bring Σ|h| of the louder
  side to 1. Where Σ|h| is 0.5 on each side, all of them return the convolution with the response
  of Σ|h| = 1, without the options that came and went; the sides get their levels back after it.
- The delay and, where there is one beside it, the reverb are one response for ``afir``, with their
  levels: ``aecho`` repeats once, by whole ms, and darkens nothing.
- In ``aeval`` a channel that does not exist is the last that does: ``val(1)`` of a mono file is its
  only channel, and the same text serves mono and stereo.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from ..errors import ExportError
from ..strip.parameters import BY_KEY, EQ_BANDS, PARAMETERS
from .base import DEFAULT_RATE, Mapped, Strip, number
from .ffmpeg_saturation import SATURATION, branches, is_branch
from .sends import sends_response

__all__ = [
    "LONGEST_RESPONSE_S",
    "RESPONSE_NAMES",
    "depends_on_rate",
    "graph",
    "mapped",
    "normalised_response",
    "parse",
]

FILTERS = {
    "high_pass": "highpass", "low_shelf": "lowshelf", "high_shelf": "highshelf",
    "low_pass": "lowpass",
}  # fmt: skip
OPTIONS = {"freq_hz": ("f", "Hz"), "gain_db": ("g", "dB"), "q": ("w", "")}
SECTION = "t=q:r=f64"
COMPRESSOR = "detection=peak:link=maximum"
LEVEL = "precision=double"
WIDEST_KNEE = 8.0
HIGHEST_RATE = 1e6
LONGEST_RESPONSE_S = 60

RESPONSE_NAMES = tuple(p.name for p in PARAMETERS if p.section == "reverb" and p.name != "wet_db")
"""The reverb's parameters that only stand in the samples of its response."""

DETECTOR = (
    "'st(1,max(abs(val(0)),abs(val(1))));"
    "st(0,ld(0)+(ld(1)-ld(0))*(1-exp(-1000/s/if(gt(ld(1),ld(0)),{attack_ms},{release_ms}))));"
    "st(2,20/log(10)*log(max(ld(0),0.000001))-({threshold_db}));"
)
BEND = "(1/({ratio})-1)*if(lt(ld(3),1),ld(3)*ld(3)*({knee_db})/2,ld(2))"
WIDE_KNEE = (
    f"{DETECTOR}st(3,clip(ld(2)/({{knee_db}})+0.5,0,1));val(ch)*exp(log(10)/20*{BEND})':c=same"
)
"""Our compressor in ``aeval``: 0 the detector, 1 the level, 2 dB above the threshold, 3 the place
within the knee, 0 to 1, of which the curve's bend ``(L−T+W/2)²/(2W)`` is ``W/2`` times the square.
"""
PARALLEL = (
    f"{DETECTOR}st(3,clip(ld(2)/max({{knee_db}},0.000000001)+0.5,0,1));"
    "val(ch)*(1-({mix})/100+({mix})/100"
    f"*exp(log(10)/20*(({{makeup_db}})+{BEND})))':c=same"
)
"""The same with its make-up and the dry signal."""

GATE = (
    "'st(1,max(abs(val(0)),abs(val(1))));"
    "if(gt(ld(1),ld(0)),"
    "(st(0,ld(1)+(ld(0)-ld(1))*exp(-1000/s/({attack_ms})));st(2,({hold_ms})*s/1000)),"
    "if(gte(ld(2),1),st(2,ld(2)-1),"
    "(st(0,ld(1)+(ld(0)-ld(1))*exp(-1000/s/({release_ms})*(1-ld(2))));st(2,0))));"
    "val(ch)*exp(-log(10)/20*min({range_db},(({ratio})-1)"
    "*max(({threshold_db})-20/log(10)*log(max(ld(0),0.000001)),0)))':c=same"
)
"""Our gate in ``aeval``: 0 the detector, 1 the level, 2 the samples of the hold that are left."""

DEESSER = (
    "'st(9,tan(PI*min({freq_hz},0.49*s)/s));"
    "st(8,(val(0)-ld(0)+(1-ld(9))*ld(1))/(1+ld(9)));"
    "st(2,(ld(8)-ld(1)+(1-ld(9))*ld(2))/(1+ld(9)));st(0,val(0));st(1,ld(8));"
    "st(8,(val(1)-ld(3)+(1-ld(9))*ld(4))/(1+ld(9)));"
    "st(5,(ld(8)-ld(4)+(1-ld(9))*ld(5))/(1+ld(9)));st(3,val(1));st(4,ld(8));"
    "st(8,max(abs(ld(2)),abs(ld(5))));"
    "st(6,ld(8)+(ld(6)-ld(8))*exp(-1000/s/if(gt(ld(8),ld(6)),{attack_ms},{release_ms})));"
    "st(8,max(abs(val(0)),abs(val(1))));"
    "st(7,ld(8)+(ld(7)-ld(8))*exp(-1000/s/if(gt(ld(8),ld(7)),10,1000)));"
    "st(8,20/log(10)*log(max(ld(6),0.000001)/max(ld(7),0.000001))-({threshold_db}));"
    "st(9,exp(-log(10)/40*clip(ld(8),0,{range_db}))-1);"
    "val(ch)+ld(9)*(2*ld(1+3*ch)+ld(9)*ld(2+3*ch))':c=same"
)
"""Our de-esser in ``aeval``: of each channel, 0 and 3, its input, 1 and 4, through one high-pass,
2 and 5, through two; 6 and 7 the levels of what lies above the split and of the whole."""

# With several filters that keep the layout, 5.1 does not find one by itself.
LAYOUTS = "aformat=sample_fmts=dblp:channel_layouts=mono|stereo"
EXPRESSIONS = {"gate": GATE, "deesser": DEESSER, "saturation": SATURATION}
COMPRESSORS = {"compressor": "makeup", "compressor_2": "makeup_2"}
"""What the gain behind each compressor is called."""

PAN = "sqrt(2)*cos(PI/4*(1+({position})))*val(0)|sqrt(2)*sin(PI/4*(1+({position})))*val(1):c=stereo"
BOTH = "val(0)|val(1):c=stereo"
SEND = "(val(0)+val(1))/2|(val(0)+val(1))/2:c=stereo"

NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
# What export writes of a strip that does nothing.
NOTHING = re.compile(r"aformat=sample_fmts=dblp(:[\w=|:]*)?\s*")
PART = re.compile(r"(?<!\w)(?P<name>\w+@\w+)=(?P<options>'[^']*'[^,;\[\]]*|[^,;\[\]]*)")


def mapped(sample_rate: int = DEFAULT_RATE) -> tuple[Mapped, ...]:
    """Return what carries over, by ``filter@part:option``.

    Parameters
    ----------
    sample_rate : int
        Hz: the compressor's times depend on it.
    """

    def from_time(ms: float) -> float:
        return -4000.0 / (sample_rate * math.expm1(-1000.0 / (ms * sample_rate)))

    def to_time(theirs: float) -> float:
        return -1000.0 / (sample_rate * math.log1p(-4000.0 / (theirs * sample_rate)))

    bands = [
        Mapped(f"eq.{band}.{name}", f"{FILTERS.get(band, 'equalizer')}@{band}:{theirs}", unit)
        for band in EQ_BANDS
        for name, (theirs, unit) in OPTIONS.items()
        if f"eq.{band}.{name}" in BY_KEY
    ]
    compressors: list[Mapped] = []
    for key, makeup in COMPRESSORS.items():
        own = f"acompressor@{key}"
        compressors += [
            Mapped(f"{key}.threshold_db", f"{own}:threshold", "", _amplitude, _decibels),
            Mapped(f"{key}.ratio", f"{own}:ratio"),
            Mapped(f"{key}.attack_ms", f"{own}:attack", "ms", from_time, to_time),
            Mapped(f"{key}.release_ms", f"{own}:release", "ms", from_time, to_time),
            Mapped(f"{key}.knee_db", f"{own}:knee", "", _amplitude, _decibels),
            Mapped(f"{key}.makeup_db", f"volume@{makeup}:volume", "dB"),
            Mapped(f"{key}.mix", f"aeval@{key}:mix", "%"),
        ]
    computed = [
        Mapped(parameter.key, f"aeval@{parameter.module}:{parameter.name}")
        for parameter in PARAMETERS
        if parameter.module in EXPRESSIONS
    ]
    return (
        Mapped("input_gain.gain_db", "volume@input_gain:volume", "dB"),
        *bands,
        *computed,
        *compressors,
        Mapped("pan.position", "aeval@pan:position"),
        *(Mapped(p.key, "sends.wav") for p in PARAMETERS if p.module == "delay"),
        *(Mapped(f"reverb.{name}", "reverb.wav") for name in RESPONSE_NAMES),
        Mapped("reverb.wet_db", "volume@wet:volume", "dB"),
        Mapped("output_gain.gain_db", "volume@output_gain:volume", "dB"),
    )


def _amplitude(level_db: float) -> float:
    return 10.0 ** (level_db / 20.0)


def _decibels(amplitude: float) -> float:
    return 20.0 * math.log10(amplitude)


def depends_on_rate(strip: Strip) -> bool:
    """Whether the text is right at the strip's sample rate alone.

    The compressors' times, the saturation's filters and a response are; all else is where a
    frequency had to be clamped.
    """
    wanted = strip.preset.settings()
    cut = [f"eq.{band}.freq_hz" for band in strip.bands()]
    cut += ["deesser.freq_hz"] if strip.on("deesser") else []
    clamped = any(strip[key] != wanted[key] for key in cut)
    by_rate = (*COMPRESSORS, "saturation", "delay", "reverb")
    return clamped or any(strip.on(key) for key in by_rate)


def normalised_response(strip: Strip) -> tuple[np.ndarray, np.ndarray]:
    """Return the response as ``afir`` wants it, and what brings its return to its level.

    It is the reverb's alone, or that of delay and reverb with their levels.

    Returns
    -------
    response : ndarray
        ``(2, taps)`` float64, Σ|h| 0.5 on each side.
    gain : ndarray
        ``(2,)``, of the filter's sides.
    """
    if strip.on("delay"):
        response = sends_response(strip, LONGEST_RESPONSE_S)
    else:
        response = strip.impulse_response()
    gain = np.abs(response).sum(axis=1)
    return 0.5 * response / gain[:, None], gain


def graph(strip: Strip, response_gain: np.ndarray | None = None, taps: int = 0) -> str:
    """Return the text of the graph, one filter a line.

    Parameters
    ----------
    strip : Strip
        What it does.
    response_gain : ndarray, optional
        ``(2,)``, where a send is on: of :func:`normalised_response`.
    taps : int
        By how much the vocal is padded, and one more: the length of the response, or less.

    Returns
    -------
    str
        With a send a graph from ``[0:a]``, the vocal, and ``[1:a]``, the response, to
        ``[out]``; without it a chain of one input and one output.
    """
    rate = f":sample_rates={strip.sample_rate}" if depends_on_rate(strip) else ""
    chain = [f"aformat=sample_fmts=dblp{rate}:channel_layouts=mono|stereo"]
    if response_gain is not None:
        chain[0] = f"[0:a]{chain[0]}"
        chain.append(f"apad=pad_len={taps - 1}")
    table = mapped(strip.sample_rate)
    if strip.on("input_gain"):
        chain.append(_text(strip, table, "input_gain", LEVEL))
    chain += _computed(strip, "gate")
    chain += [_text(strip, table, band, SECTION) for band in strip.bands()]
    for key in COMPRESSORS:
        chain += _compressor(strip, table, key)
    chain += _computed(strip, "deesser")
    if strip.on("saturation"):
        expression = _filled(SATURATION, strip.of("saturation"))
        chain += branches(expression, strip.sample_rate, LAYOUTS)
    place = f"aeval@pan={_filled(PAN, strip.of('pan'))}" if strip.on("pan") else f"aeval={BOTH}"
    if response_gain is not None:
        left, right = (number(gain, 17) for gain in response_gain)
        sides = f"aeval={left}*val(0)|{right}*val(1):c=stereo"
        name = "reverb"
        if strip.on("delay"):
            name = "sends"
        else:
            sides += f",\n{_text(strip, table, 'wet', LEVEL)}"
        chain += [
            "asplit[dry][send];\n"
            f"[dry]{place}[placed];\n"
            f"[send]aeval={SEND}[sent];\n"
            f"[sent][1:a]afir@{name}=precision=double:maxir={LONGEST_RESPONSE_S}",
            f"{sides}[return];\n[placed][return]amix=inputs=2:normalize=0",
        ]
    elif strip.on("pan"):
        chain.append(place)
    if strip.on("output_gain"):
        chain.append(_text(strip, table, "output_gain", LEVEL))
    return ",\n".join(chain) + ("[out]" if response_gain is not None else "")


def _computed(strip: Strip, module: str) -> list[str]:
    if not strip.on(module):
        return []
    return [f"aeval@{module}={_filled(EXPRESSIONS[module], strip.of(module))}", LAYOUTS]


def _computed_module(name: str) -> str:
    """Return the module that an ``aeval`` of this name belongs to, or something else."""
    return "saturation" if is_branch(name) else name.removeprefix("aeval@")


def _compressor(strip: Strip, table: tuple[Mapped, ...], key: str) -> list[str]:
    if not strip.on(key):
        return []
    own = strip.of(key)
    if own["mix"] < 100.0:
        return [f"aeval@{key}={_filled(PARALLEL, own)}", LAYOUTS]
    makeup = _text(strip, table, COMPRESSORS[key], LEVEL)
    if _amplitude(own["knee_db"]) <= WIDEST_KNEE:
        return [_text(strip, table, key, COMPRESSOR), makeup]
    # The first one stands as it did before there was a second.
    layouts = [LAYOUTS] if key != "compressor" else []
    return [f"aeval@{key}={_filled(WIDE_KNEE, own)}", *layouts, makeup]


def _text(strip: Strip, table: tuple[Mapped, ...], part: str, fixed: str) -> str:
    """Write the filter that a part of the strip is called by."""
    name, options = "", []
    for entry in table:
        owner, _, option = entry.name.partition(":")
        if owner.endswith(f"@{part}") and not owner.startswith("aeval@"):
            name = owner
            value = number(entry.to_theirs(strip[entry.key]), 12)
            options.append(f"{option}={value}{'dB' if option == 'volume' else ''}")
    return f"{name}={':'.join(options)}:{fixed}"


def _filled(template: str, settings: Mapping[str, float]) -> str:
    return template.format(**{name: number(value, 12) for name, value in settings.items()})


def _values(template: str, text: str) -> dict[str, float]:
    """Take the numbers out of a template that was filled; the first where one stands twice."""
    seen: set[str] = set()
    pattern = ""
    for piece in re.split(r"(\{\w+\})", template):
        name = piece[1:-1]
        if not piece.startswith("{"):
            pattern += re.escape(piece)
        elif name in seen:
            pattern += f"(?P={name})"
        else:
            seen.add(name)
            pattern += f"(?P<{name}>{NUMBER})"
    found = re.fullmatch(pattern, text)
    if found is None:
        raise ExportError("an expression of aeval that is not ours")
    return {name: float(value) for name, value in found.groupdict().items()}


def parse(text: str) -> tuple[dict[str, float], str]:
    """Read the settings out of the text that :func:`graph` wrote; its numbers may be edited.

    Returns
    -------
    settings : dict of str to float
        By key; without those that stand in the response.
    response : str
        What its file is called without its ending: ``"reverb"``, ``"sends"`` if there is a delay,
        empty if there is neither.

    Raises
    ------
    ExportError
        Not such a text, or a filter that is not read back; says which.
    """
    if not re.match(r"(\[0:a\])?aformat=sample_fmts=dblp", text):
        raise ExportError("does not begin with aformat=sample_fmts=dblp, as what export wrote does")
    rate = re.search(r"sample_rates=(\d+)", text)
    if rate and not 0 < float(rate[1]) <= HIGHEST_RATE:
        raise ExportError(f"sample_rates={rate[1][:20]} is no rate; give it in Hz, as 48000")
    sample_rate = int(rate[1]) if rate else DEFAULT_RATE
    table = {entry.name: entry for entry in mapped(sample_rate)}
    owners = {name.partition(":")[0] for name in table}
    settings: dict[str, float] = {}
    response = ""
    if not PART.search(text) and not NOTHING.fullmatch(text):
        raise ExportError("holds no filter of a strip, as volume@input_gain; export it again")
    for match in PART.finditer(text):
        name, options = match["name"], match["options"].strip()
        if (module := _computed_module(name)) in COMPRESSORS:
            values = _values(PARALLEL if "*(1-(" in options else WIDE_KNEE, options)
            settings |= {f"{module}.{key}": value for key, value in values.items()}
        elif module in EXPRESSIONS:
            values = _values(EXPRESSIONS[module], options)
            found = {f"{module}.{key}": value for key, value in values.items()}
            if any(settings.get(key, value) != value for key, value in found.items()):
                raise ExportError(f"{name} differs from the ones before it; change all alike")
            settings |= found
        elif name == "aeval@pan":
            settings |= {f"pan.{key}": value for key, value in _values(PAN, options).items()}
        elif name in ("afir@reverb", "afir@sends"):
            response = name.removeprefix("afir@")
        elif name not in owners:
            raise ExportError(f"{name} is no part of a strip")
        else:
            for option, _, value in (pair.partition("=") for pair in options.split(":")):
                entry = table.get(f"{name}:{option}")
                if entry is not None:
                    theirs = value.removesuffix("dB") if option == "volume" else value
                    try:
                        settings[entry.key] = entry.to_ours(float(theirs))
                    except (ValueError, ArithmeticError):
                        raise ExportError(
                            f"{entry.name} is {value[:20]!r}, which no strip has; correct it"
                        ) from None
    return settings, response
