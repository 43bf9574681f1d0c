"""AI Animals: a photo network for animals; photos in, search, conversation and moderation out."""
