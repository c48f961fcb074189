"""CPU kernels: recursions in float64 and the reverb's loops, compiled by numba."""

from ..modules.compressor.cpu_compressor import compress_backward, compress_forward, compress_from
from ..modules.equalizer.cpu_coefficients import (
    coefficients_backward,
    coefficients_forward,
    coefficients_saved_shape,
)
from ..modules.equalizer.cpu_sections import (
    sections_backward,
    sections_forward,
    sections_saved_shape,
)
from ..modules.reverb.cpu_color import color, color_gradient
from ..modules.reverb.cpu_room import band_powers, decay_gradient, decaying_noise, spectrum_gradient

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
