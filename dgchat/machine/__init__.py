"""This machine: what it has, what stands in the way of using it, and which models fit it."""
