"""Defects that the cases of `htsget_post` notice."""
