"""The eyes: what a picture shows, as numbers and as words."""
