"""Search by words, in Japanese and English. Read in this order: kana, letters, names, japanese, words, queries, index, marks, matching, search, suggest, reindex."""
