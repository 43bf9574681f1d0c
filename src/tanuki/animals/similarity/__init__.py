"""Similar photos: nearest-neighbour index over image embeddings, its search, training and gate."""
