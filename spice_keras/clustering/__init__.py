"""Classical clustering on embeddings: neighbours, k-means in two kinds, spectral clustering."""
