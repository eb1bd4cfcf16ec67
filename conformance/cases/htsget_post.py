"""POST requests, where they are offered (htsget 1.3.0: POST request)."""
