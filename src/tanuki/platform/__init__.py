"""What both systems stand on: records, durable work, warehouse, models, accounts, pages. Imports neither system."""
