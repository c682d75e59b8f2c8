"""What terminals send: reports of the operator's own SDK, CMCD of stock players, the self-check's snapshot."""
