"""Images come in: format detection, sandboxed decoding, sanitising, storage by content hash."""
