"""The example site, from a seed: composed photos, members with tastes, weeks of activity."""
