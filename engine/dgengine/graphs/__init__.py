"""A denoising step as one CUDA graph.

`state` is a step as a function of buffers at fixed addresses, `queue` where steps are run, `late` the `Stepper` that
reads each step's record while the next one runs, `capture` makes graphs of them, tries these, and tells why not.
"""
