"""The three trainable models, and the inference model they end in."""
