"""Whole sequences by their ids (refget Sequences 2.0.0: Retrieve sequence)."""
