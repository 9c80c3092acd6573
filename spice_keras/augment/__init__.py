"""Batched, stateless augmentation: operations and the policies made of them."""
