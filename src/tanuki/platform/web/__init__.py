"""Web pages and API of both systems: routes, access, templates, charts and error pages."""
