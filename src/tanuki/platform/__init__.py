"""Platform of both systems: database, jobs, warehouse, models, accounts, pages."""
