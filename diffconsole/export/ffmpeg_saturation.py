"""The saturation as branches of an ffmpeg graph, one for each place between samples.

Each branch is a place's filter forth (``biquad`` in float64), the curve (``aeval``), and the filter
back; ``amix`` adds them. All of them keep the layout, so that one text serves mono and stereo.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..modules.saturation.phases import output_section, phase_sections
from .base import number

__all__ = ["SATURATION", "branches", "is_branch"]

NAME = "aeval@saturation"
# Every digit that a float64 has.
DIGITS = 17

SATURATION = (
    "'if(eq(n,0),(st(0,max(exp(log(10)/20*({drive_db}))-1,0.000001));st(5,1);"
    "while(lt(ld(5),16),("
    "st(4,tanh(ld(0)*sqrt(2)*exp(-0.9*log(10))*cos(PI*ld(5)/16)));"
    "st(4,ld(4)/(ld(0)*(1+({bias})*ld(4))));"
    "st(2,ld(2)+ld(4)/8);st(3,ld(3)+ld(4)*ld(4)/8);st(5,ld(5)+2)));"
    "st(1,({mix})/100*exp(-0.9*log(10))/sqrt(ld(3)-ld(2)*ld(2))/ld(0))));"
    "st(4,tanh(ld(0)*val(ch)));"
    "(1-({mix})/100)*val(ch)+ld(1)*ld(4)/(1+({bias})*ld(4))':c=same"
)
"""The curve in ``aeval``: 0 the steepness, 1 the gain of the saturated share over it, both found at
the first sample by the mean, 2, and the mean square, 3, at eight points of a sine of −18 dBFS."""


def branches(expression: str, sample_rate: float, layouts: str) -> list[str]:
    """Return the saturation as links of a chain.

    Parameters
    ----------
    expression : str
        What ``aeval`` computes, with its options.
    sample_rate : float
        Hz.
    layouts : str
        The filter that says which layouts there are, for versions that do not find one.
    """
    forth = phase_sections()
    places = range(len(forth))
    inside = [
        f"[to_{k}]{_biquads(forth[k])},\n{NAME}_{k}={expression},\n{layouts},"
        f"\n{_biquads(forth[len(forth) - 1 - k])}[from_{k}]"
        for k in places
    ]
    section = output_section(sample_rate)
    section[:3] /= len(forth)
    split = f"asplit={len(forth)}{''.join(f'[to_{k}]' for k in places)}"
    mixed = f"{''.join(f'[from_{k}]' for k in places)}amix=inputs={len(forth)}:normalize=0"
    return [";\n".join((split, *inside, mixed)), layouts, _biquads([section])]


def is_branch(name: str) -> bool:
    """Whether a filter is the curve of one of the branches."""
    return re.fullmatch(rf"{NAME}_[0-7]", name) is not None


def _biquads(sections: Iterable[Iterable[float]]) -> str:
    filters = []
    for section in sections:
        b0, b1, b2, a1, a2 = (number(float(value), DIGITS) for value in section)
        filters.append(f"biquad=b0={b0}:b1={b1}:b2={b2}:a0=1:a1={a1}:a2={a2}:r=f64")
    return ",".join(filters)
