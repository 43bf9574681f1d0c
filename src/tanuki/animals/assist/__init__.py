"""Suggestions while posting: category, title, tags, near-duplicates and quality hints."""
