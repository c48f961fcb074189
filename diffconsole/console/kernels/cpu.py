"""CPU kernels: time-domain recursions in float64, compiled by numba."""

from .cpu_compressor import compress_backward, compress_forward
from .cpu_sections import sections_backward, sections_forward, sections_saved_shape

__all__ = [
    "compress_backward",
    "compress_forward",
    "sections_backward",
    "sections_forward",
    "sections_saved_shape",
]
