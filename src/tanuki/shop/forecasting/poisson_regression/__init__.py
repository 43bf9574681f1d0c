"""A global Poisson regression over all stores and items; README.md lists the files in order."""
