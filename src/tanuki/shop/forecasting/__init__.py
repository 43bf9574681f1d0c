"""Forecasting models: quantiles of weekly demand per store and item."""
