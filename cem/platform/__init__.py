"""What every room stands on: clock, settings, errors, stores, security, observation. Imports no sibling."""
