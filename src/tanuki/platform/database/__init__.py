"""Records on SQLite or PostgreSQL: engine, column types, group commit."""
