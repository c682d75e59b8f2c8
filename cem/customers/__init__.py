"""Subscribers: a keyed hash each, the number in one encrypted column, audited look-ups."""
