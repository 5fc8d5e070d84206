"""The structures of canvas.c, field by field in its order; what they mean is said there."""

from __future__ import annotations

from ctypes import POINTER, Structure, c_float, c_int, c_long, c_void_p, sizeof


class Team(Structure):
    _fields_ = (
        ("parallel", c_void_p),
        ("size", c_void_p),
        ("threads", c_long),
        ("come", c_long),
        ("waiting", c_long),
        ("round", c_long),
        ("is_short", c_int),
        ("part", c_void_p),
        ("shared", c_void_p),
    )


class Matrix(Structure):
    _fields_ = (("panels", c_void_p), ("k", c_long), ("n", c_long))


class Layer(Structure):
    _fields_ = (
        ("qkv", Matrix),
        ("output", Matrix),
        ("gate_up", Matrix),
        ("down", Matrix),
        ("router", Matrix),
        ("experts_gate_up", POINTER(Matrix)),
        ("experts_down", POINTER(Matrix)),
        ("qk_norm", c_void_p),
        ("post_attention", c_void_p),
        ("post_dense", c_void_p),
        ("post_experts", c_void_p),
        ("post_feedforward", c_void_p),
        ("expert_scale", c_void_p),
        ("kv_heads", c_long),
        ("head_dim", c_long),
        ("has_values", c_int),
        ("encoder_scalar", c_float),
        ("decoder_scalar", c_float),
    )


class Model(Structure):
    _fields_ = (
        ("hidden", c_long),
        ("heads", c_long),
        ("layers", c_long),
        ("experts", c_long),
        ("top_k", c_long),
        ("vocabulary", c_long),
        ("bf16", c_int),
        ("eps", c_float),
        ("embedding_scale", c_float),
        ("softcap", c_float),
        ("embedding", c_void_p),
        ("soft", Matrix),
        ("head", Matrix),
        ("conditioning_gate_up", Matrix),
        ("conditioning_down", Matrix),
        ("conditioning_norm", c_void_p),
        ("head_norm", c_void_p),
        ("layer", POINTER(Layer)),
    )


class Place(Structure):
    _fields_ = (
        ("keys", c_void_p),
        ("values", c_void_p),
        ("stride", c_long),
        ("seen", c_long),
        ("window", c_long),
        ("cosine", c_void_p),
        ("sine", c_void_p),
    )


class Pass(Structure):
    _fields_ = (
        ("team", Team),
        ("model", POINTER(Model)),
        ("places", POINTER(Place)),
        ("ids", c_void_p),
        ("count", c_long),
        ("encoding", c_int),
        ("shares", c_void_p),
        ("totals", c_void_p),
        ("logits", c_void_p),
        ("scratch", c_void_p),
    )


class Statistics(Structure):
    _fields_ = (
        ("team", Team),
        ("logits", c_void_p),
        ("count", c_long),
        ("words", c_long),
        ("temperature", c_float),
        ("uniforms", c_void_p),
        ("argmax", c_void_p),
        ("sample", c_void_p),
        ("entropy", c_void_p),
        ("shares", c_void_p),
        ("totals", c_void_p),
    )


SIZES = tuple(map(sizeof, (Matrix, Layer, Model, Place, Pass, Statistics)))
"""As `dg_sizes` gives them."""
