"""What every command line of Tanuki shares: output, lazy loading of commands, progress."""
