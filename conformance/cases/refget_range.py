"""Parts of sequences by Range (refget Sequences 2.0.0: Range headers)."""
