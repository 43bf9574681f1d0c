"""Keyword search in Japanese and English: normalisation, tokens, index, retrieval."""
