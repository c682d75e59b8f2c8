"""Which side a fault is on: evidence with a deadline, rules as data, peers, the verdict and its replay."""
