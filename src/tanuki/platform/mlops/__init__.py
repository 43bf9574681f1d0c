"""The model life cycle: registry, evaluation, release, rollout and guardrails."""
