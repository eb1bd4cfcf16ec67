"""Defects that the cases of `htsget_auth` notice."""
