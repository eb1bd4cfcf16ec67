"""Parts of sequences by start and end (refget Sequences 2.0.0: Sub-sequences)."""
