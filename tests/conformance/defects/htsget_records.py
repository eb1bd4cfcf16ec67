"""Defects that the cases of `htsget_records` notice."""
