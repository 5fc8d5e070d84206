"""Triton kernels for the denoising step, each beside its torch reference; they know nothing of the model.

The package holds no kernel yet: the engine runs on torch alone, on every platform.
"""

__all__: list[str] = []
