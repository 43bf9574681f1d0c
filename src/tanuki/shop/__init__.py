"""AI Shop: a chain of stores that orders beverages once a week. Files in reading order: see README.md beside this file."""
