"""Defects that the cases of `htsget_blocks` notice."""
