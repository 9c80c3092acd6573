"""The three trainable models, and the inference model they end in."""

from spice_keras.runtime import refuse_other_backend

# On another backend the first layer would fail, with a message about tensors.
refuse_other_backend()
