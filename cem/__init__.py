"""Digital customer experience and self-diagnosis: the house's shell."""

__version__ = "0.1.0"
