"""Defects that the cases of `htsget_cors` notice."""
