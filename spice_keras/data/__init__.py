"""Images in: sources, decoding, storage, batches; and, for evaluation alone, labels."""
