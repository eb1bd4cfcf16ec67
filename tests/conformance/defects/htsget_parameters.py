"""Defects that the cases of `htsget_parameters` notice."""
