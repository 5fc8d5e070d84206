"""The parts of a model that go by the kernels of `dgkernels` where these run, and what decides whether they do.

`packing` prepares the layers while they are loaded. Everything is tried before it is used (`trials`): what a GPU, a
driver or a compiler makes of a kernel that is not torch's result, within what the dtype can tell, is not used, and
torch computes it instead.
"""
