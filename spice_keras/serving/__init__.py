"""Using an exported SavedModel, without the code that trained it."""
