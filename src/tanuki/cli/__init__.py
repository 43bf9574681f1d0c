"""The command line's own parts: language, lazy groups, tables, progress, exit codes."""
