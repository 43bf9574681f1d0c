"""Monitoring of forecasts and orders: drift, detectors, alerts and their messages."""
