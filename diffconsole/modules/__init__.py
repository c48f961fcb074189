"""The modules of the chain, a folder each: equation, differentiable function, kernels."""
