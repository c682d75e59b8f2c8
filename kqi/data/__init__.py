"""The indicator catalogue and the names its formulas are made of, as TOML; read by `kqi.catalogue`."""
