"""The network for programs, under /api/animals: the same functions as the pages, as REST with problem details."""
