"""Defects that the cases of `htsget_errors` notice."""
