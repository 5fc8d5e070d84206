"""Quantised matrices: how their numbers are coded, held, and decoded when they are used.

One module a code (`nvfp4`, `fp8`, `int8`, `nf4`), each with a class that holds a matrix, or a stack of them, in the
canonical arrangement: what a checkpoint holds, row by row, whatever names it has for it there. Nothing here is arranged
for a device. `forms` has what all of them share, and quantises by name; `matrices` multiplies with them.
"""
