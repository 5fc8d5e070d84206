"""Triton kernels for the denoising step, each with a torch reference of the same name; they know nothing of the model.

Importing this package imports neither Triton nor torch; `dgkernels.support` says whether a device can run the kernels.
"""

__all__: list[str] = []
