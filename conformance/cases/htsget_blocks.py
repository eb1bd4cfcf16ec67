"""What the URLs of a ticket lead to (htsget 1.3.0: Response data blocks)."""
