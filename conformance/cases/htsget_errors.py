"""What errors look like (htsget 1.3.0: Errors)."""
