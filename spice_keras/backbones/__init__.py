"""Encoders: uint8 images in, pooled features out."""
