"""A global Poisson regression over all stores and items, with empirical-Bayes shrinkage."""
