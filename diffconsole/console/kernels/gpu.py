"""GPU kernels in Triton: nothing waits for the device, no shape depends on data.

``TRITON_INTERPRET=1`` in the environment, before triton is imported, runs them on CPU tensors.
"""

from .gpu_compressor import compress_backward, compress_forward
from .gpu_sections import sections_backward, sections_forward, sections_saved_shape

__all__ = [
    "compress_backward",
    "compress_forward",
    "sections_backward",
    "sections_forward",
    "sections_saved_shape",
]
