"""Tokens (htsget 1.3.0: Security)."""
