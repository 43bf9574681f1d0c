"""The network's commands, a file a subject."""
