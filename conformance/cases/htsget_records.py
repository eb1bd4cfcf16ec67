"""No record is lost, repeated or moved (htsget 1.3.0: GET request, Region list)."""
