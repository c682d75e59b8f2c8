"""Numbered SQL of the KQI store; `cem.platform.facts_migrate` applies it."""
