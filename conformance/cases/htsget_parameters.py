"""What GET parameters ask for and refuse (htsget 1.3.0: GET request)."""
