"""The denoising pass of a small model on a CPU, in C, which the compiler at hand builds for the processor at hand.

In a model as small as the built-in one, torch spends as long between the products of a step as in them: on hundreds of
operations over a few kilobytes. Here a step is two calls. Where there is no compiler, or it cannot be used, torch
computes the same.
"""
