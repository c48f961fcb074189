"""CPU kernels: recursions in float64 and the reverb's loops, compiled by numba."""

from .cpu_coefficients import (
    coefficients_backward,
    coefficients_forward,
    coefficients_saved_shape,
)
from .cpu_color import color, color_gradient
from .cpu_compressor import compress_backward, compress_forward, compress_from
from .cpu_room import band_powers, decay_gradient, decaying_noise, spectrum_gradient
from .cpu_sections import sections_backward, sections_forward, sections_saved_shape

__all__ = [
    "band_powers",
    "coefficients_backward",
    "coefficients_forward",
    "coefficients_saved_shape",
    "color",
    "color_gradient",
    "compress_backward",
    "compress_forward",
    "compress_from",
    "decay_gradient",
    "decaying_noise",
    "sections_backward",
    "sections_forward",
    "sections_saved_shape",
    "spectrum_gradient",
]
