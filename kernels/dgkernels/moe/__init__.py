"""The mixture of experts with weights in four bits and activations in bfloat16.

`layout` arranges the weights, `routing` chooses experts, `alignment` sorts tokens by them, `products` multiplies;
`reference` holds the same in plain torch. Only `layout` and `reference` can be imported without Triton.
"""
