"""AI Shop: a chain of stores that orders beverages once a week. README.md lists the files."""
