"""GPU kernels in Triton: nothing waits for the device, no shape depends on data.

The reverb's loops over taps and bins are few beside its transforms and stay torch's own. With
``TRITON_INTERPRET=1`` in the environment, before triton is imported, all run on CPU tensors.
"""

from ..modules.compressor.gpu_compressor import compress_backward, compress_forward
from ..modules.equalizer.gpu_sections import (
    sections_backward,
    sections_forward,
    sections_saved_shape,
)
from ..modules.reverb.generic_room import (
    band_powers,
    color,
    color_gradient,
    decay_gradient,
    decaying_noise,
    spectrum_gradient,
)

__all__ = [
    "band_powers",
    "color",
    "color_gradient",
    "compress_backward",
    "compress_forward",
    "decay_gradient",
    "decaying_noise",
    "sections_backward",
    "sections_forward",
    "sections_saved_shape",
    "spectrum_gradient",
]
