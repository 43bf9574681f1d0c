"""Photo enhancement: exposure correction and super-resolution, offered to the owner."""
