"""Attributes by their digests (seqcol 1.0.0: Attribute)."""
