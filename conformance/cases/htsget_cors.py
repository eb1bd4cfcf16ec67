"""What browsers need (htsget 1.3.0: CORS)."""
