"""What pages and API of AI Animals share: request dependencies and impression logging."""
