"""The example network, made from a seed: photos composed of cut-out pictures from a Debian package, members with tastes, and weeks of their life."""
