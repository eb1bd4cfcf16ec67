"""Defects that the cases of `htsget_files` notice."""
