"""Collections and their digests (seqcol 1.0.0: Collection)."""
