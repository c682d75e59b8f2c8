"""Experience in numbers: the indicator catalogue, feeds, samples, sessions and quarter-hour cubes."""
