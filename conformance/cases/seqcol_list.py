"""Lists of collections (seqcol 1.0.0: List)."""
