"""Deep image clustering for Keras 3 / TensorFlow: SPICE, from images to a SavedModel."""
