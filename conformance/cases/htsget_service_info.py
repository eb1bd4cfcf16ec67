"""What servers say of themselves (htsget 1.3.0: GA4GH service-info)."""
