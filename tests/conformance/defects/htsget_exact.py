"""Defects that the cases of `htsget_exact` notice."""
