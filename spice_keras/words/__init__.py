"""Words beside images: vocabularies, names of clusters, and words that cover a set of images.

`vocabulary.py` holds nouns with their vectors and says where they come from, `probabilities.py`
turns features into probabilities of the words, `wordnet.py` knows which word is a kind of which
other, `naming.py` names clusters, and `coverage.py` chooses the words that describe all images.
"""
