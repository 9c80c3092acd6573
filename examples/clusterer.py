"""Cluster given features, from whatever model they come, with a scikit-learn estimator."""

import numpy as np
from sklearn.datasets import load_digits

from spice_keras import SpiceClusterer, clustering_accuracy

# Rows of real numbers, such as the embeddings of images, texts or sounds.
features, classes = load_digits(return_X_y=True)
known, new = features[:800], features[800:1000]

clusterer = SpiceClusterer(n_clusters=10, epochs=10, random_state=0)
clusters = clusterer.fit_predict(known)
print(f"accuracy {clustering_accuracy(classes[:800], clusters):.2f}")
print(f"sizes {np.bincount(clusters, minlength=10)}")
print(f"reliable {clusterer.reliable_.mean():.0%}")

confidence = clusterer.predict_proba(new).max(axis=1)
print(f"new rows: clusters {clusterer.predict(new)[:5]}, confidence {confidence[:5].round(2)}")
