"""The demo province: a seeded world, its faults and its traffic, sent over HTTP like any operator's."""
