"""The image model: embeddings, classes and names of what a picture shows."""
