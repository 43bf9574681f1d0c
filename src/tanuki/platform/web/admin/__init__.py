"""Pages for administrators and operators: people, models, durable runs."""
