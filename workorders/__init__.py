"""Cases and work orders: one cause in one scope is one open order, however many customers report it."""
