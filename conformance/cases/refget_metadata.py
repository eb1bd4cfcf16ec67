"""What is known of a sequence (refget Sequences 2.0.0: Metadata)."""
