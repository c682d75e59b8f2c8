"""Who may: staff and their sessions, API keys of feeds and systems, device tokens, the audit log."""
