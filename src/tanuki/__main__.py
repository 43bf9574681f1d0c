"""`python -m tanuki` is the command line."""

from tanuki.app.cli import main

if __name__ == "__main__":
    main()
