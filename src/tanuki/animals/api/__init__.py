"""AI Animals for programs: REST under /api/animals with problem details."""
