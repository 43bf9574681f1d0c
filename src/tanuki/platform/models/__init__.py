"""Models: registry, and later gate, release and serving."""
