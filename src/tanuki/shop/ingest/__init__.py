"""Files come in: reading, validation, quarantine, loading."""
