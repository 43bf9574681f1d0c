"""The commands of the shop, by subject."""
