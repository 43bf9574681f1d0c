"""Similar pictures: the index of embeddings, the search over it and over what is newer, its training and its gate."""
