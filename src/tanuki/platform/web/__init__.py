"""The page kit: one typed function becomes a page, JSON and CSV; people, languages, charts and health around it."""
