"""Search by words, in Japanese and English. Read in this order: kana, words, aliases, index, queries, marks, search, suggest, reindex."""
